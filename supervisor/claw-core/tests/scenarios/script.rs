//! Agents and spans as they stand in a script.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::event::Freeze;
use claw_core::spec::schedule::RunOnStart;
use claw_core::spec::{
    AgentSpec, Backoff, CatchUp, Check, CleanExit, Condition, CronExpression, ExitCodes, HookSpec,
    Hooks, Launch, LogPolicy, Mode, OnFull, Overlap, Probe, Probes, Program, Progress, Resources,
    Restart, RestartPolicy, Schedule, Shutdown, Timing,
};
use claw_core::{AgentName, Command};

/// `90s`, `5m`, `2h`, `1d`.
pub(crate) fn span(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => panic!("`{text}` is no span"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}

/// What somebody asks for.
pub(crate) fn command(verb: &str, agent: AgentName) -> Command {
    match verb {
        "start" => Command::Start { agent },
        "stop" => Command::Stop { agent },
        "restart" => Command::Restart { agent },
        "pause" => Command::Pause {
            agent,
            freeze: Freeze::No,
        },
        "freeze" => Command::Pause {
            agent,
            freeze: Freeze::Yes,
        },
        "resume" => Command::Resume { agent },
        "trigger" => Command::Trigger {
            agent,
            payload: None,
            run: None,
        },
        _ => panic!("`{verb}` is no command"),
    }
}

/// An agent with the defaults of the fleet file, but for the jitter.
pub(crate) fn agent(words: &[&str]) -> AgentSpec {
    let mut spec = defaults();
    for word in words {
        match *word {
            "daemon" => spec.mode = Mode::Daemon,
            "oneshot" => spec.mode = Mode::Oneshot,
            "worker" => spec.mode = Mode::Worker,
            _ => {
                let (key, value) = word.split_once('=').unwrap();
                if !set_restart(&mut spec.restart, key, value)
                    && !set_schedule(&mut spec.schedule, key, value)
                {
                    set_other(&mut spec, key, value);
                }
            }
        }
    }
    spec
}

fn set_restart(restart: &mut Restart, key: &str, value: &str) -> bool {
    match (key, value) {
        ("restart", "always") => restart.policy = RestartPolicy::Always,
        ("restart", "on-failure") => restart.policy = RestartPolicy::OnFailure,
        ("restart", "never") => restart.policy = RestartPolicy::Never,
        ("retries", "none") => restart.max_retries = None,
        ("retries", number) => restart.max_retries = Some(number.parse().unwrap()),
        ("backoff", "linear") => restart.backoff = Backoff::Linear,
        ("backoff", "immediate") => restart.backoff = Backoff::Immediate,
        ("initial_delay", value) => restart.initial_delay = span(value),
        ("max_delay", value) => restart.max_delay = span(value),
        ("reset_after", value) => restart.reset_after = span(value),
        _ => return false,
    }
    true
}

fn set_schedule(schedule: &mut Option<Schedule>, key: &str, value: &str) -> bool {
    let timing = match key {
        "every" => Some(Timing::Every(span(value))),
        "cron" => Some(Timing::Cron {
            expression: CronExpression::parse(&value.replace('_', " ")).unwrap(),
            zone: jiff::tz::TimeZone::UTC,
        }),
        _ => None,
    };
    if let Some(timing) = timing {
        *schedule = Some(on_time(timing));
        return true;
    }
    let Some(schedule) = schedule else {
        return false;
    };
    match (key, value) {
        ("overlap", "skip") => schedule.overlap = Overlap::Skip,
        ("overlap", "queue") => schedule.overlap = Overlap::Queue,
        ("overlap", "replace") => schedule.overlap = Overlap::Replace,
        ("overlap", "allow") => schedule.overlap = Overlap::Allow,
        ("catch_up", "none") => schedule.catch_up = CatchUp::None,
        ("catch_up", "one") => schedule.catch_up = CatchUp::One,
        ("catch_up", "all") => schedule.catch_up = CatchUp::All,
        ("max_lateness", value) => schedule.max_lateness = Some(span(value)),
        ("at_start", "yes") => schedule.run_on_start = RunOnStart::Yes,
        ("timeout", value) => schedule.timeout = Some(span(value)),
        _ => return false,
    }
    true
}

const fn on_time(timing: Timing) -> Schedule {
    Schedule {
        timing,
        overlap: Overlap::Skip,
        catch_up: CatchUp::One,
        max_lateness: None,
        jitter: Duration::ZERO,
        timeout: None,
        run_on_start: RunOnStart::No,
    }
}

fn set_other(spec: &mut AgentSpec, key: &str, value: &str) {
    match key {
        "command" => spec.launch.command = vec![value.to_owned()],
        "concurrency" => spec.concurrency = value.parse().unwrap(),
        "grace" => spec.shutdown.timeout = span(value),
        "after" => {
            let (name, condition) = value.split_once(':').unwrap_or((value, "ready"));
            let condition = match condition {
                "started" => Condition::Started,
                "ready" => Condition::Ready,
                "completed" => Condition::Completed,
                _ => panic!("`{condition}` is no condition"),
            };
            spec.depends_on.insert(name.parse().unwrap(), condition);
        }
        "startup" => spec.probes.startup = Some(probe(value)),
        "liveness" => spec.probes.liveness = Some(probe(value)),
        "readiness" => spec.probes.readiness = Some(probe(value)),
        "silence" => {
            let max_silence = span(value);
            spec.probes.progress = Some(Progress { max_silence });
        }
        "pre_start" => spec.hooks.pre_start = Some(hook(value)),
        "post_stop" => spec.hooks.post_stop = Some(hook(value)),
        _ => panic!("`{key}` is no key"),
    }
}

/// `10s/3`: the interval and the threshold; with `!` in front the agent reports by itself.
fn probe(text: &str) -> Probe {
    let heartbeat = text.strip_prefix('!');
    let (interval, threshold) = heartbeat.unwrap_or(text).split_once('/').unwrap();
    let tcp = Check::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 8080,
    };
    Probe {
        check: if heartbeat.is_some() {
            Check::Heartbeat
        } else {
            tcp
        },
        interval: span(interval),
        timeout: Duration::from_secs(1),
        threshold: threshold.parse().unwrap(),
    }
}

fn hook(program: &str) -> HookSpec {
    HookSpec {
        command: vec![program.to_owned()],
        timeout: Duration::from_secs(60),
    }
}

fn defaults() -> AgentSpec {
    AgentSpec {
        launch: Launch {
            command: vec!["agent".to_owned()],
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            working_dir: "/".into(),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::Value::Null,
            models: None,
        },
        mode: Mode::Daemon,
        schedule: None,
        concurrency: std::num::NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: Restart {
            policy: RestartPolicy::Always,
            max_retries: Some(5),
            backoff: Backoff::Exponential,
            initial_delay: Duration::from_secs(5),
            max_delay: Duration::from_secs(300),
            reset_after: Duration::from_secs(3600),
            jitter_percent: 0,
            exit_codes: ExitCodes {
                success: [0].into(),
                retry: [75].into(),
                fatal: [78].into(),
                again: [].into(),
            },
        },
        probes: Probes::default(),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: Duration::from_secs(30),
            signal: 15,
            clean: vec![CleanExit::Code(0), CleanExit::Signal(15)],
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 1,
            retention: Duration::from_secs(3600),
            on_full: OnFull::Drop,
        },
    }
}

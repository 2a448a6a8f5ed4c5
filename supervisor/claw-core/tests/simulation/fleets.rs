//! Fleets out of nothing, and what an operator does to them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use claw_core::AgentName;
use claw_core::spec::schedule::RunOnStart;
use claw_core::spec::{
    AgentSpec, Backoff, Breaker, CatchUp, Check, CleanExit, Condition, CronExpression, ExitCodes,
    FleetSpec, HookSpec, Hooks, Launch, LogPolicy, Mode, OnFull, Overlap, Probe, Probes, Program,
    Progress, Resources, Restart, RestartPolicy, Schedule, Shutdown, Timing,
};

use crate::random::Random;

/// The exit code that asks for another start at once. It waits for nothing, so a program that
/// uses it without end would make a world of nothing else; few do.
pub(crate) const AGAIN: u8 = 42;

const MOST_AGENTS: u64 = 7;

pub(crate) fn name(number: u64) -> AgentName {
    format!("a{number}").parse().unwrap()
}

pub(crate) fn fleet(random: &mut Random) -> FleetSpec {
    let agents = random.between(1, MOST_AGENTS);
    let mut fleet = FleetSpec {
        project: "simulated".to_owned(),
        max_concurrent_starts: starts(random),
        agents: BTreeMap::new(),
        groups: Vec::new(),
    };
    for number in 0..agents {
        let spec = agent(random, number, &fleet);
        fleet.agents.insert(name(number), Arc::new(spec));
    }
    // Drawn aside: what else happens in a world does not depend on it.
    fleet.groups = groups(&mut random.clone(), &fleet);
    fleet
}

/// Some agents that are no oneshots stand in for one another.
fn groups(random: &mut Random, fleet: &FleetSpec) -> Vec<Vec<AgentName>> {
    let mut groups = vec![Vec::new(), Vec::new()];
    for (name, spec) in &fleet.agents {
        if spec.mode != Mode::Oneshot && random.chance(50) {
            groups[usize::from(random.chance(30))].push(name.clone());
        }
    }
    groups
}

fn starts(random: &mut Random) -> NonZeroU32 {
    NonZeroU32::new(random.pick(&[1, 1, 2, 3, 10])).unwrap()
}

/// What an operator makes of a fleet: some agents changed, one added, one removed.
pub(crate) fn changed(random: &mut Random, old: &FleetSpec) -> FleetSpec {
    let mut fleet = old.clone();
    if random.chance(20) {
        fleet.max_concurrent_starts = starts(random);
    }
    for number in 0..MOST_AGENTS {
        let name = name(number);
        if !fleet.agents.contains_key(&name) && random.chance(20) {
            let spec = agent(random, number, &fleet);
            fleet.agents.insert(name, Arc::new(spec));
        } else if random.chance(8) {
            remove(&mut fleet, &name);
        } else if let Some(spec) = fleet.agents.get(&name).cloned() {
            let spec = change(random, number, &fleet, spec);
            fleet.agents.insert(name, spec);
        }
    }
    keep_valid(&mut fleet);
    let is_alone = |name: &AgentName| {
        let spec = fleet.agents.get(name);
        spec.is_none_or(|spec| spec.mode == Mode::Oneshot)
    };
    for group in &mut fleet.groups {
        group.retain(|name| !is_alone(name));
    }
    fleet
}

/// A daemon or a worker is never completed; the daemon that reads the file would refuse to wait for that.
fn keep_valid(fleet: &mut FleetSpec) {
    let daemons = fleet
        .agents
        .iter()
        .filter(|(_, spec)| spec.mode != Mode::Oneshot);
    let daemons: Vec<AgentName> = daemons.map(|(name, _)| name.clone()).collect();
    for spec in fleet.agents.values_mut() {
        let of_daemons = spec.depends_on.iter().filter(|(name, condition)| {
            **condition == Condition::Completed && daemons.contains(name)
        });
        let wrong: Vec<AgentName> = of_daemons.map(|(name, _)| name.clone()).collect();
        for name in wrong {
            Arc::make_mut(spec)
                .depends_on
                .insert(name, Condition::Ready);
        }
    }
}

fn remove(fleet: &mut FleetSpec, name: &AgentName) {
    fleet.agents.remove(name);
    for spec in fleet.agents.values_mut() {
        if spec.depends_on.contains_key(name) {
            Arc::make_mut(spec).depends_on.remove(name);
        }
    }
}

fn change(
    random: &mut Random,
    number: u64,
    fleet: &FleetSpec,
    old: Arc<AgentSpec>,
) -> Arc<AgentSpec> {
    let other = agent(random, number, fleet);
    let mut spec = AgentSpec::clone(&old);
    match random.below(10) {
        0 => spec.launch = other.launch,
        1 => spec.restart = other.restart,
        2 => spec.probes = other.probes,
        3 => spec.shutdown = other.shutdown,
        4 => spec.depends_on = other.depends_on,
        5 if spec.mode == other.mode => spec.schedule = other.schedule,
        6 => spec = other,
        7 => spec.concurrency = other.concurrency,
        _ => return old,
    }
    Arc::new(spec)
}

/// An agent that may depend on those with smaller numbers, so that there is never a cycle.
fn agent(random: &mut Random, number: u64, fleet: &FleetSpec) -> AgentSpec {
    let modes = [
        Mode::Daemon,
        Mode::Daemon,
        Mode::Oneshot,
        Mode::Worker,
        Mode::Worker,
    ];
    let mode = random.pick(&modes);
    let schedule = (mode != Mode::Daemon && random.chance(75)).then(|| schedule(random));
    AgentSpec {
        launch: launch(random),
        mode,
        schedule,
        concurrency: NonZeroU32::new(random.pick(&[1, 1, 2, 4])).unwrap(),
        depends_on: depends_on(random, number, fleet),
        restart: restart(random),
        probes: probes(random, mode),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: random.pick(&[1, 5, 30].map(Duration::from_secs)),
            signal: random.pick(&[15, 2]),
            clean: vec![CleanExit::Code(0), CleanExit::Signal(15)],
        },
        hooks: Hooks {
            pre_start: hook(random),
            post_stop: hook(random),
        },
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 3,
            retention: Duration::from_secs(86_400),
            on_full: OnFull::Drop,
        },
    }
}

fn launch(random: &mut Random) -> Launch {
    Launch {
        command: vec!["agent".to_owned(), random.below(1000).to_string()],
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
    }
}

fn depends_on(
    random: &mut Random,
    number: u64,
    fleet: &FleetSpec,
) -> BTreeMap<AgentName, Condition> {
    let mut depends_on = BTreeMap::new();
    for other in 0..number {
        let Some(spec) = fleet.agents.get(&name(other)) else {
            continue;
        };
        if random.chance(15) {
            let condition = match spec.mode {
                Mode::Daemon | Mode::Worker => random.pick(&[Condition::Started, Condition::Ready]),
                Mode::Oneshot => Condition::Completed,
            };
            depends_on.insert(name(other), condition);
        }
    }
    depends_on
}

fn restart(random: &mut Random) -> Restart {
    let policies = [
        RestartPolicy::Always,
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ];
    let backoffs = [
        Backoff::Exponential,
        Backoff::Exponential,
        Backoff::Linear,
        Backoff::Immediate,
    ];
    let backoff = random.pick(&backoffs);
    let max_retries = random.pick(&[Some(0), Some(2), Some(5), None]);
    Restart {
        policy: random.pick(&policies),
        // Without a delay and without an end, one agent would be all there is in the world.
        max_retries: match backoff {
            Backoff::Immediate => Some(max_retries.unwrap_or(5)),
            Backoff::Linear | Backoff::Exponential => max_retries,
        },
        backoff,
        initial_delay: random.pick(&[1, 5].map(Duration::from_secs)),
        max_delay: random.pick(&[10, 60, 300].map(Duration::from_secs)),
        reset_after: random.pick(&[10, 120, 3600].map(Duration::from_secs)),
        jitter_percent: random.pick(&[0, 10, 100]),
        exit_codes: ExitCodes {
            success: [0].into(),
            retry: [75].into(),
            fatal: [78].into(),
            again: [AGAIN].into(),
        },
    }
}

fn probes(random: &mut Random, mode: Mode) -> Probes {
    if mode == Mode::Oneshot {
        return Probes::default();
    }
    Probes {
        startup: random.chance(40).then(|| probe(random, 10)),
        liveness: random.chance(40).then(|| probe(random, 3)),
        readiness: random.chance(40).then(|| probe(random, 2)),
        progress: random.chance(15).then(|| Progress {
            max_silence: random.seconds(60, 120),
        }),
        breaker: Breaker::default(),
    }
}

fn probe(random: &mut Random, threshold: u64) -> Probe {
    let http = Check::Http {
        host: "127.0.0.1".to_owned(),
        port: 8080,
        path: "/".to_owned(),
        status: None,
        body: None,
    };
    let exec = Check::Exec {
        command: vec!["true".to_owned()],
    };
    Probe {
        check: random.pick(&[http, exec, Check::Heartbeat]),
        interval: random.seconds(2, 20),
        timeout: random.seconds(1, 3),
        threshold: u32::try_from(random.between(1, threshold)).unwrap(),
    }
}

fn hook(random: &mut Random) -> Option<HookSpec> {
    random.chance(15).then(|| HookSpec {
        command: vec!["hook".to_owned()],
        timeout: Duration::from_secs(5),
    })
}

fn schedule(random: &mut Random) -> Schedule {
    Schedule {
        timing: timing(random),
        overlap: random.pick(&[
            Overlap::Skip,
            Overlap::Queue,
            Overlap::Replace,
            Overlap::Allow,
        ]),
        catch_up: random.pick(&[CatchUp::None, CatchUp::One, CatchUp::All]),
        max_lateness: random.pick(&[None, Some(Duration::from_secs(600))]),
        jitter: random.pick(&[Duration::ZERO, Duration::from_secs(20)]),
        timeout: random.pick(&[None, Some(Duration::from_secs(90))]),
        run_on_start: random.pick(&[RunOnStart::Yes, RunOnStart::No]),
    }
}

fn timing(random: &mut Random) -> Timing {
    let zone = jiff::tz::TimeZone::get(random.pick(&["UTC", "Europe/Berlin"])).unwrap();
    match random.below(4) {
        0 => Timing::Every(random.seconds(30, 600)),
        1 => Timing::Daily {
            at: jiff::civil::time(2, 30, 0, 0),
            zone,
        },
        _ => Timing::Cron {
            expression: CronExpression::parse(random.pick(&[
                "*/2 * * * *",
                "*/15 * * * *",
                "@hourly",
            ]))
            .unwrap(),
            zone,
        },
    }
}

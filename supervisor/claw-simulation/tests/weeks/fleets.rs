//! Fleets, and what is assumed of them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claw_core::spec::schedule::RunOnStart;
use claw_core::spec::{
    AgentSpec, Backoff, CatchUp, CleanExit, CronExpression, ExitCodes, FleetSpec, Hooks, Launch,
    LogPolicy, Mode, OnFull, Overlap, Probes, Program, Resources, Restart, RestartPolicy, Schedule,
    Shutdown, Timing,
};
use claw_core::{AgentName, Wall};
use claw_gateway::llm::budget::Budgets;
use claw_simulation::report::{Agent, WarningCode};
use claw_simulation::{Assumption, Faults, Report, Setting, simulate};
use jiff::tz::TimeZone;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn mins(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub(crate) fn name(agent: &str) -> AgentName {
    agent.parse().unwrap()
}

pub(crate) fn at(time: &str) -> Wall {
    time.parse().unwrap()
}

/// The rules of Central Europe, whatever this machine knows of zones.
pub(crate) fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// A daemon with the defaults of the fleet file, without jitter.
pub(crate) fn daemon() -> AgentSpec {
    AgentSpec {
        launch: Launch {
            command: vec!["/bin/agent".to_owned()],
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            working_dir: PathBuf::from("/"),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::Value::Null,
            models: None,
        },
        mode: Mode::Daemon,
        schedule: None,
        concurrency: NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: Restart {
            policy: RestartPolicy::Always,
            max_retries: Some(5),
            backoff: Backoff::Exponential,
            initial_delay: secs(5),
            max_delay: secs(300),
            reset_after: secs(3600),
            jitter_percent: 0,
            exit_codes: ExitCodes {
                success: [0].into(),
                retry: [75].into(),
                fatal: [78].into(),
                again: BTreeSet::new(),
            },
        },
        probes: Probes::default(),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: secs(30),
            signal: 15,
            clean: vec![CleanExit::Code(0), CleanExit::Signal(15)],
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 5,
            retention: WEEK,
            on_full: OnFull::Drop,
        },
    }
}

/// A oneshot with a schedule, which is not restarted after a failure.
pub(crate) fn oneshot(timing: Timing, overlap: Overlap) -> AgentSpec {
    let mut spec = daemon();
    spec.mode = Mode::Oneshot;
    spec.restart.policy = RestartPolicy::Never;
    let run_on_start = match &timing {
        Timing::Every(_) => RunOnStart::Yes,
        Timing::Cron { .. } | Timing::Daily { .. } => RunOnStart::No,
    };
    spec.schedule = Some(Schedule {
        timing,
        overlap,
        catch_up: CatchUp::One,
        max_lateness: None,
        jitter: Duration::ZERO,
        timeout: None,
        run_on_start,
    });
    spec
}

pub(crate) fn every(span: Duration) -> AgentSpec {
    oneshot(Timing::Every(span), Overlap::Skip)
}

pub(crate) fn cron(text: &str, zone: TimeZone) -> AgentSpec {
    let expression = CronExpression::parse(text).unwrap();
    oneshot(Timing::Cron { expression, zone }, Overlap::Skip)
}

/// A week from a Friday on, without faults; nobody changes the clock but in Berlin.
pub(crate) fn week<const N: usize>(agents: [(&str, AgentSpec); N]) -> Setting {
    let agents = agents.map(|(agent, spec)| (name(agent), Arc::new(spec)));
    Setting {
        fleet: Arc::new(FleetSpec {
            project: "test".to_owned(),
            max_concurrent_starts: NonZeroU32::new(10).unwrap(),
            agents: agents.into(),
            groups: Vec::new(),
        }),
        assumptions: BTreeMap::new(),
        accounts: BTreeMap::new(),
        budgets: Budgets::default(),
        scheduled_by_program: BTreeSet::new(),
        from: at("2026-03-27T00:00:00Z"),
        span: WEEK,
        seed: 1,
        faults: Faults::None,
    }
}

/// Adds what is assumed of an agent.
pub(crate) fn assume(mut setting: Setting, agent: &str, assumption: Assumption) -> Setting {
    setting.assumptions.insert(name(agent), assumption);
    setting
}

pub(crate) fn runs_for(run: Duration) -> Assumption {
    Assumption {
        run,
        ..Assumption::default()
    }
}

/// What became of one agent.
pub(crate) fn of<'a>(report: &'a Report, agent: &str) -> &'a Agent {
    let found = report.agents.iter().find(|found| found.name == name(agent));
    found.unwrap()
}

/// What becomes of the only agent.
pub(crate) fn only(setting: &Setting) -> Agent {
    simulate(setting).agents.remove(0)
}

pub(crate) fn codes(report: &Report) -> Vec<WarningCode> {
    report.warnings.iter().map(|warning| warning.code).collect()
}

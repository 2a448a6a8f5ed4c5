//! What the fleet of the tests holds.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use claw_core::sandbox::{Lack, Layer, Level, Loss, Need, Plan};
use claw_core::spec::{
    Backoff, ExitCodes, Hooks, Launch, LogPolicy, OnFull, Probes, Program, Resources, Restart,
    RestartPolicy, Secret, Shutdown,
};
use claw_core::status::{LiveInstance, RunSummary};
use claw_core::{
    AgentName, AgentSpec, AgentStatus, Cause, FleetSpec, Generation, InstanceId, ProbeKind,
    PublicState, Reason, Run, RunOutcome, RunPhase, Trigger, spec,
};
use claw_drivers::driver::Usage;
use claw_drivers::sandbox::{LearnedCall, Verdict};

use crate::api::{
    Change, ChangeKind, Container, ContainerNetwork, Denial, Exit, ReloadClass, Time, Transition,
    TransitionKind,
};
use crate::config::{Webhook, WebhookTarget};
use crate::http::ports::{JournalLatency, JournalLoad};

pub(super) const NOW: &str = "2026-11-20T10:00:00Z";

/// The run that was there before.
pub(super) const OLD_RUN: &str = "01932f6e-8c0a-7000-8000-000000000001";
/// The run that a trigger makes.
pub(super) const NEW_RUN: &str = "01932f6e-8c0a-7000-8000-000000000002";

pub(super) fn now() -> Time {
    NOW.parse().unwrap()
}

pub(super) fn ago(seconds: i64) -> Time {
    now() - jiff::SignedDuration::from_secs(seconds)
}

pub(super) fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

pub(super) fn changes() -> Vec<Change> {
    vec![Change {
        agent: Some("monitor".to_owned()),
        kind: ChangeKind::Changed,
        class: ReloadClass::Restart,
        path: "agents.monitor.env.LEVEL".to_owned(),
        old: Some("info".into()),
        new: Some("debug".into()),
    }]
}

pub(super) fn statuses() -> Vec<AgentStatus> {
    vec![
        AgentStatus {
            reason: Reason::BackingOff {
                cause: Cause::exit(3),
                until: ago(-40),
                failures: 2,
            },
            restarts: 1,
            last_death: Some((Cause::exit(3), ago(60))),
            ..status("broken", PublicState::Error)
        },
        status("idle", PublicState::Stopped),
        AgentStatus {
            ready: true,
            reason: Reason::Up,
            instance: Some(LiveInstance {
                generation: Generation(7),
                pid: Some(4242),
                started_at: Some(ago(3600)),
            }),
            restarts: 5,
            status_text: Some("42 sites up".to_owned()),
            probes: vec![(ProbeKind::Liveness, 0)],
            ..status("monitor", PublicState::Running)
        },
        AgentStatus {
            ready: true,
            reason: Reason::Waiting,
            runs: RunSummary {
                succeeded: 9,
                failed: 1,
                last: Some(ago(90)),
                next: Some(ago(-7200)),
                ..RunSummary::default()
            },
            ..status("nightly", PublicState::Running)
        },
    ]
}

fn status(agent: &str, state: PublicState) -> AgentStatus {
    AgentStatus {
        name: name(agent),
        state,
        ready: false,
        reason: Reason::Asked,
        since: ago(3600),
        instance: None,
        restarts: 0,
        status_text: None,
        last_death: None,
        halt: None,
        switch_changes: Vec::new(),
        runs: RunSummary::default(),
        probes: Vec::new(),
    }
}

pub(super) fn usage() -> BTreeMap<InstanceId, Usage> {
    let instance = InstanceId {
        agent: name("monitor"),
        generation: Generation(7),
    };
    let usage = Usage {
        cpu_us: 2_500_000,
        memory: 52_428_800,
        pids: 3,
        oom_kills: 0,
    };
    BTreeMap::from([(instance, usage)])
}

pub(super) fn journal_load() -> JournalLoad {
    JournalLoad {
        waiting: 2,
        latency: vec![JournalLatency {
            class: "power_cut",
            count: 3,
            sum_seconds: 0.012,
            buckets: vec![(0.004, 2), (0.016, 1), (f64::INFINITY, 0)],
        }],
    }
}

pub(super) fn old_run() -> Run {
    Run {
        id: OLD_RUN.parse().unwrap(),
        trigger: Trigger::Schedule { slot: ago(120) },
        payload: None,
        queued_at: ago(120),
        phase: RunPhase::Finished {
            started: Some(ago(119)),
            at: ago(90),
            outcome: RunOutcome::Failed {
                cause: Cause::exit(1),
            },
        },
        attempts: 2,
        generation: Some(Generation(4)),
        log: Some(claw_core::death::LogRange {
            lane: 0,
            from: 100,
            to: 250,
        }),
        ..new_run()
    }
}

pub(super) fn new_run() -> Run {
    Run {
        id: NEW_RUN.parse().unwrap(),
        agent: name("nightly"),
        trigger: Trigger::Manual,
        payload: Some(r#"{"day":1}"#.to_owned()),
        queued_at: now(),
        phase: RunPhase::Queued,
        attempts: 0,
        generation: None,
        log: None,
        image: None,
    }
}

pub(super) const HOOK_SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(super) fn webhook() -> Webhook {
    Webhook {
        secret: Secret::new(HOOK_SECRET.to_owned()),
        target: WebhookTarget::Agent(name("nightly")),
        per_minute: 60,
    }
}

pub(super) fn transition() -> Transition {
    Transition {
        at: ago(60),
        text: "broken#2 exited with code 3".to_owned(),
        what: TransitionKind::Ended {
            generation: 2,
            cause: (&Cause::exit(3)).into(),
            failed: true,
            exit: Some(Exit {
                exit_code: Some(3),
                signal: None,
                oom_kills: 0,
                leftovers: 1,
                cpu_seconds: 0.25,
                memory_peak_bytes: Some(1_048_576),
            }),
            image: None,
        },
    }
}

/// What a machine gives that can do everything.
pub(super) fn plan() -> Plan {
    Plan {
        level: Level::Full,
        layers: vec![
            Layer::UserNamespace,
            Layer::RootDir,
            Layer::Landlock(7),
            Layer::Seccomp,
        ],
        losses: Vec::new(),
    }
}

/// What a machine gives without namespaces, to an agent that takes it.
pub(super) fn degraded_plan() -> Plan {
    Plan {
        level: Level::Landlock,
        layers: vec![Layer::Landlock(7), Layer::Seccomp],
        losses: vec![Loss {
            need: Need::RootDir,
            lack: Lack {
                call: "unshare".to_owned(),
                errno: 1,
                reason: "EPERM".to_owned(),
            },
        }],
    }
}

pub(super) fn denials(agent: &AgentName) -> Vec<Denial> {
    let denial = |host: &str, seconds, fix: Option<&str>| Denial {
        at: ago(seconds),
        agent: agent.to_string(),
        host: host.to_owned(),
        port: 443,
        address: None,
        reason: "no line of `allowed_network` names it".to_owned(),
        rule: None,
        fix: fix.map(str::to_owned),
    };
    let fix = "agents.monitor.sandbox.allowed_network: [example.com]";
    match agent.as_str() {
        "monitor" => vec![
            denial("169.254.169.254", 60, None),
            denial("example.com", 5, Some(fix)),
        ],
        _ => Vec::new(),
    }
}

pub(super) fn learned(agent: &AgentName) -> Vec<LearnedCall> {
    let call = |name: &str, count, verdict| LearnedCall {
        name: name.to_owned(),
        count,
        first: ago(60),
        verdict,
    };
    match agent.as_str() {
        "monitor" => vec![
            call("mbind", 12, Verdict::Allowed),
            call("personality", 1, Verdict::Allowed),
            call("mount", 2, Verdict::Denied),
        ],
        _ => Vec::new(),
    }
}

pub(super) fn container() -> Container {
    Container {
        image: "my/agent:1.2".to_owned(),
        digest: None,
        network: ContainerNetwork::None,
        read_only_filesystem: true,
    }
}

pub(super) fn fleet_spec() -> FleetSpec {
    let spec = AgentSpec {
        launch: Launch {
            command: vec!["./monitor".to_owned()],
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::from([
                ("LEVEL".to_owned(), "info".to_owned()),
                ("SLACK_TOKEN".to_owned(), "xoxb-very-secret".to_owned()),
            ]),
            secrets: BTreeMap::from([("DB".to_owned(), Secret::new("hunter2".to_owned()))]),
            working_dir: "/srv/fleet".into(),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::json!({"urls": ["a"], "auth": {"api_key": "sk-very-secret"}}),
            models: None,
        },
        mode: spec::Mode::Daemon,
        schedule: None,
        concurrency: std::num::NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: restart(),
        probes: Probes::default(),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: std::time::Duration::from_secs(30),
            signal: 15,
            clean: Vec::new(),
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 1 << 20,
            max_files: 5,
            retention: std::time::Duration::from_secs(604_800),
            on_full: OnFull::Drop,
        },
    };
    FleetSpec {
        project: "test-fleet".to_owned(),
        max_concurrent_starts: NonZeroU32::MIN,
        groups: Vec::new(),
        agents: BTreeMap::from([(name("monitor"), Arc::new(spec))]),
    }
}

fn restart() -> Restart {
    Restart {
        policy: RestartPolicy::Always,
        max_retries: Some(5),
        backoff: Backoff::Exponential,
        initial_delay: std::time::Duration::from_secs(5),
        max_delay: std::time::Duration::from_secs(300),
        reset_after: std::time::Duration::from_secs(3600),
        jitter_percent: 10,
        exit_codes: ExitCodes {
            success: [0].into(),
            retry: [75].into(),
            fatal: [78].into(),
            again: std::collections::BTreeSet::new(),
        },
    }
}

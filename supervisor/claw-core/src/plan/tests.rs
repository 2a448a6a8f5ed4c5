use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::spec::schedule::{Overlap, RunOnStart};
use crate::spec::{
    AgentSpec, Backoff, Breaker, CatchUp, Check, CleanExit, Condition, ExitCodes, HookSpec, Hooks,
    Launch, LogPolicy, OnFull, Probe, Probes, Program, Progress, Resources, Restart, RestartPolicy,
    Schedule, Secret, Shutdown, Timing,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bare() -> AgentSpec {
    AgentSpec {
        launch: Launch {
            command: vec!["node".to_owned(), "gateway.js".to_owned()],
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            working_dir: "/srv/fleet".into(),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::Value::Null,
            models: None,
        },
        mode: crate::spec::Mode::Daemon,
        schedule: None,
        concurrency: NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: Restart {
            policy: RestartPolicy::Always,
            max_retries: Some(5),
            backoff: Backoff::Exponential,
            initial_delay: seconds(5),
            max_delay: seconds(300),
            reset_after: seconds(3600),
            jitter_percent: 10,
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
            timeout: seconds(30),
            signal: 15,
            clean: vec![CleanExit::Code(0), CleanExit::Signal(15)],
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 50 << 20,
            max_files: 5,
            retention: seconds(7 * 86_400),
            on_full: OnFull::Drop,
        },
    }
}

fn probes() -> Probes {
    let probe = |check| {
        Some(Probe {
            check,
            interval: seconds(1),
            timeout: seconds(2),
            threshold: 3,
        })
    };
    Probes {
        startup: probe(Check::Http {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            path: "/health".to_owned(),
            status: Some(200),
            body: Some("\"ok\"".to_owned()),
        }),
        liveness: probe(Check::Heartbeat),
        readiness: probe(Check::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 8080,
        }),
        progress: Some(Progress {
            max_silence: seconds(1800),
        }),
        breaker: Breaker {
            calls: NonZeroU16::new(5).unwrap(),
            within: seconds(60),
        },
    }
}

/// An agent that says everything, and everything differently.
fn full() -> AgentSpec {
    let hook = |program: &str| {
        Some(HookSpec {
            command: vec![program.to_owned()],
            timeout: seconds(60),
        })
    };
    let mut spec = bare();
    spec.launch.command = vec!["./report.sh".to_owned(), "a b".to_owned()];
    spec.launch.env = [
        ("LEVEL".to_owned(), "no".to_owned()),
        ("API_KEY".to_owned(), "sk-plain".to_owned()),
    ]
    .into();
    spec.launch.secrets = [("SLACK_WEBHOOK".to_owned(), Secret::new("hush".to_owned()))].into();
    spec.launch.user = Some("agent".to_owned());
    spec.launch.data_dirs = vec!["/srv/state".into()];
    spec.launch.config = serde_json::json!({"deep": [1, 2]});
    spec.mode = crate::spec::Mode::Oneshot;
    spec.schedule = Some(Schedule {
        timing: Timing::Cron {
            expression: crate::spec::CronExpression::parse("30 2 * * *").unwrap(),
            zone: jiff::tz::TimeZone::UTC,
        },
        overlap: Overlap::Skip,
        catch_up: CatchUp::One,
        max_lateness: Some(seconds(21_600)),
        jitter: seconds(300),
        timeout: Some(seconds(1200)),
        run_on_start: RunOnStart::No,
    });
    spec.depends_on = [("database".parse().unwrap(), Condition::Ready)].into();
    spec.restart.policy = RestartPolicy::OnFailure;
    spec.restart.max_retries = None;
    spec.probes = probes();
    spec.resources = Resources {
        cpu_millis: Some(500),
        memory: Some(512 << 20),
        pids: Some(128),
    };
    spec.shutdown.signal = 2;
    spec.hooks = Hooks {
        pre_start: hook("./migrate"),
        post_stop: hook("./clean"),
    };
    spec.logging.on_full = OnFull::Block;
    spec
}

fn fleet(agents: &[(&str, AgentSpec)]) -> FleetSpec {
    let agents = agents
        .iter()
        .map(|(name, spec)| (name.parse().unwrap(), Arc::new(spec.clone())));
    FleetSpec {
        project: "fleet".to_owned(),
        max_concurrent_starts: NonZeroU32::new(10).unwrap(),
        groups: Vec::new(),
        agents: agents.collect(),
    }
}

fn shown(changes: &[Change]) -> String {
    let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_fleet_does_not_differ_from_itself() {
    let fleet = fleet(&[("a", bare()), ("b", full())]);
    assert_eq!(diff(&fleet, &fleet), []);
    assert_eq!(diff_fleet(&fleet, &fleet), []);
}

#[test]
fn every_field_is_shown_under_its_key_with_its_class() {
    let changes = diff(&fleet(&[("a", bare())]), &fleet(&[("a", full())]));
    insta::assert_snapshot!(shown(&changes));
    let back = diff(&fleet(&[("a", full())]), &fleet(&[("a", bare())]));
    let number = |changes: &[Change]| shown(changes).lines().count();
    assert_eq!(number(&changes), number(&back));
}

#[test]
fn agents_come_and_go_by_name() {
    let old = fleet(&[("gone", bare()), ("same", bare())]);
    let new = fleet(&[("new", bare()), ("same", bare())]);
    let changes = diff(&old, &new);
    assert_eq!(
        shown(&changes),
        "- gone is stopped and removed\n+ new is started"
    );
    assert!(changes.iter().all(|change| change.class().is_none()));
}

#[test]
fn the_strongest_field_decides_about_a_change() {
    let mut live = bare();
    live.restart.max_delay = seconds(600);
    let changes = diff(&fleet(&[("a", bare())]), &fleet(&[("a", live.clone())]));
    assert_eq!(
        shown(&changes),
        "~ a goes on running\n    restart_policy.max_delay: 5m -> 10m (live)"
    );
    assert_eq!(changes[0].class(), Some(ReloadClass::Live));
    live.mode = crate::spec::Mode::Oneshot;
    let changes = diff(&fleet(&[("a", bare())]), &fleet(&[("a", live)]));
    assert_eq!(changes[0].class(), Some(ReloadClass::Restart));
}

#[test]
fn a_changed_secret_is_seen_and_not_shown() {
    let with = |value: &str| {
        let mut spec = bare();
        let secret = Secret::new(value.to_owned());
        spec.launch.secrets.insert("TOKEN".to_owned(), secret);
        fleet(&[("a", spec)])
    };
    let changes = diff(&with("old-value"), &with("new-value"));
    assert_eq!(
        shown(&changes),
        "~ a is restarted\n    secrets.TOKEN: *** -> *** (restart)"
    );
    let everything = format!("{changes:?}") + &serde_json::to_string(&changes).unwrap();
    assert!(!everything.contains("value"));
}

#[test]
fn the_fleet_has_fields_of_its_own() {
    let old = fleet(&[]);
    let mut new = old.clone();
    new.max_concurrent_starts = NonZeroU32::MIN;
    let changes = diff_fleet(&old, &new);
    assert_eq!(changes.len(), 1);
    assert_eq!(
        changes[0].to_string(),
        "supervisor.max_concurrent_starts: 10 -> 1 (live)"
    );
}

fn boxed(image: &str, key: &str) -> AgentSpec {
    use crate::spec::container::{Build, Container, Init, Network, PullPolicy, RootFs, Seccomp};
    let mut spec = bare();
    let args = [("VERSION", "1"), ("API_KEY", key)];
    let args = args.map(|(name, value)| (name.to_owned(), value.to_owned()));
    spec.launch.container = Some(Box::new(Container {
        image: image.to_owned(),
        pull: PullPolicy::Missing,
        build: Some(Build {
            context: "/srv/fleet".into(),
            dockerfile: "Dockerfile".into(),
            target: None,
            args: args.into(),
        }),
        entrypoint: None,
        working_dir: None,
        mounts: Vec::new(),
        ports: Vec::new(),
        root: RootFs::ReadOnly,
        tmpfs: Vec::new(),
        shm: 16 << 20,
        network: Network::None,
        seccomp: Seccomp::Default,
        capabilities: Vec::new(),
        nofile: 1024,
        init: Init::Engine,
    }));
    spec
}

#[test]
fn another_image_replaces_the_container_and_keys_of_a_build_are_not_shown() {
    let old = fleet(&[("a", boxed("my/agent:1", "hush")), ("b", bare())]);
    let new = fleet(&[("a", boxed("my/agent:2", "shout")), ("b", bare())]);
    let changes = shown(&diff(&old, &new));
    assert!(
        changes.contains(r#"image: "my/agent:1" -> "my/agent:2" (restart)"#),
        "{changes}"
    );
    assert!(
        changes.contains("build.args.API_KEY: *** -> *** (restart)"),
        "{changes}"
    );
    assert!(
        !changes.contains("VERSION") && !changes.contains(" b "),
        "{changes}"
    );
}

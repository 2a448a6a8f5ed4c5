//! One life, from the start to the end.

use std::time::{Duration, Instant};

use claw_core::order::RunContext;
use claw_core::spec::{Check, Probe, Secret};
use claw_core::{
    AgentSpec, ExitStatus, Fact, InstanceId, Order, ProbeKind, ProbeOutcome, RunId, SpawnStage,
    Trigger,
};

use super::stage::{PATIENCE, Platform, Stage, eventually, runs, unique_sleep};

pub(crate) async fn an_exit_code_is_reported_and_nothing_is_left_after_the_release<P: Platform>(
    mut stage: Stage<P>,
) {
    let spec = stage.script("exit 7");
    let instance = stage.started(spec).await;
    let report = stage.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Code(7));
    assert_eq!((report.leftovers, report.oom_kills), (0, 0));
    assert!(stage.has_traces(&instance).await);
    stage.order(Order::Release {
        instance: instance.clone(),
    });
    let deadline = Instant::now() + PATIENCE;
    while stage.has_traces(&instance).await {
        assert!(Instant::now() < deadline, "something is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn a_death_by_signal_is_reported_as_one<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.script("kill -SEGV $$; sleep 5");
    let instance = stage.started(spec).await;
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(11));
}

pub(crate) async fn a_real_time_signal_can_be_sent_and_died_of<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.agent(&["sleep", "1000"]);
    let instance = stage.started(spec).await;
    stage.signal(&instance, 40);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(40));
}

pub(crate) async fn a_stop_signal_lets_the_agent_end_as_it_likes<P: Platform>(mut stage: Stage<P>) {
    let ready = stage.file("ready");
    let text = format!(
        "trap 'exit 4' TERM; echo > {}; while :; do sleep 0.05; done",
        ready.display()
    );
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    eventually("the trap", || ready.exists()).await;
    stage.signal(&instance, 15);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(4));
}

/// A main process with a deaf child in its group, one in its own session, and a daemon.
fn family(up: &std::path::Path, sleep: &str) -> String {
    format!(
        "(trap '' TERM; exec sleep {sleep}) & \
         setsid sh -c 'trap \"\" TERM; exec sleep {sleep}' & \
         (setsid sh -c 'trap \"\" TERM; exec sleep {sleep}' &) ; sleep 0.3; echo > {}; ",
        up.display()
    )
}

pub(crate) async fn a_kill_ends_the_whole_tree<P: Platform>(mut stage: Stage<P>) {
    let (up, sleep) = (stage.file("up"), unique_sleep());
    let text = family(&up, &sleep) + "trap '' TERM; while :; do sleep 1000; done";
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    eventually("the family", || up.exists()).await;
    assert!(runs(&sleep));
    stage.kill(&instance);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(9));
    assert!(!runs(&sleep));
}

pub(crate) async fn what_outlives_the_main_process_is_ended<P: Platform>(mut stage: Stage<P>) {
    let (up, sleep) = (stage.file("up"), unique_sleep());
    let text = family(&up, &sleep) + "exit 3";
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(3));
    assert!(up.exists() && !runs(&sleep));
}

pub(crate) async fn a_frozen_tree_stands_still_and_goes_on_after<P: Platform>(mut stage: Stage<P>) {
    let file = stage.file("count");
    let text = format!("while :; do echo x >> {}; sleep 0.02; done", file.display());
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    let size = || std::fs::metadata(&file).map_or(0, |found| found.len());
    eventually("the first lines", || size() > 4).await;
    stage.order(Order::Freeze {
        instance: instance.clone(),
    });
    // Frozen once nothing came for many times as long as a round takes.
    let mut last = size();
    loop {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        if size() == last {
            break;
        }
        last = size();
    }
    stage.order(Order::Thaw {
        instance: instance.clone(),
    });
    eventually("more lines", || size() > last).await;
    stage.order(Order::Freeze {
        instance: instance.clone(),
    });
    stage.kill(&instance);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(9));
}

pub(crate) async fn each_stream_is_kept_in_order_and_the_report_says_where<P: Platform>(
    mut stage: Stage<P>,
) {
    let text = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo out $i; echo err $i >&2; done";
    let spec = stage.script(text);
    let instance = stage.started(spec).await;
    let log = stage.gone(&instance).await.log.unwrap();
    let text = stage.log();
    assert_eq!((log.lane, log.from, log.to), (0, 0, text.len() as u64));
    for kind in ["out", "err"] {
        let lines = text.lines().filter(|line| line.starts_with(kind));
        let expected = (1..=200).map(|number| format!("{kind} {number}"));
        assert!(lines.eq(expected), "{text}");
    }
    let spec = stage.script("echo again");
    let second = stage.started(spec).await;
    let next = stage.gone(&second).await.log.unwrap();
    assert_eq!((next.from, next.to), (log.to, log.to + 6));
}

pub(crate) async fn a_flood_arrives_whole<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.script("seq 1 50000; exit 3");
    let instance = stage.started(spec).await;
    let report = stage.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Code(3));
    let expected: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert!(stage.log() == expected, "the log differs");
}

pub(crate) async fn a_missing_program_is_named<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.agent(&["no-such-program"]);
    let instance = stage.spawn(spec);
    let error = stage.spawn_failed(&instance).await;
    assert_eq!((error.stage, error.errno), (SpawnStage::Exec, 2));
    let begin = "cannot execute `no-such-program`";
    assert!(error.detail.starts_with(begin), "{}", error.detail);
}

pub(crate) async fn a_generation_is_started_once<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.script("exit 0");
    let instance = stage.started(spec.clone()).await;
    stage.gone(&instance).await;
    stage.order(Order::Spawn {
        instance: instance.clone(),
        spec: spec.into(),
        run: None,
    });
    let error = stage.spawn_failed(&instance).await;
    assert_eq!(
        error.detail,
        "`agent#1` was not started: this generation has run already"
    );
}

fn run_with(payload: Option<String>) -> RunContext {
    RunContext {
        run: RunId::new(1, 1),
        trigger: Trigger::Manual,
        attempt: 2,
        payload: payload.map(Into::into),
    }
}

pub(crate) async fn an_agent_knows_who_it_is<P: Platform>(mut stage: Stage<P>) {
    let file = stage.file("env");
    let mut spec = stage.script(&format!("env > {}", file.display()));
    spec.launch.env.insert("MINE".to_owned(), "yes".to_owned());
    let secret = Secret::new("hidden".to_owned());
    spec.launch.secrets.insert("TOKEN".to_owned(), secret);
    spec.launch.config = serde_json::json!({"a": 1});
    let instance = stage.spawn_run(spec, Some(run_with(None)));
    stage.await_start(&instance).await;
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(0));
    let text = std::fs::read_to_string(file).unwrap();
    for line in [
        "MINE=yes",
        "TOKEN=hidden",
        "OPENCLAW_AGENT=agent",
        "OPENCLAW_INSTANCE=agent#1",
        "OPENCLAW_TRIGGER=manual",
        "OPENCLAW_ATTEMPT=2",
        "OPENCLAW_CONFIG={\"a\":1}",
        "OPENCLAW_CONTROL=there",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
    }
}

pub(crate) async fn a_payload_is_on_standard_input<P: Platform>(mut stage: Stage<P>) {
    let file = stage.file("out");
    let spec = stage.script(&format!("wc -c > {}", file.display()));
    let instance = stage.spawn_run(spec, Some(run_with(Some("x".repeat(300_000)))));
    stage.await_start(&instance).await;
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(0));
    assert_eq!(std::fs::read_to_string(file).unwrap().trim(), "300000");
}

/// It may be killed, or not be started at all.
pub(crate) async fn a_kill_that_comes_before_the_start_is_not_lost<P: Platform>(
    mut stage: Stage<P>,
) {
    let sleep = unique_sleep();
    let spec = stage.agent(&["sleep", &sleep]);
    let instance = stage.spawn(spec);
    stage.kill(&instance);
    let status = stage
        .find(|fact| match fact {
            Fact::Gone { report, .. } => Some(Some(report.status)),
            Fact::SpawnFailed { .. } => Some(None),
            _ => None,
        })
        .await;
    assert!(matches!(status, None | Some(ExitStatus::Signal(9))));
    assert!(!runs(&sleep));
}

async fn outcome<P: Platform>(
    stage: &mut Stage<P>,
    instance: &InstanceId,
    spec: AgentSpec,
) -> ProbeOutcome {
    stage.order(Order::Probe {
        instance: instance.clone(),
        probe: ProbeKind::Liveness,
        spec: spec.into(),
        sequence: 1,
    });
    stage
        .find(|fact| match fact {
            Fact::Probed { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .await
}

pub(crate) async fn a_command_that_checks_is_judged_by_its_end<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.script("sleep 1000");
    let instance = stage.started(spec.clone()).await;
    let exec = |text: &str, timeout| {
        let mut spec = spec.clone();
        spec.probes.liveness = Some(Probe {
            check: Check::Exec {
                command: vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()],
            },
            interval: Duration::from_secs(1),
            timeout,
            threshold: 3,
        });
        spec
    };
    let long = Duration::from_secs(30);
    let good = outcome(&mut stage, &instance, exec("true", long)).await;
    assert_eq!(good, ProbeOutcome::Success);
    let bad = outcome(&mut stage, &instance, exec("echo tired; exit 2", long)).await;
    let expected = "exited with code 2: tired".to_owned();
    assert_eq!(bad, ProbeOutcome::Failure(expected));
    let sleep = unique_sleep();
    let (short, hang) = (Duration::from_secs(2), format!("sleep {sleep}"));
    let slow = outcome(&mut stage, &instance, exec(&hang, short)).await;
    assert!(!matches!(slow, ProbeOutcome::Success), "{slow:?}");
    eventually("its end", || !runs(&sleep)).await;
}

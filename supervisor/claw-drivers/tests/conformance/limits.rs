//! Limits: they hold, and what they did is told.

use claw_core::{AgentSpec, ExitStatus};
use claw_drivers::Driver;

use super::stage::{PATIENCE, Platform, Stage};

const MIB: u64 = 1 << 20;

/// Fills the memory of a shell, which doubles a text until it cannot.
const HOG: &str = "x=xxxxxxxx; while :; do x=$x$x; done";

fn with_memory(mut spec: AgentSpec, mib: u64) -> AgentSpec {
    spec.resources.memory = Some(mib * MIB);
    spec
}

pub(crate) async fn a_main_process_that_takes_too_much_memory_is_killed_and_counted<P: Platform>(
    mut stage: Stage<P>,
) {
    if !stage.can_limit() {
        return;
    }
    let tells = stage.tells_memory_kills();
    let spec = with_memory(stage.script(HOG), 32);
    let instance = stage.started(spec).await;
    let report = stage.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Signal(9));
    assert!(report.oom_kills >= 1 || !tells, "{report:?}");
}

pub(crate) async fn a_child_killed_for_memory_is_counted<P: Platform>(mut stage: Stage<P>) {
    if !stage.can_limit() {
        return;
    }
    let tells = stage.tells_memory_kills();
    // Where the whole group is killed, the main process goes with its child.
    let spec = stage.script(&format!("sh -c '{HOG}'; sleep 0.5; exit 0"));
    let instance = stage.started(with_memory(spec, 32)).await;
    let report = stage.gone(&instance).await;
    let whole = ExitStatus::Signal(9);
    assert!([ExitStatus::Code(0), whole].contains(&report.status));
    assert!(report.oom_kills >= 1 || !tells, "{report:?}");
}

pub(crate) async fn a_fork_bomb_stops_at_its_limit<P: Platform>(mut stage: Stage<P>) {
    if !stage.can_limit() {
        return;
    }
    // A shell that cannot fork ends; the one around it counts.
    let text = "(for i in $(seq 200); do sleep 1000 & echo made; done); exit 0";
    let mut spec = stage.script(text);
    spec.resources.pids = Some(20);
    let instance = stage.started(spec).await;
    stage.gone(&instance).await;
    let made = stage.log().lines().filter(|line| *line == "made").count();
    assert!((5..20).contains(&made), "{made}");
}

pub(crate) async fn usage_is_told<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.script("while :; do :; done");
    let instance = stage.started(spec).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let usage = stage.driver().usage().await;
        let usage = usage.get(&instance).copied().unwrap_or_default();
        if usage.cpu_us > 50_000 {
            assert!(usage.memory > 0 && usage.pids >= 1, "{usage:?}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{usage:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stage.kill(&instance);
    let report = stage.gone(&instance).await;
    assert!(report.cpu_us > 0 && report.memory_peak > 0, "{report:?}");
}

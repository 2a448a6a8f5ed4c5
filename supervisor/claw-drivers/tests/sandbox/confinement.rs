//! A sandbox is confined as an agent in a container is.

use claw_core::ExitStatus;
use claw_drivers::container::pool::SandboxSpec;

use crate::engine::{Engine, House, spec, text};

#[tokio::test]
async fn a_command_has_no_rights_and_reaches_nothing() {
    let Some(engine) = Engine::get("a_command_has_no_rights_and_reaches_nothing") else {
        return;
    };
    for ready in [1, 0] {
        let house = House::open(&engine, "confined", SandboxSpec { ready, ..spec() });
        house.ready(usize::try_from(ready).unwrap()).await;
        let outcome = house
            .sh(
                "id -u; pwd; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
                 ls /sys/class/net; touch /bin/x; cat /proc/self/oom_score_adj; touch /tmp/y",
            )
            .await;
        let expected = "1000\n/tmp\nCapBnd:\t0000000000000000\nCapEff:\t0000000000000000\n\
                        NoNewPrivs:\t1\nSeccomp:\t2\nlo\n500\n";
        let mut lines: Vec<_> = text(&outcome.stdout).lines().collect();
        lines[2..].sort_unstable_by_key(|line| !line.starts_with("Cap"));
        let mut wanted: Vec<_> = expected.lines().collect();
        lines.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(lines, wanted, "ready: {ready}");
        assert!(text(&outcome.stderr).contains("Read-only file system"));
        assert_eq!(outcome.status, ExitStatus::Code(0));
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn more_processes_than_allowed_are_not_to_be_had() {
    let Some(engine) = Engine::get("more_processes_than_allowed_are_not_to_be_had") else {
        return;
    };
    let mut spec = spec();
    spec.resources.pids = Some(8);
    let house = House::open(&engine, "pids", spec);
    house.ready(1).await;
    let outcome = house
        .sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait")
        .await;
    assert_ne!(outcome.status, ExitStatus::Code(0));
    assert!(text(&outcome.stderr).contains("fork"), "{outcome:?}");
    house.sandboxes.close().await;
}

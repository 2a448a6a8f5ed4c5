//! Output on its way into the log.

use claw_core::ExitStatus;

use crate::world::{World, script};

#[tokio::test(flavor = "multi_thread")]
async fn both_streams_are_kept_and_the_report_says_where() {
    let mut world = World::new().await;
    let (first, _) = world.started(script("echo out; echo err >&2")).await;
    let report = world.gone(&first).await;
    let log = report.log.unwrap();
    assert_eq!((log.lane, log.from, log.to), (0, 0, 8));
    let mut lines: Vec<String> = world.log(&first).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
    let (second, _) = world.started(script("echo again")).await;
    let log = world.gone(&second).await.log.unwrap();
    assert_eq!((log.from, log.to), (8, 14));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stops_neither_the_agent_nor_the_report() {
    let mut world = World::new().await;
    let (instance, _) = world
        .started(script("head -c 50000000 /dev/zero | tr '\\0' x; exit 3"))
        .await;
    let report = world.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Code(3));
    assert_eq!(report.log.map(|log| log.to - log.from), Some(50_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_harms_no_agent() {
    let mut world = World::new().await;
    let agent_dir = world.dir.path().join("data/agents/agent");
    std::fs::create_dir_all(&agent_dir).unwrap();
    std::fs::write(agent_dir.join("log"), "in the way").unwrap();
    let (instance, _) = world.started(script("echo lost; exit 4")).await;
    let report = world.gone(&instance).await;
    assert_eq!((report.status, report.log), (ExitStatus::Code(4), None));
}

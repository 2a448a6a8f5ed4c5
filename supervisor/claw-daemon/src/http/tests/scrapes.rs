//! Metrics, as scraped.

use std::sync::Arc;

use claw_core::action::Happened;
use claw_core::{Cause, Generation, InstanceId, ProbeKind, RunOutcome};

use super::fleet::Fleet;
use super::get;
use super::samples::name;

fn busy_fleet() -> Fleet {
    let fleet = Fleet::new();
    fleet.finish(RunOutcome::Succeeded);
    fleet.finish(RunOutcome::Failed {
        cause: Cause::exit(1),
    });
    let detail = "503".to_owned();
    let probe = ProbeKind::Liveness;
    fleet.announce(
        "monitor",
        Happened::ProbeFailed {
            probe,
            detail,
            consecutive: 1,
        },
    );
    let instance = InstanceId {
        agent: name("broken"),
        generation: Generation(2),
    };
    let cause = Cause::Oom { kills: 2 };
    fleet.announce(
        "broken",
        Happened::Ended {
            instance,
            cause,
            failed: true,
        },
    );
    fleet
        .state
        .metrics
        .observe_step(std::time::Duration::from_micros(40));
    fleet
}

#[tokio::test]
async fn a_scrape_tells_of_every_agent() {
    let fleet = busy_fleet();
    let scraped = get("/api/metrics").send(&fleet).await;
    assert_eq!(
        scraped.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    insta::assert_snapshot!(scraped.body);
    assert_eq!(get("/metrics").send(&fleet).await.body, scraped.body);
}

#[tokio::test]
async fn openmetrics_is_given_to_who_asks_for_it() {
    let call = get("/metrics").header("accept", "application/openmetrics-text; version=1.0.0");
    let scraped = call.send(&busy_fleet()).await;
    assert!(
        scraped
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(scraped.body.ends_with("# EOF\n"), "{}", scraped.body);
    assert!(
        scraped
            .body
            .contains("# TYPE openclaw_agent_runs counter\n")
    );
}

#[tokio::test]
async fn an_agent_that_left_takes_its_series_with_it() {
    let fleet = busy_fleet();
    let run = claw_core::Run {
        agent: name("gone"),
        ..fleet
            .world
            .runs
            .lock()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone()
    };
    fleet.announce("gone", Happened::RunChanged { run: Arc::new(run) });
    let scraped = get("/metrics").send(&fleet).await;
    assert!(!scraped.body.contains("gone"), "{}", scraped.body);
}

//! The conformance suite again, while the process that hosts the store is killed between operations,
//! at moments that `CLAW_TEST_SEED` repeats. What is told of kills, cuts and damage by itself stays
//! in the suite.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, in its helpers too"
)]

#[path = "conformance/causality.rs"]
mod causality;
#[path = "conformance/delivery.rs"]
mod delivery;
#[path = "conformance/failure.rs"]
mod failure;
#[path = "conformance/figures.rs"]
mod figures;
#[path = "conformance/gathering.rs"]
mod gathering;
#[path = "conformance/grammar.rs"]
mod grammar;
#[path = "conformance/history.rs"]
mod history;
#[path = "conformance/hosted.rs"]
mod hosted;
#[path = "conformance/lifecycle.rs"]
mod lifecycle;
#[path = "conformance/order.rs"]
mod order;
#[path = "conformance/pressure.rs"]
mod pressure;
#[path = "conformance/publish.rs"]
mod publish;
#[path = "conformance/retention.rs"]
mod retention;
#[path = "conformance/sharding.rs"]
mod sharding;
#[path = "conformance/state.rs"]
mod state;
#[path = "conformance/state_faults.rs"]
mod state_faults;
#[path = "conformance/state_history.rs"]
mod state_history;
#[path = "conformance/support.rs"]
mod support;
#[path = "conformance/time.rs"]
mod time;

/// The suite shows nothing if nobody is killed, or if a kill loses nothing that is not written.
#[tokio::test]
async fn the_host_is_killed_and_its_successor_has_what_was_stored() {
    let bench = support::Bench::new();
    bench.group("g", support::wide("t")).await;
    bench.numbers("t", 0..50).await;
    let held = bench.pull(&support::member("g", 0), 10).await;
    for n in 0..20 {
        bench.set("n", &n.to_string()).await;
    }
    assert!(bench.store.kills() > 2, "{} kills", bench.store.kills());
    for delivery in &held {
        bench.ack(&support::member("g", 0), delivery).await;
    }
    let rest = bench.drain(&support::member("g", 0)).await;
    assert_eq!(rest, support::names("t", 10..50));
}

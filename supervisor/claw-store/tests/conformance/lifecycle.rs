//! Statements 49 to 53: stopping, pausing, replacing replicas.

use std::time::{Duration, Instant};

use claw_store::bus::{GroupConfig, Pause, Readiness, Settle};

use crate::support::*;

#[tokio::test]
async fn statement_49_a_drain_loses_nothing_and_hands_over_at_once() {
    let bench = Bench::new();
    let config = GroupConfig {
        concurrency: 3,
        ..config("t")
    };
    bench.group("g", config).await;
    bench.numbers("t", 0..6).await;
    let (leaving, staying) = (member("g", 0), member("g", 1));
    let held = bench.pull(&leaving, 3).await;
    bench
        .store
        .set_ready(&leaving, Readiness::Unready)
        .await
        .unwrap();
    bench.nothing(&leaving).await;
    bench.ack(&leaving, &held[0]).await;
    bench.nothing(&leaving).await;
    // One was not begun and goes back by itself, one is cut off by the end of the process.
    bench
        .store
        .settle(&leaving, held[1].lease, Settle::Return)
        .await
        .unwrap();
    let began = Instant::now();
    bench.store.release_replica(&leaving).await.unwrap();
    let mut taken = bench.pull(&staying, 3).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    taken.sort_by_key(|one| one.event.seq);
    assert_eq!(ids(&taken), ["t-1", "t-2", "t-3"]);
    assert_eq!(
        taken.iter().map(|one| one.attempt).collect::<Vec<_>>(),
        [1, 2, 1]
    );
    for delivery in &taken {
        bench.ack(&staying, delivery).await;
    }
    assert_eq!(bench.drain(&staying).await, names("t", 4..6));
}

#[tokio::test]
async fn statement_50_an_unready_replica_gets_nothing_new_and_keeps_what_it_has() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..3).await;
    let (first, second) = (member("g", 0), member("g", 1));
    let held = bench.one(&first).await;
    bench
        .store
        .set_ready(&first, Readiness::Unready)
        .await
        .unwrap();
    assert_eq!(bench.store.held(&first).await.unwrap().len(), 1);
    let other = bench.one(&second).await;
    assert_eq!(other.event.id, "t-1");
    bench.ack(&first, &held).await;
    bench.nothing(&first).await;
    bench
        .store
        .set_ready(&first, Readiness::Ready)
        .await
        .unwrap();
    assert_eq!(bench.one(&first).await.event.id, "t-2");
}

#[tokio::test]
async fn statement_51_a_pause_outlives_a_restart() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    bench.store.set_paused("g", Pause::Paused).await.unwrap();
    bench.numbers("t", 0..3).await;
    bench.nothing(&member("g", 0)).await;
    let bench = bench.restart();
    bench.nothing(&member("g", 0)).await;
    bench.store.set_paused("g", Pause::Running).await.unwrap();
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 0..3));
}

#[tokio::test]
async fn statement_53_removing_a_dead_member_loses_nothing() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    bench.numbers("t", 0..5).await;
    assert_eq!(bench.pull(&member("g", 7), 5).await.len(), 5);
    bench.store.release_replica(&member("g", 7)).await.unwrap();
    bench.store.release_replica(&member("g", 7)).await.unwrap();
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 0..5));
}

#[tokio::test]
async fn replicas_that_outlive_the_supervisor_keep_what_they_say_they_do() {
    let mut bench = Bench::new();
    bench.limits.adopt_grace = Duration::from_secs(30);
    bench.group("g", wide("t")).await;
    bench.numbers("t", 0..3).await;
    let held = bench.pull(&member("g", 0), 3).await;
    let bench = bench.restart();
    let other = bench.pull(&member("g", 1), 3).await;
    assert_eq!(other, vec![], "they are still in hand");
    let running = vec![held[0].lease, claw_store::bus::LeaseId(1)];
    let resumed = bench
        .store
        .resume(&member("g", 0), running.clone())
        .await
        .unwrap();
    assert_eq!(ids(&resumed.kept), ["t-0"]);
    assert_eq!(resumed.kept[0].attempt, 1);
    assert_eq!(resumed.abandoned, running[1..]);
    bench.ack(&member("g", 0), &resumed.kept[0]).await;
    let refused = bench
        .store
        .settle(&member("g", 0), held[1].lease, Settle::Ack)
        .await;
    assert_eq!(code(refused), "stale_lease");
    let rest = bench.pull(&member("g", 1), 3).await;
    assert_eq!(ids(&rest), ["t-1", "t-2"]);
    assert_eq!(rest[0].attempt, 2);
}

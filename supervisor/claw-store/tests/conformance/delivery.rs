//! Statements 12 to 21: who gets what, and how often.

use std::time::{Duration, Instant};

use claw_store::bus::{GroupConfig, Start, Subscription, TopicFilter};
use claw_store::store::EventLimits;

use crate::support::*;

#[tokio::test]
async fn statement_12_every_group_gets_every_matching_event_and_no_other() {
    let bench = Bench::new();
    let each = scaled(10_000, 600);
    for n in 0..10 {
        bench
            .group(&format!("g{n}"), wide(&format!("t{n}.>")))
            .await;
    }
    bench.group("all", wide("*.x")).await;
    for n in 0..10 {
        bench.numbers(&format!("t{n}.x"), 0..each).await;
    }
    for n in 0..10 {
        let seen = bench.drain(&member(&format!("g{n}"), 0)).await;
        assert_eq!(seen, names(&format!("t{n}.x"), 0..each));
    }
    let all = bench.drain(&member("all", 0)).await;
    assert_eq!(all.len() as u64, 10 * each);
}

#[tokio::test]
async fn statement_13_without_a_fault_each_event_starts_exactly_once() {
    let bench = Bench::new();
    let count = scaled(100_000, 12_000);
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..count).await;
    let mut seen = Vec::new();
    loop {
        let before = seen.len();
        for replica in 0..4 {
            let member = member("g", replica);
            for delivery in bench.pull(&member, 10).await {
                assert_eq!(delivery.attempt, 1);
                bench.ack(&member, &delivery).await;
                seen.push(delivery.event.id.clone());
            }
        }
        if seen.len() == before {
            break;
        }
    }
    let tally = tally(seen);
    assert_eq!(tally.len() as u64, count);
    assert!(tally.values().all(|starts| *starts == 1));
}

#[tokio::test]
async fn statement_14_a_busy_replica_holds_up_nobody() {
    let bench = Bench::new();
    bench
        .store
        .spared("a start takes longer than the statement allows for a delivery");
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..2).await;
    let busy = bench.one(&member("g", 0)).await;
    let store = bench.store.clone();
    let began = Instant::now();
    let other = store.next(&member("g", 1), 1, PATIENCE).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(ids(&other.deliveries), ["t-1"]);
    assert_eq!(busy.event.id, "t-0");
}

#[tokio::test]
async fn statement_15_a_replica_never_holds_more_than_its_concurrency() {
    let bench = Bench::new();
    for concurrency in [1, 3] {
        let name = format!("g{concurrency}");
        let config = GroupConfig {
            concurrency,
            ..config("t")
        };
        bench.group(&name, config).await;
    }
    bench.numbers("t", 0..20).await;
    for concurrency in [1_usize, 3] {
        let member = member(&format!("g{concurrency}"), 0);
        let held = bench.pull(&member, 20).await;
        assert_eq!(held.len(), concurrency);
        bench.nothing(&member).await;
        bench.ack(&member, &held[0]).await;
        assert_eq!(bench.pull(&member, 20).await.len(), 1);
    }
}

#[tokio::test]
async fn statement_16_what_was_acknowledged_never_comes_again() {
    let mut bench = Bench::new();
    bench.group("g", patient(wide("t"))).await;
    bench.numbers("t", 0..100).await;
    let mut acknowledged = Vec::new();
    for _ in 0..5 {
        let deliveries = bench.pull(&member("g", 0), 40).await;
        // Every other one, so that what is settled has holes.
        for delivery in deliveries.iter().step_by(2) {
            bench.ack(&member("g", 0), delivery).await;
            acknowledged.push(delivery.event.id.clone());
        }
        bench = bench.restart();
    }
    let rest = bench.drain(&member("g", 0)).await;
    let tally = tally(acknowledged.into_iter().chain(rest));
    assert_eq!(tally.len(), 100);
    assert!(tally.values().all(|times| *times == 1), "{tally:?}");
}

#[tokio::test]
async fn statement_18_start_positions_are_exact() {
    let bench = Bench::new();
    for n in 0..10 {
        bench.numbers("t", n..n + 1).await;
        bench.advance(Duration::from_secs(1)).await;
    }
    let second = |n| BEGAN.after(Duration::from_secs(n));
    for (name, start, first) in [
        ("now", Start::Now, 10),
        ("beginning", Start::Beginning, 0),
        ("at", Start::At(4), 3),
        ("time", Start::Time(second(6)), 6),
        (
            "between",
            Start::Time(claw_store::store::UnixMs(second(6).0 + 1)),
            7,
        ),
        ("later", Start::Time(second(60)), 10),
    ] {
        bench
            .store
            .upsert_group(name, wide("t"), start)
            .await
            .unwrap();
        assert_eq!(
            bench.drain(&member(name, 0)).await,
            names("t", first..10),
            "{name}"
        );
    }
}

#[tokio::test]
async fn statement_19_a_group_without_replicas_collects_and_loses_nothing() {
    let bench = Bench::new();
    let count = scaled(100_000, 25_000);
    bench.group("g", wide("t")).await;
    bench.numbers("t", 0..count / 2).await;
    let bench = bench.restart();
    bench.numbers("t", count / 2..count).await;
    let figures = bench.store.figures("g").await.unwrap();
    assert_eq!((figures.pending, figures.oldest), (count, Some(BEGAN)));
    let bench = bench.restart();
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 0..count));
}

#[tokio::test]
async fn statement_20_an_orphaned_group_is_kept_for_a_while_and_then_dropped() {
    let keep = Duration::from_secs(60);
    let bench = Bench::with(EventLimits {
        orphan_retention: keep,
        ..limits()
    });
    bench.group("back", wide("t")).await;
    bench.group("gone", wide("t")).await;
    for group in ["back", "gone"] {
        bench.store.orphan_group(group).await.unwrap();
    }
    bench.numbers("t", 0..3).await;
    let bench = bench.restart();
    bench.advance(keep / 2).await;
    bench.group("back", wide("t")).await;
    bench.advance(keep / 2).await;
    bench.advance(Duration::from_secs(2)).await;
    assert_eq!(bench.store.groups().await.unwrap(), ["back"]);
    assert_eq!(bench.drain(&member("back", 0)).await, names("t", 0..3));
    let bench = bench.restart();
    assert_eq!(bench.store.groups().await.unwrap(), ["back"]);
}

#[tokio::test]
async fn statement_21_overlapping_filters_of_a_group_deliver_once() {
    let bench = Bench::new();
    let filters = ["a.*", "a.>", "a.b", "*.b"];
    let subscriptions = filters.map(|text| Subscription::to(TopicFilter::try_new(text).unwrap()));
    let config = GroupConfig {
        subscriptions: subscriptions.to_vec(),
        ..wide("a.b")
    };
    bench.group("g", config).await;
    bench.numbers("a.b", 0..5).await;
    assert_eq!(bench.drain(&member("g", 0)).await, names("a.b", 0..5));
}

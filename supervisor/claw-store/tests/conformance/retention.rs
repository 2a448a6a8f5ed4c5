//! Statement 55: what retention may remove.

use std::time::Duration;

use claw_store::bus::{Force, Gap, NewEvent};
use claw_store::store::EventLimits;

use crate::support::*;

#[tokio::test]
async fn statement_55_retention_waits_for_live_groups_and_force_leaves_a_gap() {
    let age = Duration::from_secs(60);
    let bench = Bench::with(EventLimits {
        retention_age: age,
        ..limits()
    });
    bench.group("fast", wide("t")).await;
    bench.group("slow", wide("t")).await;
    bench.numbers("t", 0..10).await;
    assert_eq!(bench.drain(&member("fast", 0)).await.len(), 10);
    let slow = bench.pull(&member("slow", 0), 4).await;
    for delivery in &slow[..3] {
        bench.ack(&member("slow", 0), delivery).await;
    }
    bench.advance(age * 2).await;
    bench.store.enforce_retention(Force::No).await.unwrap();
    let kept = bench.store.read_events(1, None, 100).await.unwrap();
    assert_eq!(
        kept.first().map(|event| event.seq),
        Some(4),
        "what is settled goes, the rest stays"
    );

    bench.numbers("t", 10..12).await;
    let removed = bench.store.enforce_retention(Force::Yes).await.unwrap();
    assert_eq!((removed.events, removed.unsettled), (7, 7));
    let bench = bench.restart();
    let pulled = bench.store.pull(&member("slow", 0), 100).await.unwrap();
    assert_eq!(ids(&pulled.deliveries), names("t", 10..12));
    let gap = Gap {
        from: 4,
        to: 10,
        lost: 7,
    };
    assert_eq!(pulled.gap, Some(gap));
    assert_eq!(
        bench.store.pull(&member("slow", 0), 1).await.unwrap().gap,
        None
    );
    assert_eq!(bench.store.figures("slow").await.unwrap().lost, 7);
    assert_eq!(bench.drain(&member("fast", 0)).await, names("t", 10..12));
}

#[tokio::test]
async fn retention_by_bytes_keeps_the_newest() {
    let bench = Bench::with(EventLimits {
        retention_bytes: 100_000,
        ..limits()
    });
    for n in 0..50 {
        let big = NewEvent {
            data: vec![b'1'; 10_000],
            ..event("t", n)
        };
        bench.publish(vec![big]).await;
    }
    let bench = bench.restart();
    bench.store.enforce_retention(Force::No).await.unwrap();
    let kept = bench.store.read_events(1, None, 100).await.unwrap();
    assert!((8..=10).contains(&kept.len()), "{} are kept", kept.len());
    assert_eq!(kept.last().unwrap().id, "t-49");
    // Numbers go on although the file may hold no event.
    bench.advance(Duration::from_secs(30 * 24 * 3_600)).await;
    bench.store.enforce_retention(Force::No).await.unwrap();
    let bench = bench.restart();
    assert_eq!(bench.publish(vec![event("t", 99)]).await[0].seq, Some(51));
}

#[tokio::test]
async fn retention_keeps_up_with_events_that_come_faster_than_its_steps() {
    let bench = Bench::with(EventLimits {
        retention_bytes: 10_000,
        ..limits()
    });
    bench.numbers("t", 0..10_000).await;
    bench.advance(Duration::from_secs(1)).await;
    for _ in 0..20 {
        bench.store.tick().await.unwrap();
    }
    let first = bench.store.read_events(1, None, 1).await.unwrap()[0].seq;
    assert!(first > 9_500, "events from {first} on are left");
}

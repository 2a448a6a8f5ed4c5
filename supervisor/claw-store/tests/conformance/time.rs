//! Statements 54, 56, 57, 59 and 60: what depends on time, and what goes back in it.

use std::time::Duration;

use claw_store::bus::{NewEvent, Settle, Start, Stored};

use crate::support::*;

#[tokio::test]
async fn statement_54_an_expired_event_is_counted_and_not_delivered() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    let expiring = NewEvent {
        expires: Some(BEGAN.after(Duration::from_secs(5))),
        ..event("t", 0)
    };
    bench.publish(vec![expiring, event("t", 1)]).await;
    bench.advance(Duration::from_secs(5)).await;
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 1..2));
    let bench = bench.restart();
    let figures = bench.store.figures("g").await.unwrap();
    assert_eq!((figures.expired, figures.pending), (1, 0));
}

#[tokio::test]
async fn statement_56_a_delayed_event_is_never_early_and_survives_a_restart() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    let delay = Duration::from_secs(60);
    let delayed = |n| NewEvent {
        delay: Some(delay),
        ..event("t", n)
    };
    let receipt = bench.publish(vec![delayed(0)]).await[0];
    assert_eq!((receipt.seq, receipt.stored), (None, Stored::New));
    assert_eq!(
        bench.publish(vec![delayed(0)]).await[0].stored,
        Stored::Duplicate
    );
    bench.advance(delay / 2).await;
    let bench = bench.restart();
    bench.advance(delay / 2 - Duration::from_millis(1)).await;
    bench.nothing(&member("g", 0)).await;
    bench.advance(Duration::from_millis(1)).await;
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 0..1));
    bench.advance(delay).await;
    bench.nothing(&member("g", 0)).await;
}

#[tokio::test]
async fn statement_57_a_tick_of_two_schedulers_is_stored_once() {
    let bench = Bench::new();
    let other = bench.store.clone();
    let tick = |n| NewEvent {
        id: format!("schedule/monitor/2027-01-15T08:{n:02}:00Z"),
        ..event("tick", n)
    };
    let mut new = 0;
    for n in 0..60 {
        let (one, two) = tokio::join!(
            bench
                .store
                .publish(vec![tick(n)], Default::default(), Default::default()),
            other.publish(vec![tick(n)], Default::default(), Default::default()),
        );
        let receipts = [one.unwrap()[0], two.unwrap()[0]];
        new += receipts
            .iter()
            .filter(|one| one.stored == Stored::New)
            .count();
        assert_eq!(receipts[0].seq, receipts[1].seq);
    }
    assert_eq!(new, 60);
}

#[tokio::test]
async fn statement_59_a_seek_delivers_again_in_order_from_attempt_one() {
    let bench = Bench::new();
    for group in ["g", "other"] {
        bench.group(group, wide("t")).await;
    }
    for n in 0..10 {
        bench.numbers("t", n..n + 1).await;
        bench.advance(Duration::from_secs(1)).await;
    }
    let other = bench.drain(&member("other", 0)).await;
    assert_eq!(other.len(), 10);
    let held = bench.pull(&member("g", 0), 10).await;
    for delivery in &held[..5] {
        bench.nak(&member("g", 0), delivery).await;
    }
    for (to, first) in [
        (Start::At(3), 2),
        (Start::Time(BEGAN.after(Duration::from_secs(7))), 7),
        (Start::Beginning, 0),
        (Start::Now, 10),
    ] {
        bench.store.seek("g", to).await.unwrap();
        let refused = bench
            .store
            .settle(&member("g", 0), held[9].lease, Settle::Ack)
            .await;
        assert_eq!(code(refused), "stale_lease");
        let again = bench.pull(&member("g", 0), 100).await;
        assert_eq!(ids(&again), names("t", first..10), "{to:?}");
        assert!(again.iter().all(|one| one.attempt == 1));
    }
    bench.store.seek("g", Start::At(9)).await.unwrap();
    let bench = bench.restart();
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 8..10));
    bench.nothing(&member("other", 0)).await;
}

#[tokio::test]
async fn statement_60_a_tail_touches_no_group_and_an_import_may_be_repeated() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    bench.numbers("t", 0..20).await;
    let before = bench.store.figures("g").await.unwrap();
    let exported = bench.store.read_events(5, None, 100).await.unwrap();
    assert_eq!(exported.len(), 16);
    assert_eq!(bench.store.figures("g").await.unwrap(), before);

    let other = Bench::new();
    other.group("g", wide("t")).await;
    other.advance(Duration::from_secs(1)).await;
    assert_eq!(other.store.import_events(exported.clone()).await, Ok(16));
    other.advance(WINDOW * 3).await;
    assert_eq!(other.store.import_events(exported.clone()).await, Ok(0));
    let found = other.pull(&member("g", 0), 100).await;
    assert_eq!(ids(&found), names("t", 4..20));
    assert_eq!(
        (found[0].event.at, &found[0].event.data),
        (BEGAN, &exported[0].data)
    );
    assert_eq!(bench.store.import_events(exported).await, Ok(0));
}

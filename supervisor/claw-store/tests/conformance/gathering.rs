//! Statement 61: events that wait for others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claw_store::bus::{
    Batch, BatchId, Delivery, Done, GroupConfig, Held, Ordering, Outcome, Settle, Settled,
};
use claw_store::store::{EventLimits, UnixMs};

use crate::support::*;

const QUIET: Duration = Duration::from_secs(5);
/// Shorter than a lease.
const WAIT: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

fn quiet(filter: &str) -> GroupConfig {
    GroupConfig {
        debounce: Some(QUIET),
        ..wide(filter)
    }
}

fn batched(filter: &str, size: u32) -> GroupConfig {
    GroupConfig {
        batch: Some(Batch { size, wait: WAIT }),
        ..config(filter)
    }
}

/// The batch of some deliveries, which have to be of one.
fn batch_of(deliveries: &[Delivery]) -> BatchId {
    let batches: BTreeSet<_> = deliveries.iter().map(|one| one.batch).collect();
    assert_eq!(batches.len(), 1, "{deliveries:?}");
    deliveries[0].batch.expect("a batch")
}

/// Ends a batch, and publishes what follows from it.
async fn end(bench: &Bench, batch: BatchId, settle: Settle, follows: u64) -> &'static str {
    let done = Done {
        member: member("g", 0),
        work: Some(batch.to_string()),
        attempt: 1,
        outcome: Outcome::Succeeded,
        settle: Some((Held::Batch(batch), settle)),
        look: None,
        commits: vec![],
        events: (0..follows).map(|n| event("done", n)).collect(),
    };
    match bench.store.transact(done).await {
        Ok(completed) => match completed.settled.expect("it is settled") {
            Settled::Done => "done",
            Settled::Again { .. } => "again",
            Settled::Dead => "dead",
        },
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn statement_61_debounce_delivers_the_last_event_once_per_quiet_period() {
    let bench = Bench::new();
    bench.group("g", quiet("t")).await;
    let who = member("g", 0);
    for n in 0..4 {
        bench.publish(vec![keyed("t", "a", n)]).await;
        bench.advance(QUIET - MOMENT).await;
        bench.nothing(&who).await;
    }
    bench.publish(vec![keyed("t", "b", 0), event("t", 9)]).await;
    bench.advance(MOMENT).await;
    assert_eq!(bench.drain(&who).await, ["t-a-3"]);
    let bench = bench.restart();
    bench.advance(QUIET - MOMENT - MOMENT).await;
    bench.nothing(&who).await;
    bench.advance(MOMENT).await;
    let rest = ["t-b-0", "t-9"];
    assert_eq!(bench.drain(&who).await, rest, "no key is a key too");
    bench.publish(vec![keyed("t", "a", 4)]).await;
    bench.advance(QUIET).await;
    assert_eq!(bench.drain(&who).await, ["t-a-4"], "the next period");
    let figures = bench.store.figures("g").await.unwrap();
    assert_eq!((figures.superseded, figures.pending), (3, 0));
    assert_eq!(figures.floor, 7);
}

/// An event is delivered if and only if no other one of its topic and key came within the quiet
/// time, once, and not before that is over: whenever the store stops and whoever is slow.
#[tokio::test]
async fn statement_61_debounce_equals_its_model_over_restarts() {
    let mut bench = Bench::new();
    let by_field = GroupConfig {
        key: Some("of".into()),
        ..quiet("t.>")
    };
    bench.group("g", by_field).await;
    let who = member("g", 0);
    let mut chance = Chance(61);
    let (mut now, mut published) = (BEGAN, Vec::<(String, String, UnixMs)>::new());
    let mut delivered = Vec::new();
    for step in 0..scaled(3_000, 400) {
        match chance.below(10) {
            0..=4 => {
                let (topic, key) = (chance.below(2), chance.below(3));
                let mut one = event(&format!("t.{topic}"), step);
                one.data = format!("{{\"of\":\"k{key}\"}}").into_bytes();
                published.push((one.id.clone(), format!("{topic} {key}"), now));
                bench.publish(vec![one]).await;
            }
            5..=7 => {
                let span = Duration::from_millis(chance.below(3_000));
                now = now.after(span);
                bench.advance(span).await;
            }
            8 => delivered.extend(drained_at(&bench, now).await),
            _ if chance.below(5) == 0 => bench = bench.restart(),
            _ => {}
        }
    }
    now = now.after(QUIET);
    bench.advance(QUIET).await;
    delivered.extend(drained_at(&bench, now).await);
    let mut next = BTreeMap::<&str, UnixMs>::new();
    let mut expected = BTreeMap::new();
    for (id, burst, at) in published.iter().rev() {
        let followed = next.insert(burst, *at);
        if followed.is_none_or(|next| next >= at.after(QUIET)) {
            expected.insert(id.clone(), 1);
        }
        let given = delivered.iter().find(|(given, _)| given == id);
        let early = given.filter(|(_, when)| *when < at.after(QUIET));
        assert_eq!(early, None, "published at {at}");
    }
    let superseded = (published.len() - expected.len()) as u64;
    assert!(superseded > 10 && expected.len() > 10, "{superseded}");
    assert_eq!(tally(delivered.into_iter().map(|(id, _)| id)), expected);
    let figures = bench.store.figures("g").await.unwrap();
    assert_eq!((figures.superseded, figures.pending), (superseded, 0));
    bench.nothing(&who).await;
}

async fn drained_at(bench: &Bench, now: UnixMs) -> Vec<(String, UnixMs)> {
    let drained = bench.drain(&member("g", 0)).await;
    drained.into_iter().map(|id| (id, now)).collect()
}

#[tokio::test]
async fn statement_61_debounce_holds_for_a_group_that_is_far_behind_and_for_one_that_orders() {
    let bench = Bench::new();
    let ordered = GroupConfig {
        ordering: Ordering::Key,
        ..quiet("t")
    };
    bench.group("g", ordered).await;
    let who = member("g", 0);
    bench.publish(vec![keyed("t", "a", 0)]).await;
    bench.advance(QUIET).await;
    let held = bench.one(&who).await;
    bench.publish(vec![keyed("t", "a", 1)]).await;
    bench.ack(&who, &held).await;
    bench.nothing(&who).await;
    bench.advance(QUIET).await;
    assert_eq!(bench.drain(&who).await, ["t-a-1"]);

    // More keys than a group looks at in one go, and two bursts behind them.
    let many = (0..12_000).map(|n| keyed("t", &format!("k{n}"), n));
    for some in many.collect::<Vec<_>>().chunks(500) {
        bench.publish(some.to_vec()).await;
    }
    bench
        .publish(vec![keyed("t", "k5", 1), keyed("t", "k11999", 1)])
        .await;
    bench
        .publish(vec![keyed("t", "z", 1), keyed("t", "z", 2)])
        .await;
    bench.advance(QUIET).await;
    let mut seen = BTreeMap::new();
    loop {
        let some = bench.pull(&who, 1_000).await;
        let acks = some.iter().map(|one| (one.lease, Settle::Ack)).collect();
        bench.store.settle_all(&who, acks).await.unwrap();
        if some.is_empty() {
            break;
        }
        for id in ids(&some) {
            *seen.entry(id).or_insert(0_u64) += 1;
        }
    }
    assert_eq!(seen.len(), 12_001);
    for (gone, instead) in [
        ("t-k5-5", "t-k5-1"),
        ("t-k11999-11999", "t-k11999-1"),
        ("t-z-1", "t-z-2"),
    ] {
        assert_eq!(
            (seen.get(gone).copied(), seen.get(instead).copied()),
            (None, Some(1))
        );
    }
}

#[tokio::test]
async fn statement_61_a_retry_is_not_put_off_nor_replaced() {
    let bench = Bench::new();
    bench.group("g", quiet("t")).await;
    let who = member("g", 0);
    bench.publish(vec![keyed("t", "a", 0)]).await;
    bench.advance(QUIET).await;
    let first = bench.one(&who).await;
    bench.nak(&who, &first).await;
    bench.publish(vec![keyed("t", "a", 1)]).await;
    bench.advance(Duration::from_secs(1)).await;
    let again = bench.one(&who).await;
    assert_eq!((again.event.id.as_str(), again.attempt), ("t-a-0", 2));
    bench.ack(&who, &again).await;
    bench.advance(QUIET).await;
    assert_eq!(bench.drain(&who).await, ["t-a-1"]);
}

#[tokio::test]
async fn statement_61_a_change_of_the_configuration_concerns_what_waits() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    let who = member("g", 0);
    for n in 0..4 {
        bench
            .publish(vec![keyed("t", "a", n), keyed("t", "b", n)])
            .await;
        bench.advance(Duration::from_millis(500)).await;
    }
    bench.group("g", quiet("t")).await;
    bench.publish(vec![keyed("t", "a", 4)]).await;
    bench.nothing(&who).await;
    bench.group("g", batched("t", 2)).await;
    let batch = bench.pull(&who, 1).await;
    assert_eq!(
        ids(&batch),
        ["t-b-3", "t-a-4"],
        "no quiet is waited for any more"
    );
    let figures = bench.store.figures("g").await.unwrap();
    assert_eq!((figures.superseded, figures.pending), (7, 0));
}

#[tokio::test]
async fn statement_61_a_batch_respects_size_and_wait() {
    let bench = Bench::new();
    bench.group("g", batched("t", 3)).await;
    let who = member("g", 0);
    bench.numbers("t", 0..2).await;
    bench.advance(WAIT - MOMENT).await;
    bench.nothing(&who).await;
    bench.numbers("t", 2..7).await;
    let first = bench.pull(&who, 10).await;
    assert_eq!(ids(&first), names("t", 0..3), "no more than its size");
    // A batch is one piece of work, and the replica does one at a time.
    bench.nothing(&who).await;
    let second = bench.pull(&member("g", 1), 1).await;
    assert_eq!(ids(&second), names("t", 3..6));
    assert_ne!(batch_of(&first), batch_of(&second));
    for delivery in &second {
        bench.ack(&member("g", 1), delivery).await;
    }
    assert_eq!(end(&bench, batch_of(&first), Settle::Ack, 0).await, "done");
    // One is left that came a moment before the others were due.
    bench.advance(WAIT - MOMENT).await;
    bench.nothing(&who).await;
    bench.advance(MOMENT).await;
    let third = bench.pull(&who, 1).await;
    assert_eq!(
        ids(&third),
        names("t", 6..7),
        "the oldest has waited enough"
    );
    bench.numbers("t", 7..8).await;
    assert_eq!(end(&bench, batch_of(&third), Settle::Ack, 0).await, "done");
    let store = bench.store.clone();
    let next = tokio::spawn(async move { store.next(&member("g", 0), 1, PATIENCE).await });
    bench.advance(WAIT).await;
    let told = next.await.unwrap().unwrap();
    assert_eq!(ids(&told.deliveries), names("t", 7..8), "when it is due");
}

#[tokio::test]
async fn statement_61_a_batch_is_settled_as_one_over_a_restart() {
    let bench = Bench::with(EventLimits {
        adopt_grace: LEASE,
        ..limits()
    });
    bench.group("g", batched("t", 3)).await;
    bench.group("h", wide("done")).await;
    let who = member("g", 0);
    bench.numbers("t", 0..3).await;
    let held = bench.pull(&who, 1).await;
    let batch = batch_of(&held);
    let bench = bench.restart();
    let leases = held.iter().map(|one| one.lease).collect();
    let resumed = bench.store.resume(&who, leases).await.unwrap();
    assert_eq!(batch_of(&resumed.kept), batch);
    bench.numbers("t", 3..6).await;
    bench.nothing(&who).await;
    let nak = || Settle::Nak {
        delay: None,
        error: "no".into(),
    };
    assert_eq!(end(&bench, batch, nak(), 0).await, "again");
    assert_eq!(
        end(&bench, batch, Settle::Ack, 0).await,
        "again",
        "a repeat"
    );
    let other = bench.pull(&who, 1).await;
    assert_eq!(ids(&other), names("t", 3..6));
    assert_eq!(end(&bench, batch_of(&other), Settle::Ack, 2).await, "done");
    assert_eq!(bench.drain(&member("h", 0)).await, names("done", 0..2));
    // What failed together comes again together, and is given up together.
    for attempt in [2, 3] {
        bench.advance(BASE * 4).await;
        let again = bench.pull(&who, 1).await;
        assert_eq!(ids(&again), names("t", 0..3));
        assert!(again.iter().all(|one| one.attempt == attempt));
        let ends = end(&bench, batch_of(&again), nak(), 0).await;
        assert_eq!(ends, if attempt == 3 { "dead" } else { "again" });
    }
    assert_eq!(bench.store.figures("g").await.unwrap().dead, 3);
    let stale = end(&bench, BatchId(u64::MAX - 1), Settle::Ack, 1).await;
    assert_eq!(stale, "stale_lease");
    bench.nothing(&member("h", 0)).await;
}

#[tokio::test]
async fn statement_61_what_is_settled_singly_leaves_its_batch() {
    let bench = Bench::new();
    bench.group("g", batched("t", 2)).await;
    let who = member("g", 0);
    bench.numbers("t", 0..4).await;
    let held = bench.pull(&who, 1).await;
    let batch = batch_of(&held);
    bench.ack(&who, &held[0]).await;
    bench.nothing(&who).await;
    let failed = bench.nak(&who, &held[1]).await;
    assert!(matches!(failed, Settled::Again { .. }), "{failed:?}");
    assert_eq!(end(&bench, batch, Settle::Ack, 0).await, "stale_lease");
    assert_eq!(ids(&bench.pull(&who, 1).await), names("t", 2..4));
}

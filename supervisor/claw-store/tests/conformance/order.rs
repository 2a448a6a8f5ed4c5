//! Statements 34 and 35: order by key.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_store::bus::{Delivery, GroupConfig, Ordering, RetryPolicy, Settle};

use crate::support::*;

fn ordered() -> GroupConfig {
    GroupConfig {
        ordering: Ordering::Key,
        concurrency: 4,
        ..config("t")
    }
}

#[tokio::test]
async fn statement_34_events_of_a_key_start_in_order_and_one_at_a_time() {
    let (keys, each) = (50, scaled(2_000, 40));
    let bench = Bench::new();
    let config = GroupConfig {
        retry: RetryPolicy {
            max_attempts: 1_000,
            ..ordered().retry
        },
        ..ordered()
    };
    bench.group("g", config).await;
    for n in 0..each {
        let events = (0..keys)
            .map(|key| keyed("t", &format!("k{key}"), n))
            .collect();
        bench.publish(events).await;
    }
    let mut chance = Chance(34);
    let mut next = BTreeMap::<String, u64>::new();
    let mut busy = BTreeMap::<String, u32>::new();
    let mut hands: Vec<Vec<Delivery>> = vec![Vec::new(); 4];
    let mut done = 0;
    while done < keys * each {
        let replica = u32::try_from(chance.below(4)).unwrap();
        let who = member("g", replica);
        let hand = &mut hands[usize::try_from(replica).unwrap()];
        for delivery in bench.pull(&who, 4).await {
            let key = delivery.event.key.clone().unwrap();
            let n = next.get(&key).copied().unwrap_or(0);
            assert_eq!(delivery.event.id, format!("t-{key}-{n}"));
            assert_eq!(
                busy.insert(key.clone(), replica),
                None,
                "{key} is handled already"
            );
            hand.push(delivery);
        }
        match chance.below(20) {
            0 => {
                bench.store.release_replica(&who).await.unwrap();
                for delivery in hand.drain(..) {
                    busy.remove(delivery.event.key.as_ref().unwrap());
                }
            }
            1 => bench.advance(Duration::from_secs(1)).await,
            _ => {}
        }
        let picked = chance.below(4);
        if let Some(delivery) = hand.pop_if(|_| picked > 0) {
            let key = delivery.event.key.clone().unwrap();
            busy.remove(&key);
            match bench.store.settle(&who, delivery.lease, Settle::Ack).await {
                Ok(_) => {
                    *next.entry(key).or_default() += 1;
                    done += 1;
                }
                Err(error) => assert_eq!(error.code(), "stale_lease"),
            }
        }
        // Whoever lost a lease to time has lost it for all it holds.
        for (replica, hand) in (0..).zip(&mut hands) {
            let held = bench.store.held(&member("g", replica)).await.unwrap();
            let keeps = |one: &Delivery| held.iter().any(|held| held.lease == one.lease);
            let (kept, lost): (Vec<_>, Vec<_>) = hand.drain(..).partition(keeps);
            *hand = kept;
            for delivery in lost {
                busy.remove(delivery.event.key.as_ref().unwrap());
            }
        }
    }
}

#[tokio::test]
async fn statement_35_a_failing_event_blocks_its_key_and_no_other() {
    let bench = Bench::new();
    bench.group("g", ordered()).await;
    bench
        .publish(vec![keyed("t", "bad", 0), keyed("t", "bad", 1)])
        .await;
    let events = (0..100).map(|n| keyed("t", &format!("k{n}"), n)).collect();
    bench.publish(events).await;
    let mut others = 0;
    for attempt in 1..=3 {
        let mut failed = false;
        for delivery in bench.pull(&member("g", 0), 4).await {
            if delivery.event.key.as_deref() == Some("bad") {
                assert_eq!(
                    (delivery.event.id.as_str(), delivery.attempt),
                    ("t-bad-0", attempt)
                );
                bench.nak(&member("g", 0), &delivery).await;
                failed = true;
            } else {
                bench.ack(&member("g", 0), &delivery).await;
                others += 1;
            }
        }
        assert!(failed);
        let seen = bench.drain(&member("g", 0)).await;
        others += seen.iter().filter(|id| !id.starts_with("t-bad")).count();
        if attempt < 3 {
            assert!(
                !seen.iter().any(|id| id.starts_with("t-bad")),
                "the key is blocked"
            );
        } else {
            assert_eq!(
                seen,
                ["t-bad-1"],
                "its budget is spent, the next one starts"
            );
        }
        assert_eq!(others, 100, "all other keys are done while one waits");
        bench.advance(Duration::from_secs(20)).await;
    }
}

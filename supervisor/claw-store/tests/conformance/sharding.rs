//! Statements 36 to 40: which replica gets what.

use std::collections::BTreeMap;

use claw_store::bus::{
    GroupConfig, KeyRange, KeyRanges, NewEvent, Ordering, RangeError, Readiness, Sharding, slot_of,
};

use crate::support::*;

#[test]
fn statement_36_slots_are_the_published_ones() {
    // The first 64 bits of SHA-256, big end first, modulo 64.
    for (key, slot) in [
        ("", 20),
        ("a", 10),
        ("abc", 42),
        ("customer-42", 53),
        ("schlüssel", 11),
    ] {
        assert_eq!((key, slot_of(key)), (key, slot));
    }
}

fn range(from: Option<&str>, to: Option<&str>) -> KeyRange {
    KeyRange {
        from: from.map(Into::into),
        to: to.map(Into::into),
    }
}

#[test]
fn statement_37_ranges_are_deterministic_and_gaps_refused() {
    let good = vec![
        range(None, Some("g")),
        range(Some("g"), Some("t")),
        range(Some("t"), None),
    ];
    let ranges = KeyRanges::try_new(good).unwrap();
    let at = |key| ranges.position(key);
    assert_eq!(
        [
            at(""),
            at("f"),
            at("fz"),
            at("g"),
            at("s"),
            at("t"),
            at("ü")
        ],
        [0, 0, 0, 1, 1, 2, 2]
    );
    for (bad, why) in [
        (vec![], RangeError::Empty),
        (vec![range(Some("a"), None)], RangeError::OpenEnd),
        (vec![range(None, Some("a"))], RangeError::OpenEnd),
        (
            vec![range(None, Some("a")), range(Some("b"), None)],
            RangeError::Gap(1),
        ),
        (
            vec![range(None, Some("b")), range(Some("a"), None)],
            RangeError::Gap(1),
        ),
        (
            vec![
                range(None, Some("b")),
                range(Some("b"), Some("a")),
                range(Some("a"), None),
            ],
            RangeError::Reversed(1),
        ),
    ] {
        assert_eq!(KeyRanges::try_new(bad), Err(why));
    }
}

#[tokio::test]
async fn statement_38_round_robin_is_even() {
    let bench = Bench::new();
    bench
        .store
        .spared("the statement is about a run without a fault: each life begins the round anew");
    let config = GroupConfig {
        sharding: Sharding::RoundRobin(4),
        ..wide("t")
    };
    bench.group("g", config).await;
    for replica in 0..4 {
        bench.nothing(&member("g", replica)).await;
    }
    bench.numbers("t", 0..1_000).await;
    let mut counts = Vec::new();
    for replica in 0..4 {
        counts.push(bench.drain(&member("g", replica)).await.len());
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 1, "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), 1_000);
}

fn by_hash(replicas: u32) -> GroupConfig {
    GroupConfig {
        sharding: Sharding::Hash(replicas),
        ordering: Ordering::Key,
        concurrency: 3,
        ..patient(config("t"))
    }
}

#[tokio::test]
async fn statement_39_replicas_change_under_load_and_nothing_is_lost() {
    let bench = Bench::new();
    bench.group("g", by_hash(4)).await;
    let (keys, each) = (40, 30);
    for n in 0..each {
        let events = (0..keys)
            .map(|key| keyed("t", &format!("k{key}"), n))
            .collect();
        bench.publish(events).await;
    }
    let mut next = BTreeMap::<String, u64>::new();
    let mut done = 0;
    for (turn, replicas) in [4_u32, 6, 3].into_iter().cycle().enumerate() {
        bench.group("g", by_hash(replicas)).await;
        for gone in replicas..6 {
            bench
                .store
                .release_replica(&member("g", gone))
                .await
                .unwrap();
        }
        for replica in 0..replicas {
            let who = member("g", replica);
            bench.store.set_ready(&who, Readiness::Ready).await.unwrap();
        }
        let mut held = Vec::new();
        for replica in 0..replicas {
            let who = member("g", replica);
            held.extend(
                bench
                    .pull(&who, 3)
                    .await
                    .into_iter()
                    .map(|one| (who.clone(), one)),
            );
        }
        let held_keys = tally(held.iter().map(|(_, one)| one.event.key.clone().unwrap()));
        assert!(
            held_keys.values().all(|times| *times == 1),
            "two hold one key"
        );
        if held.is_empty() {
            break;
        }
        for (n, (who, delivery)) in held.into_iter().enumerate() {
            let key = delivery.event.key.clone().unwrap();
            let expected = next.entry(key.clone()).or_default();
            assert_eq!(delivery.event.id, format!("t-{key}-{expected}"));
            // Some are still in hand while the number of replicas changes.
            if (n + turn) % 7 == 0 {
                bench.store.release_replica(&who).await.unwrap();
            } else if bench
                .store
                .settle(&who, delivery.lease, claw_store::bus::Settle::Ack)
                .await
                .is_ok()
            {
                *expected += 1;
                done += 1;
            }
        }
    }
    assert_eq!(done, keys * each);
}

#[tokio::test]
async fn statement_40_the_same_membership_gives_the_same_replica() {
    let mut bench = Bench::new();
    bench.group("g", by_hash(4)).await;
    let mut homes = BTreeMap::<String, u32>::new();
    for round in 0..3 {
        for replica in 0..4 {
            bench
                .store
                .set_ready(&member("g", replica), Readiness::Ready)
                .await
                .unwrap();
        }
        let events = (0..100)
            .map(|key| keyed("t", &format!("k{key}"), round))
            .collect();
        bench.publish(events).await;
        for replica in 0..4 {
            for id in bench.drain(&member("g", replica)).await {
                let key = id.split('-').nth(1).unwrap().to_owned();
                assert_eq!(u32::from(slot_of(&key)) % 4, replica);
                assert_eq!(*homes.entry(key).or_insert(replica), replica);
            }
        }
        bench = bench.restart();
    }
    assert_eq!(homes.len(), 100);
}

/// What waits keeps its key over a change of the group and a restart.
#[tokio::test]
async fn the_key_may_be_a_field_of_the_data() {
    let bench = Bench::new();
    let by_field = |replicas| GroupConfig {
        key: Some("id".to_owned()),
        ..by_hash(replicas)
    };
    bench.group("g", by_field(4)).await;
    let event = |n: u64| NewEvent {
        data: format!("{{\"other\": [], \"id\": {n}}}").into_bytes(),
        ..keyed("t", "one", n)
    };
    bench.publish((0..100).map(event).collect()).await;
    bench.group("g", by_field(3)).await;
    let bench = bench.restart();
    for replica in 0..3 {
        let who = member("g", replica);
        bench.store.set_ready(&who, Readiness::Ready).await.unwrap();
    }
    let mut seen = 0;
    for replica in 0..3 {
        for id in bench.drain(&member("g", replica)).await {
            let n = id.rsplit('-').next().unwrap();
            assert_eq!(u32::from(slot_of(n)) % 3, replica, "{id}");
            seen += 1;
        }
    }
    assert_eq!(seen, 100);
}

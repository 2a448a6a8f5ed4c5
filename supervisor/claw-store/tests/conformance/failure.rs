//! Statements 22 to 33: what happens when a handler, a process or a lease fails.

use std::time::{Duration, Instant};

use claw_store::bus::{DeadReason, GroupConfig, RetryPolicy, Settle, Settled, Which};
use claw_store::store::EventLimits;

use crate::support::*;

#[tokio::test]
async fn statement_22_the_death_of_a_process_frees_its_events_at_once() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    bench.one(&member("g", 0)).await;
    let store = bench.store.clone();
    let other = tokio::spawn(async move { store.next(&member("g", 1), 1, PATIENCE).await });
    let began = Instant::now();
    bench.store.release_replica(&member("g", 0)).await.unwrap();
    let pulled = other.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(pulled.deliveries[0].attempt, 2);
}

#[tokio::test]
async fn statement_23_a_frozen_replica_loses_its_events_when_the_lease_ends() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    bench.one(&member("g", 0)).await;
    bench
        .store
        .spared("who is frozen does not resume its lease, which would begin it anew");
    bench.advance(LEASE - Duration::from_millis(1)).await;
    bench.nothing(&member("g", 1)).await;
    bench.advance(Duration::from_millis(1)).await;
    assert_eq!(bench.one(&member("g", 1)).await.attempt, 2);
}

#[tokio::test]
async fn statement_24_a_long_handler_of_a_healthy_process_is_left_alone() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    let delivery = bench.one(&member("g", 0)).await;
    for _ in 0..10 {
        bench.advance(LEASE / 2).await;
        bench.store.renew(&member("g", 0)).await.unwrap();
        bench.nothing(&member("g", 1)).await;
    }
    bench.ack(&member("g", 0), &delivery).await;
}

#[tokio::test]
async fn statement_26_an_acknowledgement_after_the_lease_changes_nothing() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    let late = bench.one(&member("g", 0)).await;
    bench.advance(LEASE).await;
    let held = bench.one(&member("g", 1)).await;
    for settle in [
        Settle::Ack,
        Settle::Terminate { error: "x".into() },
        Settle::Return,
    ] {
        let refused = bench
            .store
            .settle(&member("g", 0), late.lease, settle)
            .await;
        assert_eq!(code(refused), "stale_lease");
    }
    // Nor may another replica settle what it does not hold.
    let refused = bench
        .store
        .settle(&member("g", 0), held.lease, Settle::Ack)
        .await;
    assert_eq!(code(refused), "stale_lease");
    bench.ack(&member("g", 1), &held).await;
    let refused = bench
        .store
        .settle(&member("g", 1), held.lease, Settle::Ack)
        .await;
    assert_eq!(code(refused), "stale_lease");
}

#[tokio::test]
async fn statement_27_attempt_counts_every_delivery_and_crash() {
    let mut bench = Bench::new();
    let config = GroupConfig {
        retry: RetryPolicy {
            max_attempts: 10,
            ..config("t").retry
        },
        ..config("t")
    };
    bench.group("g", config).await;
    bench.numbers("t", 0..1).await;
    let mut attempts = Vec::new();
    for n in 0..8 {
        let delivery = bench.one(&member("g", 0)).await;
        attempts.push(delivery.attempt);
        match n % 4 {
            0 => bench = bench.restart(),
            1 => bench.store.release_replica(&member("g", 0)).await.unwrap(),
            2 => bench.advance(LEASE).await,
            _ => {
                bench.nak(&member("g", 0), &delivery).await;
                bench.advance(Duration::from_secs(20)).await;
            }
        }
    }
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn statement_28_a_delay_of_a_nak_is_kept_also_over_a_restart() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    let delivery = bench.one(&member("g", 0)).await;
    let delay = Duration::from_secs(5);
    let nak = Settle::Nak {
        delay: Some(delay),
        error: "later".into(),
    };
    let settled = bench
        .store
        .settle(&member("g", 0), delivery.lease, nak)
        .await;
    let due = BEGAN.after(delay);
    assert_eq!(settled, Ok(Settled::Again { due }));
    let bench = bench.restart();
    bench.advance(delay - Duration::from_millis(1)).await;
    bench.nothing(&member("g", 0)).await;
    bench.advance(Duration::from_millis(1)).await;
    assert_eq!(bench.one(&member("g", 0)).await.attempt, 2);
}

#[tokio::test]
async fn statement_29_back_off_follows_the_policy() {
    let bench = Bench::new();
    let config = GroupConfig {
        retry: RetryPolicy {
            max_attempts: 20,
            ..config("t").retry
        },
        ..config("t")
    };
    bench.group("g", config).await;
    bench.numbers("t", 0..1).await;
    let mut now = BEGAN;
    for attempt in 1..10_u32 {
        let delivery = bench.one(&member("g", 0)).await;
        let Settled::Again { due } = bench.nak(&member("g", 0), &delivery).await else {
            panic!("it was given up");
        };
        let plain = (BASE * 2_u32.pow(attempt - 1)).min(Duration::from_secs(10));
        let delay = due.since(now);
        assert!(
            delay >= plain * 8 / 10 && delay <= plain * 12 / 10,
            "{delay:?} after {attempt}"
        );
        bench.advance(delay).await;
        now = due;
    }
}

#[tokio::test]
async fn statement_30_after_the_last_attempt_there_is_one_dead_letter() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.group("other", config("t")).await;
    bench.numbers("t", 0..1).await;
    for attempt in 1..=3 {
        let delivery = bench.one(&member("g", 0)).await;
        assert_eq!(delivery.attempt, attempt);
        bench.nak(&member("g", 0), &delivery).await;
        bench.advance(Duration::from_secs(20)).await;
    }
    bench.nothing(&member("g", 0)).await;
    let bench = bench.restart();
    bench.nothing(&member("g", 0)).await;
    let dead = bench.store.dead_letters("g", 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    let letter = &dead[0];
    assert_eq!(
        (letter.attempts, letter.reason),
        (3, DeadReason::MaxAttempts)
    );
    assert_eq!(letter.error.as_deref(), Some("it failed"));
    assert_eq!((letter.event.id.as_str(), letter.event.at), ("t-0", BEGAN));
    assert!(letter.at > BEGAN);
    assert_eq!(bench.store.dead_letters("other", 10).await.unwrap(), vec![]);
    assert_eq!(bench.drain(&member("other", 0)).await, names("t", 0..1));
}

#[tokio::test]
async fn statement_31_an_event_that_kills_every_process_is_given_up() {
    let mut bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    for attempt in 1..=3 {
        assert_eq!(bench.one(&member("g", 0)).await.attempt, attempt);
        // The supervisor dies with the second one.
        if attempt == 2 {
            bench = bench.restart();
        } else {
            bench.store.release_replica(&member("g", 0)).await.unwrap();
        }
    }
    bench.nothing(&member("g", 0)).await;
    let dead = bench.store.dead_letters("g", 10).await.unwrap();
    assert_eq!((dead[0].attempts, dead[0].reason), (3, DeadReason::Crashed));
}

#[tokio::test]
async fn statement_32_terminate_gives_up_at_once() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.numbers("t", 0..1).await;
    let delivery = bench.one(&member("g", 0)).await;
    let error = "no use".to_owned();
    let terminate = Settle::Terminate { error };
    let settled = bench
        .store
        .settle(&member("g", 0), delivery.lease, terminate)
        .await;
    assert_eq!(settled, Ok(Settled::Dead));
    let dead = bench.store.dead_letters("g", 10).await.unwrap();
    assert_eq!(
        (dead[0].attempts, dead[0].reason),
        (1, DeadReason::Terminated)
    );
}

#[tokio::test]
async fn statement_33_dead_letters_are_listed_redriven_and_discarded() {
    let bench = Bench::with(EventLimits {
        retention_age: Duration::from_secs(1),
        ..limits()
    });
    bench.group("g", wide("t")).await;
    bench.numbers("t", 0..4).await;
    for delivery in bench.pull(&member("g", 0), 10).await {
        let error = delivery.event.id.clone();
        let terminate = Settle::Terminate { error };
        bench
            .store
            .settle(&member("g", 0), delivery.lease, terminate)
            .await
            .unwrap();
    }
    // The events themselves are gone by then.
    bench.advance(Duration::from_secs(5)).await;
    assert_eq!(bench.store.read_events(1, None, 10).await.unwrap(), vec![]);
    let dead = bench.store.dead_letters("g", 10).await.unwrap();
    let errors: Vec<_> = dead.iter().filter_map(|one| one.error.clone()).collect();
    assert_eq!(errors, ["t-3", "t-2", "t-1", "t-0"]);

    assert_eq!(
        bench.store.redrive("g", Which::One(dead[1].id)).await,
        Ok(1)
    );
    let again = bench.one(&member("g", 0)).await;
    assert_eq!((again.event.id.as_str(), again.attempt), ("t-2", 1));
    assert_eq!(again.event, dead[1].event);
    bench.ack(&member("g", 0), &again).await;
    assert_eq!(
        code(bench.store.redrive("g", Which::One(dead[1].id)).await),
        "not_found"
    );

    assert_eq!(
        bench.store.discard("g", Which::One(dead[0].id)).await,
        Ok(1)
    );
    assert_eq!(bench.store.redrive("g", Which::All).await, Ok(2));
    let bench = bench.restart();
    assert_eq!(bench.drain(&member("g", 0)).await, names("t", 0..2));
    assert_eq!(bench.store.dead_letters("g", 10).await.unwrap(), vec![]);
    assert_eq!(bench.store.discard("g", Which::All).await, Ok(0));
}

#[tokio::test]
async fn a_dead_letter_is_announced_once_with_its_chain() {
    let bench = Bench::new();
    bench.group("worker", config("t")).await;
    bench.group("watch", wide("openclaw.dlq.>")).await;
    bench.publish(vec![event("t", 1)]).await;
    let delivery = bench.one(&member("worker", 0)).await;
    let fatal = Settle::Terminate {
        error: "no attempt can help".into(),
    };
    let who = member("worker", 0);
    let settled = bench
        .store
        .settle(&who, delivery.lease, fatal.clone())
        .await;
    assert_eq!(settled, Ok(Settled::Dead));
    // Looking at the figures writes the letter within the same transaction.
    assert_eq!(bench.store.figures("worker").await.unwrap().dead, 1);
    let bench = bench.restart();
    let told = bench.pull(&member("watch", 0), 10).await;
    assert_eq!(told.len(), 1);
    let told = &told[0];
    assert_eq!(
        (told.event.topic.as_str(), told.event.source.as_str()),
        ("openclaw.dlq.worker", "openclaw")
    );
    assert_eq!(told.event.attributes.causation_id.as_deref(), Some("t-1"));
    let data: serde_json::Value = serde_json::from_slice(&told.event.data).unwrap();
    assert_eq!(
        data,
        serde_json::json!({
            "group": "worker", "sequence": 1, "id": "t-1", "source": "test", "type": "t",
            "attempts": 1, "reason": "terminated", "error": "no attempt can help",
            "died": BEGAN.0,
        })
    );
    // Who cannot handle announcements is not announced, or it would never end.
    let watch = member("watch", 0);
    let settled = bench.store.settle(&watch, told.lease, fatal).await;
    assert_eq!(settled, Ok(Settled::Dead));
    bench.advance(LEASE).await;
    bench.nothing(&watch).await;
    assert_eq!(
        bench.store.dead_letters("watch", 10).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn several_deliveries_are_settled_at_once_with_an_answer_for_each() {
    let bench = Bench::new();
    bench.group("g", wide("t")).await;
    bench.numbers("t", 0..3).await;
    let who = member("g", 0);
    let pulled = bench.pull(&who, 3).await;
    let stale = pulled[1].lease;
    bench.ack(&who, &pulled[1]).await;
    let all = pulled.iter().map(|one| (one.lease, Settle::Ack)).collect();
    let settled = bench.store.settle_all(&who, all).await.unwrap();
    let refused = Err(claw_store::StoreError::StaleLease(stale));
    assert_eq!(settled, [Ok(Settled::Done), refused, Ok(Settled::Done)]);
    bench.advance(LEASE).await;
    bench.nothing(&who).await;
}

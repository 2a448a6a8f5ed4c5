//! Statements 62 to 64, and the outbox: what follows from what.

use claw_store::bus::{
    Completed, DeadReason, Delivery, Done, Held, LastReport, Member, NewEvent, Outcome, Repeated,
    Settle, Settled,
};
use claw_store::state::{At, Commit, Look, What};

use crate::support::*;

fn done(member: &Member, delivery: &Delivery) -> Done {
    Done {
        member: member.clone(),
        work: Some(delivery.lease.to_string()),
        attempt: delivery.attempt,
        settle: Some((Held::One(delivery.lease), Settle::Ack)),
        look: None,
        commits: vec![],
        events: vec![],
        outcome: Outcome::Succeeded,
    }
}

#[tokio::test]
async fn statement_62_what_a_handler_emits_follows_from_what_it_handled() {
    let bench = Bench::new();
    for stage in 0..4 {
        bench
            .group(&format!("a{stage}"), config(&format!("t{stage}")))
            .await;
    }
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut first = event("t0", 0);
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    first
        .attributes
        .insert("traceparent".into(), parent.clone());
    bench.publish(vec![first]).await;
    let mut spans = vec![parent];
    for stage in 0..4_u32 {
        let who = member(&format!("a{stage}"), 0);
        let delivery = bench.one(&who).await;
        let attributes = &delivery.event.attributes;
        assert_eq!(attributes.hop, stage);
        if stage > 0 {
            assert_eq!(attributes.causation_id, Some(format!("t{}-0", stage - 1)));
            assert_eq!(attributes.correlation_id.as_deref(), Some("t0-0"));
            let span = attributes.further["traceparent"].clone();
            assert!(span.starts_with(&format!("00-{trace}-")) && span.ends_with("-01"));
            spans.push(span);
        }
        let events = vec![event(&format!("t{}", stage + 1), 0)];
        let done = Done {
            events,
            ..done(&who, &delivery)
        };
        bench.store.transact(done).await.unwrap();
    }
    spans.sort();
    spans.dedup();
    assert_eq!(spans.len(), 4, "each event has a span of its own");
}

#[tokio::test]
async fn statement_63_the_hop_limit_ends_a_loop_in_the_dead_letters() {
    let bench = Bench::new();
    bench.group("ping", config("ping")).await;
    bench.group("pong", config("pong")).await;
    bench.publish(vec![event("ping", 0)]).await;
    let mut hops = 0;
    'loops: loop {
        for (from, to) in [("ping", "pong"), ("pong", "ping")] {
            let who = member(from, 0);
            let Some(delivery) = bench.pull(&who, 1).await.pop() else {
                break 'loops;
            };
            hops += 1;
            assert!(hops < 100, "the loop does not end");
            let done = Done {
                events: vec![event(to, hops)],
                ..done(&who, &delivery)
            };
            bench.store.transact(done).await.unwrap();
        }
    }
    assert_eq!(hops, 33);
    let mut dead = bench.store.dead_letters("ping", 10).await.unwrap();
    dead.extend(bench.store.dead_letters("pong", 10).await.unwrap());
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].reason, dead[0].attempts),
        (DeadReason::HopLimit, 0)
    );
    assert_eq!(dead[0].event.attributes.hop, 33);
}

#[tokio::test]
async fn statement_64_nobody_settles_the_lease_of_another() {
    let bench = Bench::new();
    for group in ["g", "other"] {
        bench.group(group, config("t")).await;
    }
    bench.numbers("t", 0..1).await;
    let delivery = bench.one(&member("g", 0)).await;
    for thief in [member("g", 1), member("other", 0)] {
        let refused = bench
            .store
            .settle(&thief, delivery.lease, Settle::Ack)
            .await;
        assert_eq!(code(refused), "stale_lease");
        assert_eq!(
            code(bench.store.transact(done(&thief, &delivery)).await),
            "stale_lease"
        );
    }
    bench.ack(&member("g", 0), &delivery).await;
}

#[tokio::test]
async fn finished_work_is_done_once_and_answers_as_the_first_time() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.group("next", wide("u")).await;
    bench.numbers("t", 0..1).await;
    let delivery = bench.one(&member("g", 0)).await;
    let report = Done {
        commits: vec![set("k", "1")],
        events: vec![event("u", 0)],
        ..done(&member("g", 0), &delivery)
    };
    let first = bench.store.transact(report.clone()).await.unwrap();
    assert_eq!(
        (first.settled, first.versions.clone()),
        (Some(Settled::Done), vec![1])
    );
    let again = bench.store.transact(report.clone()).await.unwrap();
    let expected = Completed {
        repeated: Repeated::Again,
        ..first
    };
    assert_eq!(again, expected);
    let bench = bench.restart();
    assert_eq!(bench.store.transact(report).await.unwrap(), expected);
    assert_eq!(bench.text("k", At::Head).await.as_deref(), Some("1"));
    assert_eq!(bench.drain(&member("next", 0)).await, ["u-0"]);
    bench.nothing(&member("g", 0)).await;
}

#[tokio::test]
async fn how_the_last_reported_attempt_ended_is_known_over_a_restart() {
    let bench = Bench::new();
    let failed = Outcome::Failed {
        error: "no".to_owned(),
        retryable: false,
    };
    let report = |attempt: u32, outcome: &Outcome| Done {
        attempt,
        outcome: outcome.clone(),
        ..swap(Some("run".to_owned()), u64::from(attempt))
    };
    for (attempt, outcome) in [(1, &failed), (3, &Outcome::Succeeded)] {
        bench
            .store
            .transact(report(attempt, outcome))
            .await
            .unwrap();
    }
    let again = report(1, &Outcome::Succeeded);
    let again = bench.store.transact(again).await.unwrap();
    assert_eq!(again.repeated, Repeated::Again);
    let bench = bench.restart();
    let expected = [
        None,
        Some((1, failed.clone())),
        Some((1, failed)),
        Some((3, Outcome::Succeeded)),
        Some((3, Outcome::Succeeded)),
    ];
    for (attempt, expected) in (0..).zip(expected) {
        let last = bench.store.last_report("run", attempt).await.unwrap();
        let expected = expected.map(|(attempt, outcome)| LastReport { attempt, outcome });
        assert_eq!(last, expected, "up to attempt {attempt}");
    }
}

/// Many writers that each put their number and get what was there before: nothing that was put
/// is missing, and nothing comes twice.
#[tokio::test]
async fn what_a_transaction_reads_is_what_was_there_right_before_it() {
    let bench = Bench::new();
    bench.set("k", "0").await;
    let mut swaps = tokio::task::JoinSet::new();
    for number in 1..=160 {
        let store = bench.store.clone();
        swaps.spawn(async move { store.transact(swap(None, number)).await });
    }
    let mut seen = Vec::new();
    for completed in swaps.join_all().await {
        let found = completed.unwrap().seen.unwrap().keys.remove(0).unwrap();
        seen.push(String::from_utf8(found.value.unwrap().to_vec()).unwrap());
    }
    seen.push(bench.text("k", At::Head).await.unwrap());
    seen.sort_by_key(|text| text.parse::<u32>().unwrap());
    let all: Vec<String> = (0..=160).map(|number: u32| number.to_string()).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_repeat_is_told_what_the_first_has_read_and_published() {
    let bench = Bench::new();
    bench.set("k", "0").await;
    let named = Some("idem/a/1".to_owned());
    let first = bench.store.transact(swap(named.clone(), 1)).await.unwrap();
    let seen = first.seen.clone().unwrap();
    assert_eq!(
        (seen.version, first.events.as_slice()),
        (2, ["u-1".to_owned()].as_slice())
    );
    bench.set("k", "7").await;
    let bench = bench.restart();
    let again = bench.store.transact(swap(named, 2)).await.unwrap();
    assert_eq!(again.repeated, Repeated::Again);
    assert_eq!((again.seen.unwrap(), again.events), (seen, first.events));
    assert_eq!(bench.text("k", At::Head).await.as_deref(), Some("7"));
}

fn swap(work: Option<String>, number: u64) -> Done {
    Done {
        member: member("a", 0),
        work,
        attempt: 1,
        settle: None,
        look: Some(Look {
            namespace: space(),
            keys: vec![("k".to_owned(), What::Value)],
        }),
        commits: vec![set("k", &number.to_string())],
        events: vec![event("u", number)],
        outcome: Outcome::Succeeded,
    }
}

#[tokio::test]
async fn what_cannot_be_done_whole_is_not_done_at_all() {
    let bench = Bench::new();
    bench.group("g", config("t")).await;
    bench.group("next", wide("u")).await;
    bench.set("k", "0").await;
    bench.store.set_quota(&space(), 10).await.unwrap();
    bench.numbers("t", 0..1).await;
    let delivery = bench.one(&member("g", 0)).await;
    let base = Done {
        commits: vec![set("k", "1")],
        events: vec![event("u", 0)],
        ..done(&member("g", 0), &delivery)
    };
    let too_big = Done {
        commits: vec![set("k", "1"), set("l", "\"0123456789\"")],
        ..base.clone()
    };
    assert_eq!(code(bench.store.transact(too_big).await), "state_too_large");
    let reserved = Done {
        events: vec![event("u", 1), event("openclaw.x", 1)],
        ..base.clone()
    };
    assert_eq!(code(bench.store.transact(reserved).await), "reserved_topic");
    let stale = Commit {
        writer: claw_store::state::WriterId::default(),
        ..set("k", "2")
    };
    let fenced = Done {
        commits: vec![stale],
        ..base.clone()
    };
    assert_eq!(code(bench.store.transact(fenced).await), "fenced");

    assert_eq!(bench.text("k", At::Head).await.as_deref(), Some("0"));
    let events: Vec<NewEvent> = vec![event("u", 0)];
    bench.nothing(&member("next", 0)).await;
    assert_eq!(bench.store.held(&member("g", 0)).await.unwrap().len(), 1);
    bench.store.transact(base).await.unwrap();
    assert_eq!(
        bench.drain(&member("next", 0)).await,
        [events[0].id.clone()]
    );
    assert_eq!(
        bench
            .store
            .versions(&space(), claw_store::state::Versions::All)
            .await
            .unwrap()
            .len(),
        2
    );
}

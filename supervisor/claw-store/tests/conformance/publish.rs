//! Statements 4 to 10: what a publisher may rely on.

use std::collections::BTreeMap;

use claw_store::bus::{Force, Level, NewEvent, Publisher, Start, Stored};
use claw_store::store::EventLimits;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn statement_04_same_source_and_id_is_stored_once_within_the_window() {
    let bench = Bench::new();
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let store = bench.store.clone();
        tasks.push(tokio::spawn(async move {
            let events = (0..50).map(|n| event("t", n)).collect();
            store
                .publish(events, Level::Os, Publisher::Outside)
                .await
                .unwrap()
        }));
    }
    let mut first = BTreeMap::new();
    let mut new = 0;
    for task in tasks {
        for (n, receipt) in task.await.unwrap().iter().enumerate() {
            let seq = receipt.seq.unwrap();
            assert_eq!(*first.entry(n).or_insert(seq), seq, "event {n}");
            new += u64::from(receipt.stored == Stored::New);
        }
    }
    assert_eq!(new, 50);
    let bench = bench.restart();
    let again = bench.publish(vec![event("t", 3)]).await[0];
    assert_eq!(
        (again.seq, again.stored),
        (Some(first[&3]), Stored::Duplicate)
    );
    assert_eq!(
        bench.store.read_events(1, None, 1_000).await.unwrap().len(),
        50
    );
}

#[tokio::test]
async fn statement_04_the_id_of_news_that_is_told_once_is_not_remembered_and_all_others_are() {
    let bench = Bench::new();
    let agents = [event("t", 1), event("t", 2)];
    for (n, known) in agents.iter().enumerate() {
        bench.publish(vec![known.clone()]).await;
        for _ in 0..2 {
            let news = vec![event("openclaw.agent.started", 3)];
            let once = Publisher::SupervisorOnce;
            let receipts = bench.store.publish(news, Level::Os, once).await.unwrap();
            assert_eq!(receipts[0].stored, Stored::New, "after {n}");
        }
    }
    for (seq, known) in [1, 4].into_iter().zip(agents) {
        let again = bench.publish(vec![known]).await[0];
        assert_eq!((again.seq, again.stored), (Some(seq), Stored::Duplicate));
    }
}

#[tokio::test]
async fn statement_04_an_id_is_known_although_its_event_is_delayed_removed_or_imported() {
    let bench = Bench::with(EventLimits {
        retention_bytes: 0,
        dedup_window: std::time::Duration::from_secs(600),
        ..limits()
    });
    let delayed = |n| NewEvent {
        delay: Some(std::time::Duration::from_secs(1)),
        ..event("t", n)
    };
    let other = Bench::new();
    other.publish(vec![event("t", 3)]).await;
    bench.publish(vec![event("t", 1), delayed(2)]).await;
    let imported = other.store.read_events(1, None, 10).await.unwrap();
    bench.advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(bench.store.import_events(imported).await, Ok(1));
    let first = bench.publish(vec![delayed(4)]).await;
    assert_eq!(first[0].seq, None);
    bench.store.enforce_retention(Force::Yes).await.unwrap();
    assert_eq!(bench.store.read_events(1, None, 10).await.unwrap(), vec![]);
    let mut bench = bench;
    for _restart in 0..2 {
        for n in 1..5 {
            let again = bench.publish(vec![event("t", n)]).await[0];
            assert_eq!(again.stored, Stored::Duplicate, "event {n}");
        }
        bench = bench.restart();
    }
}

#[tokio::test]
async fn statement_05_after_the_window_the_same_id_is_stored_again() {
    let bench = Bench::new();
    let first = bench.publish(vec![event("t", 1)]).await[0];
    bench
        .advance(WINDOW - std::time::Duration::from_millis(1))
        .await;
    assert_eq!(
        bench.publish(vec![event("t", 1)]).await[0].stored,
        Stored::Duplicate
    );
    bench.advance(std::time::Duration::from_millis(1)).await;
    let again = bench.publish(vec![event("t", 1)]).await[0];
    assert_eq!(again.stored, Stored::New);
    assert!(again.seq > first.seq);
}

#[tokio::test]
async fn statement_06_a_batch_is_all_or_nothing() {
    let bench = Bench::new();
    let mut events: Vec<NewEvent> = (0..10).map(|n| event("t", n)).collect();
    events[9].topic = "t.*".into();
    let refused = bench
        .store
        .publish(events, Level::Disk, Publisher::Outside)
        .await;
    assert_eq!(code(refused), "wildcard_in_topic");
    assert_eq!(bench.store.read_events(1, None, 100).await.unwrap(), vec![]);
    // What was refused is not remembered as seen.
    assert_eq!(
        bench.publish(vec![event("t", 0)]).await[0].stored,
        Stored::New
    );
}

#[tokio::test]
async fn statement_07_an_oversize_event_is_refused_and_the_limit_itself_passes() {
    let bench = Bench::with(EventLimits {
        max_bytes: 1_000,
        ..limits()
    });
    let sized = |n, bytes| NewEvent {
        data: vec![b'1'; bytes],
        ..event("t", n)
    };
    let refused = bench
        .store
        .publish(vec![sized(1, 1_001)], Level::Os, Publisher::Outside)
        .await;
    assert_eq!(code(refused), "too_large");
    let mut by_reference = sized(2, 1_000);
    let url = "file:///large".to_owned();
    by_reference
        .attributes
        .insert("dataref".into(), url.clone());
    bench.publish(vec![by_reference]).await;
    let found = bench.store.read_events(1, None, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].attributes.further["dataref"], url);
}

#[tokio::test]
async fn statement_08_bad_wildcard_and_reserved_topics_have_stable_codes() {
    let bench = Bench::new();
    for (topic, expected) in [
        ("", "bad_topic"),
        ("a..b", "bad_topic"),
        (".a", "bad_topic"),
        ("a b", "bad_topic"),
        ("a.b\n", "bad_topic"),
        ("a.*", "wildcard_in_topic"),
        (">", "wildcard_in_topic"),
        ("openclaw.agent.started", "reserved_topic"),
        ("openclaw", "reserved_topic"),
    ] {
        let event = NewEvent {
            topic: topic.into(),
            ..event("t", 1)
        };
        let refused = bench
            .store
            .publish(vec![event], Level::Os, Publisher::Outside)
            .await;
        assert_eq!(code(refused), expected, "{topic:?}");
    }
    assert_eq!(bench.store.read_events(1, None, 10).await.unwrap(), vec![]);
    let own = event("openclaw.agent.started", 1);
    bench
        .store
        .publish(vec![own], Level::Os, Publisher::Supervisor)
        .await
        .unwrap();
}

#[tokio::test]
async fn statement_09_attributes_and_data_come_back_byte_by_byte() {
    let bench = Bench::new();
    bench.group("g", config(">")).await;
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let bodies = [
        "null".to_owned(),
        "9007199254740993".to_owned(),
        "{ \"ключ\" :\t\"\u{1f980}\\u0000\" , \"b\":1.0e2}".to_owned(),
        deep,
    ];
    let mut sent = Vec::new();
    for (n, body) in (0..).zip(&bodies) {
        let mut new = keyed("данные.ü", "schlüssel", n);
        new.data = body.clone().into_bytes();
        new.expires = Some(BEGAN.after(PATIENCE));
        for name in [
            "subject",
            "dataschema",
            "datacontenttype",
            "tracestate",
            "x",
        ] {
            new.attributes
                .insert(name.into(), format!("{name} \"{n}\" \u{1f980}"));
        }
        bench.publish(vec![new.clone()]).await;
        sent.push(new);
    }
    let bench = bench.restart();
    for new in sent {
        let found = bench.one(&member("g", 0)).await;
        bench.ack(&member("g", 0), &found).await;
        let event = &found.event;
        assert_eq!(
            (&event.id, &event.source, &event.topic),
            (&new.id, &new.source, &new.topic)
        );
        assert_eq!(
            (&event.key, event.expires, event.at),
            (&new.key, new.expires, BEGAN)
        );
        assert_eq!(event.attributes.further, new.attributes);
        assert_eq!(event.data, new.data);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statement_10_a_reader_never_finds_what_it_passed() {
    let bench = Bench::new();
    let each = scaled(2_000, 200);
    let mut tasks = Vec::new();
    for publisher in 0..16 {
        let store = bench.store.clone();
        tasks.push(tokio::spawn(async move {
            for n in 0..each {
                let one = vec![event(&format!("p{publisher}"), n)];
                store
                    .publish(one, Level::Os, Publisher::Outside)
                    .await
                    .unwrap();
            }
        }));
    }
    bench
        .store
        .upsert_group("g", wide(">"), Start::Beginning)
        .await
        .unwrap();
    let (mut seen, mut next) = (0, 1);
    while seen < 16 * each {
        for event in bench.store.read_events(next, None, 1_000).await.unwrap() {
            assert_eq!(event.seq, next, "a number was passed over");
            next += 1;
            seen += 1;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
}

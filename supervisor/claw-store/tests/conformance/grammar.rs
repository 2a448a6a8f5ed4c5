//! Statements 41 to 43: topics and filters.

use std::time::{Duration, Instant};

use claw_store::bus::{GroupConfig, NewEvent, Subscription, TopicFilter};

use crate::support::*;

#[test]
fn statement_41_the_grammar_of_filters() {
    for (filter, topic, matches) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "a.b", false),
        ("a.b", "a", false),
        ("a.b", "a.b", true),
        ("*", "a", true),
        ("*", "a.b", false),
        ("*.*", "a.b", true),
        ("*.*", "a", false),
        ("*.b", "a.b", true),
        ("*.b", "a.c", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("a.*.c", "a.b.c", true),
        ("a.*.c", "a.b.d", false),
        (">", "a", true),
        (">", "a.b.c", true),
        ("a.>", "a", false),
        ("a.>", "a.b", true),
        ("a.>", "a.b.c", true),
        ("a.>", "b.b", false),
        ("*.>", "a", false),
        ("*.>", "a.b", true),
        ("a.*.>", "a.b.c.d", true),
    ] {
        let found = TopicFilter::try_new(filter).unwrap().matches(topic);
        assert_eq!(found, matches, "{filter} on {topic}");
    }
    for filter in [
        "", ".", "a.", ".a", "a..b", "a.>.b", ">.a", "a*", "a.b>", "a b",
    ] {
        assert!(TopicFilter::try_new(filter).is_err(), "{filter:?} passed");
    }
}

#[tokio::test]
async fn statement_42_a_new_topic_reaches_an_older_subscription_at_once() {
    let bench = Bench::new();
    bench.group("g", config("news.>")).await;
    let store = bench.store.clone();
    let waiting = tokio::spawn(async move { store.next(&member("g", 0), 1, PATIENCE).await });
    let began = Instant::now();
    bench.numbers("news.never.seen", 0..1).await;
    let pulled = waiting.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(ids(&pulled.deliveries), ["news.never.seen-0"]);
}

#[tokio::test]
async fn statement_43_filters_by_source_and_attribute() {
    let bench = Bench::new();
    let mut chosen = Subscription::to(TopicFilter::try_new("t").unwrap());
    chosen.from = vec!["one".into(), "two".into()];
    chosen.attributes.insert("severity".into(), "high".into());
    let config = GroupConfig {
        subscriptions: vec![chosen],
        ..wide("t")
    };
    bench.group("g", config).await;
    let mut events = Vec::new();
    for (n, (source, severity)) in [
        ("one", "high"),
        ("one", "low"),
        ("two", "high"),
        ("three", "high"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut new = NewEvent {
            source: source.into(),
            ..event("t", n as u64)
        };
        new.attributes.insert("severity".into(), severity.into());
        events.push(new);
    }
    bench.publish(events).await;
    let bench = bench.restart();
    assert_eq!(bench.store.figures("g").await.unwrap().pending, 2);
    assert_eq!(bench.drain(&member("g", 0)).await, ["t-0", "t-2"]);
}

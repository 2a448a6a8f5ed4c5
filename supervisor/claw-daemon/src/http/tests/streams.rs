//! Logs and events as streams.

use std::time::Duration;

use axum::body::BodyDataStream;
use claw_core::action::Happened;
use futures_util::StreamExt;

use super::fleet::Fleet;
use super::{Call, get};

/// A stream as it comes in.
struct Stream(BodyDataStream);

impl Stream {
    async fn open(fleet: &Fleet, call: Call) -> Self {
        let response = call.open(fleet).await;
        assert_eq!(response.status(), 200);
        Self(response.into_body().into_data_stream())
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(60), self.0.next());
        let chunk = next
            .await
            .expect("something comes")
            .expect("the stream goes on")
            .unwrap();
        String::from_utf8(chunk.to_vec()).unwrap()
    }
}

fn stale(detail: &str) -> Happened {
    Happened::StaleFact {
        detail: detail.to_owned(),
    }
}

#[tokio::test]
async fn a_log_is_text_or_json_as_asked() {
    let fleet = Fleet::new();
    fleet.print(&["one", "!two", "three"]);
    let text = get("/api/agents/monitor/logs").send(&fleet).await;
    assert_eq!(
        (text.header("content-type"), &*text.body),
        ("text/plain; charset=utf-8", "one\n!two\nthree\n")
    );
    let json =
        get("/api/agents/monitor/logs?stream=stderr").header("accept", "application/x-ndjson");
    let json = json.send(&fleet).await;
    assert_eq!(json.header("content-type"), "application/x-ndjson");
    insta::assert_snapshot!(json.body);
    let tail = get("/api/agents/monitor/logs?tail=1").send(&fleet).await;
    assert_eq!(tail.body, "three\n");
    let after = get("/api/agents/monitor/logs?cursor=0.2")
        .send(&fleet)
        .await;
    assert_eq!(after.body, "three\n");
}

#[tokio::test(start_paused = true)]
async fn a_follower_gets_lines_as_they_are_written() {
    let fleet = Fleet::new();
    fleet.print(&["old", "new"]);
    let mut log = Stream::open(&fleet, get("/api/agents/monitor/logs?follow=1&tail=1")).await;
    assert_eq!(log.next().await, "new\n");
    fleet.print(&["newer"]);
    assert_eq!(log.next().await, "newer\n");
    fleet.state.closing.cancel();
    assert!(
        log.0.next().await.is_none(),
        "the stream ends with the server"
    );
}

#[tokio::test(start_paused = true)]
async fn events_come_as_they_happen_and_silence_is_filled() {
    let fleet = Fleet::new();
    let mut events = Stream::open(&fleet, get("/api/events")).await;
    assert_eq!(events.next().await, "retry: 2000\n: events follow\n\n");
    fleet.announce("monitor", stale("x"));
    insta::assert_snapshot!(events.next().await);
    assert_eq!(events.next().await, ": still here\n\n");
}

#[tokio::test]
async fn a_stream_of_events_goes_on_where_it_was_left() {
    let fleet = Fleet::new();
    for detail in ["a", "b", "c"] {
        fleet.announce("monitor", stale(detail));
    }
    for call in [
        get("/api/events").header("last-event-id", "1"),
        get("/api/events?after=1"),
    ] {
        let mut events = Stream::open(&fleet, call).await;
        events.next().await;
        let (second, third) = (events.next().await, events.next().await);
        assert!(second.starts_with("id: 2\nevent: stale_fact\n"), "{second}");
        assert!(third.starts_with("id: 3\n"), "{third}");
    }
}

#[tokio::test]
async fn events_of_one_agent_leave_out_the_others() {
    let fleet = Fleet::new();
    let mut events = Stream::open(&fleet, get("/api/events?agent=broken")).await;
    events.next().await;
    fleet.announce("monitor", stale("not wanted"));
    fleet.announce("broken", stale("wanted"));
    assert!(events.next().await.starts_with("id: 2\n"));
}

#[tokio::test]
async fn only_so_many_streams_may_be_open() {
    let fleet = Fleet::new();
    let mut open = Vec::new();
    for _ in 0..super::super::limits::STREAMS {
        open.push(Stream::open(&fleet, get("/api/events")).await);
    }
    let refused = get("/api/events").send(&fleet).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &"too_many_streams".into())
    );
    open.clear();
    let freed = async {
        while fleet.state.stream_permit().is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed)
        .await
        .expect("places are given back");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_told_and_let_go() {
    let fleet = Fleet::new();
    fleet.print(&["line"; 400]);
    let mut log = Stream::open(&fleet, get("/api/agents/monitor/logs?cursor=0.0")).await;
    tokio::time::sleep(super::super::limits::STALL * 3).await;
    let mut last = String::new();
    while let Some(chunk) = log.0.next().await {
        last = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
    }
    assert_eq!(last, "-- this reader was too slow; the log goes on --\n");
}

//! Bad calls: each has its status, its code, and a detail that says what to do.

use std::fmt::Write;

use http::Method;

use super::fleet::Fleet;
use super::samples::OLD_RUN;
use super::{Call, call, get, post};

fn bad_calls() -> Vec<Call> {
    let mut calls = bad_paths_and_queries();
    calls.extend(bad_commands());
    calls.extend(bad_streams());
    calls.extend(bad_callers());
    calls
}

fn bad_paths_and_queries() -> Vec<Call> {
    let long_name = format!("/api/agents/{}", "x".repeat(64));
    vec![
        get("/api/nothing"),
        get("/"),
        get("/api/agents/"),
        call(Method::DELETE, "/api/agents"),
        call(Method::PUT, "/api/agents/nightly/trigger"),
        get("/api/agents/nobody"),
        get("/api/agents/Monitor"),
        get("/api/agents/..%2Fetc"),
        get("/api/agents/%FF"),
        get(&long_name),
        get("/api/agents?lmit=3"),
        get("/api/runs/17"),
        get("/api/runs/01932f6e-8c0a-7000-8000-00000000ffff"),
        get("/api/agents/nobody/runs"),
        get("/api/agents/nightly/runs?limit=many"),
        get("/api/agents/nightly/runs?limit=501"),
        get("/api/agents/nightly/runs?limit=-1"),
        get("/api/agents/nightly/runs?limt=5"),
        get("/api/agents/nightly/runs?limit=1&limit=2"),
        get("/api/agents/nightly/runs?before=yesterday"),
        get("/api/agents/broken/transitions?limit=x"),
    ]
}

fn bad_commands() -> Vec<Call> {
    let run = format!("/api/agents/nightly/runs/{OLD_RUN}/cancel");
    let huge = vec![b' '; (1 << 20) + 1];
    vec![
        post("/api/agents/nobody/start"),
        post("/api/agents/broken/start"),
        post("/api/agents/monitor/resume"),
        post("/api/agents/monitor/stop?wait=soon"),
        post("/api/agents/monitor/stop?wait=2h"),
        post("/api/agents/monitor/pause?freeze=perhaps"),
        post("/api/agents/monitor/pause").json(r#"{"freez":true}"#),
        post("/api/agents/monitor/trigger"),
        post("/api/agents/broken/trigger"),
        post("/api/agents/idle/trigger"),
        post("/api/agents/nightly/trigger").json("{\n  \"day\": 1,\n  oops\n}"),
        post("/api/agents/nightly/trigger").json("{} {}"),
        post("/api/agents/nightly/trigger").json("\"\\ud800\""),
        post("/api/agents/nightly/trigger").body("application/json", *b"\"\xff\""),
        post("/api/agents/nightly/trigger").body("text/plain", "{}"),
        post("/api/agents/nightly/trigger").body("application/json", huge),
        post(&run),
        post("/api/config/apply").body("text/yaml", "agnets: {}"),
        post("/api/config/apply").body("text/yaml", "supervisor: {listen: 'off'}"),
        post("/api/config/plan").body("application/json", "{}"),
        post("/api/shutdown?mode=now"),
        post("/api/agents/nightly/trigger").header("idempotency-key", ""),
        post("/api/agents/nightly/trigger").header("idempotency-key", &"k".repeat(256)),
    ]
}

fn bad_streams() -> Vec<Call> {
    vec![
        get("/api/agents/nobody/logs"),
        get("/api/agents/monitor/logs?tail=lots"),
        get("/api/agents/monitor/logs?since=breakfast"),
        get("/api/agents/monitor/logs?stream=stdin"),
        get("/api/agents/monitor/logs?cursor=here"),
        get("/api/agents/monitor/logs?format=xml"),
        get("/api/agents/monitor/logs?follow=1&until=1h"),
        get(&format!("/api/agents/monitor/logs?run={OLD_RUN}")),
        get("/api/agents/monitor/logs").header("accept", "image/png"),
        get("/api/agents/monitor/logs").header("upgrade", "websocket"),
        get("/api/events?after=start"),
        get("/api/events?agent=nobody"),
        get("/api/events").header("last-event-id", "seven"),
    ]
}

fn bad_callers() -> Vec<Call> {
    vec![
        post("/api/config/apply")
            .body("text/yaml", "project: x")
            .over_tcp()
            .header("host", "[::1]"),
        post("/api/shutdown")
            .over_tcp()
            .header("host", "127.0.0.1:8400"),
        get("/api/agents").stranger(),
        get("/api/agents").over_tcp(),
        get("/api/agents")
            .over_tcp()
            .header("host", "evil.example:8400"),
        post("/api/agents/monitor/stop")
            .over_tcp()
            .header("host", "localhost:8400")
            .header("origin", "https://evil.example"),
        post("/api/agents/monitor/stop")
            .over_tcp()
            .header("host", "localhost:8400")
            .header("origin", "null"),
        get("/api/events")
            .over_tcp()
            .header("host", "localhost:8400")
            .header("origin", "http://localhost:3000")
            .header("upgrade", "websocket"),
    ]
}

#[tokio::test]
async fn bad_calls_are_answered_with_what_is_wrong() {
    let fleet = Fleet::new();
    let mut table = String::new();
    for bad in bad_calls() {
        let shown: String = format!("{} {}", bad.method, bad.target)
            .chars()
            .take(90)
            .collect();
        let answered = bad.send(&fleet).await;
        let problem = answered.json();
        assert_eq!(
            answered.header("content-type"),
            "application/problem+json",
            "{shown}"
        );
        assert_eq!(problem["status"], answered.status, "{shown}");
        assert_eq!(problem["request_id"], "test", "{shown}");
        let code = problem["code"].as_str().unwrap();
        let detail = problem["detail"].as_str().unwrap();
        writeln!(table, "{shown}\n  {} {code}: {detail}", answered.status).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn a_method_that_is_not_taken_is_answered_with_those_that_are() {
    let answered = call(Method::DELETE, "/api/agents")
        .send(&Fleet::new())
        .await;
    assert_eq!(
        (answered.status, answered.header("allow")),
        (405, "GET,HEAD")
    );
}

#[tokio::test]
async fn a_refusal_carries_what_it_is_about() {
    let fleet = Fleet::new();
    let problem = post("/api/agents/broken/trigger").send(&fleet).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&problem.json()).unwrap());
}

#[tokio::test]
async fn each_error_of_a_body_has_its_place() {
    let fleet = Fleet::new();
    let json = post("/api/agents/nightly/trigger").json("{\n  \"day\": 1,\n  oops\n}");
    let config = post("/api/config/apply").body("text/yaml", "agnets: {}");
    let errors = [
        json.send(&fleet).await.json()["errors"].take(),
        config.send(&fleet).await.json()["errors"].take(),
    ];
    insta::assert_snapshot!(serde_json::to_string_pretty(&errors).unwrap());
}

#[tokio::test]
async fn pages_of_this_machine_may_do_what_pages_of_others_may_not() {
    let own = post("/api/agents/monitor/pause")
        .over_tcp()
        .header("host", "localhost:8400")
        .header("origin", "http://localhost:8400");
    assert_eq!(own.send(&Fleet::new()).await.status, 202);
}

//! Who may call what, and what of a call is seen by whom.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Asked;
use crate::world::{Setup, World, chat};

#[tokio::test]
async fn the_provider_sees_its_key_and_never_the_agents_token() {
    let world = World::start(Setup::default()).await;
    let openai = Asked::post("/v1/chat/completions", &chat("big"));
    let as_api_key = openai
        .clone()
        .without("authorization")
        .with("x-api-key", "agent-token");
    let anthropic = Asked::post("/v1/messages", &chat("claude")).with("x-api-key", "agent-token");
    for asked in [openai, as_api_key, anthropic] {
        assert_eq!(world.ask(asked).await.status, 200);
    }
    let seen = world.fake.seen();
    let keys: Vec<_> = seen
        .iter()
        .map(|seen| (seen.header("authorization"), seen.header("x-api-key")))
        .collect();
    let bearer = (Some("Bearer provider-key"), None);
    assert_eq!(keys, [bearer, bearer, (None, Some("provider-key"))]);
    for seen in &seen {
        let values = seen.headers.values();
        assert!(
            values.clone().all(|value| !value.contains("agent-token")),
            "{seen:?}"
        );
    }
    assert_eq!(seen[2].header("anthropic-version"), Some("2023-06-01"));
}

#[tokio::test]
async fn without_the_agents_token_nothing_is_served() {
    let world = World::start(Setup::default()).await;
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    for asked in [
        asked.clone().without("authorization"),
        asked.clone().with("authorization", "Bearer another"),
        asked.clone().with("authorization", "agent-token"),
        asked
            .without("authorization")
            .with("x-api-key", "provider-key"),
        Asked::get("/v1/models").without("authorization"),
    ] {
        let answer = world.ask(asked).await;
        assert_eq!(
            (answer.status, answer.code()),
            (401, "invalid_token".to_owned())
        );
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn a_model_is_named_by_its_alias_to_the_agent_and_by_its_id_to_the_provider() {
    let world = World::start(Setup::default()).await;
    let answer = world.chat("big").await;
    assert_eq!(answer.json()["model"], "big");
    assert_eq!(answer.header("x-openclaw-model"), Some("big-1"));
    assert_eq!(answer.header("x-openclaw-provider"), Some("hub"));
    assert_eq!(answer.header("x-openclaw-attempts"), Some("1"));
    assert!(answer.header("x-openclaw-request-id").is_some());
    assert_eq!(world.asked(), ["big-1"]);
}

#[tokio::test]
async fn what_is_not_changed_reaches_the_provider_byte_by_byte() {
    let world = World::start(Setup::default()).await;
    let body = r#"{ "model" : "big-1","temperature": 0.70,  "max_completion_tokens":5,
        "messages":[{"role":"user","content":"\u00e9"}], "unheard_of": [1.0, {}] }"#;
    let mut asked = Asked::post("/v1/chat/completions", &json!(null));
    asked.body = body.into();
    assert_eq!(world.ask(asked).await.status, 200);
    let sent = world.fake.seen().remove(0).body;
    assert_eq!(String::from_utf8_lossy(&sent), body);
}

#[tokio::test]
async fn a_model_that_is_not_the_agents_is_not_found() {
    let world = World::start(Setup::default()).await;
    let answer = world.chat("gpt-nobody").await;
    assert_eq!(
        (answer.status, answer.code()),
        (404, "model_not_found".to_owned())
    );
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("big, spare, claude"), "{message}");
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn the_models_of_an_agent_are_listed_in_both_forms() {
    let world = World::start(Setup::default()).await;
    let openai = world.ask(Asked::get("/v1/models")).await.json();
    assert_eq!(openai["object"], "list");
    assert_eq!(openai["data"][0]["id"], "big");
    assert_eq!(openai["data"][0]["owned_by"], "hub");
    let asked = Asked::get("/v1/models").with("anthropic-version", "2023-06-01");
    let anthropic = world.ask(asked).await.json();
    assert_eq!(anthropic["first_id"], "big");
    assert_eq!(anthropic["data"][2]["display_name"], "claude");
}

#[tokio::test]
async fn a_refusal_has_the_form_of_the_interface_that_was_called() {
    let world = World::start(Setup::default()).await;
    let bad = json!({"model": "claude", "max_tokens": 0, "messages": []});
    let answer = world.ask(Asked::post("/v1/messages", &bad)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["type"], "error");
    assert_eq!(answer.json()["error"]["param"], "max_tokens");
    let answer = world
        .ask(Asked::post("/v1/chat/completions", &json!([])))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_and_reach_nobody() {
    let world = World::start(Setup::default()).await;
    let unknown = Asked::post("/v1/images/generations", &chat("big"));
    let mut get = Asked::get("/v1/chat/completions");
    get.method = Method::DELETE;
    for asked in [unknown, get, Asked::post("/v1/models", &chat("big"))] {
        let answer = world.ask(asked).await;
        assert_eq!(
            (answer.status, answer.code()),
            (404, "no_such_path".to_owned())
        );
    }
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_is_read() {
    let world = World::start(Setup::default()).await;
    let length = claw_gateway::llm::serve::MAX_BODY + 1;
    let asked = Asked::post("/v1/chat/completions", &json!(null));
    let asked = asked.with("content-length", &length.to_string());
    let answer = world.ask(asked).await;
    assert_eq!(
        (answer.status, answer.code()),
        (413, "body_too_large".to_owned())
    );
}

/// A request whose body has one byte more than is sent of it.
fn unfinished(bytes: usize) -> String {
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer agent-token";
    let body = " ".repeat(bytes);
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", bytes + 1)
}

#[tokio::test]
async fn what_an_agent_sends_at_once_is_bounded_until_it_is_dealt_with() {
    const MEBIBYTE: usize = 1024 * 1024;
    let world = World::start(Setup::default()).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (mut stream, serving) = world.connect();
        // What is written is read, but for what the stream itself holds.
        let sent = stream.write_all(unfinished(30 * MEBIBYTE).as_bytes()).await;
        sent.expect("read");
        held.push((stream, serving));
    }
    let (stream, _serving) = world.connect();
    let (mut answers, mut requests) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        // It is refused before all of it is read.
        let _refused = requests
            .write_all(unfinished(8 * MEBIBYTE).as_bytes())
            .await;
        requests
    });
    let mut answer = String::new();
    let read = answers.read_to_string(&mut answer).await;
    read.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for told in [r#""code":"busy""#, "retry-after: 2", "x-should-retry: true"] {
        assert!(answer.contains(told), "{answer}");
    }
    drop(sending);

    for (stream, serving) in held {
        drop(stream);
        serving.await.expect("no panic");
    }
    let mut asked = Asked::post("/v1/chat/completions", &chat("big"));
    asked.body = [&asked.body[..], " ".repeat(8 * MEBIBYTE).as_bytes()]
        .concat()
        .into();
    assert_eq!(world.ask(asked).await.status, 200);
}

#[tokio::test]
async fn what_an_agent_wrote_is_told_back_short_and_obeyed_by_no_terminal() {
    let world = World::start(Setup::default()).await;
    let long = format!("\\u001b[31m{}", "x".repeat(1_000_000));
    let bodies = [
        format!(r#"{{"{long}":1,"{long}":2}}"#),
        format!(r#"{{"model":"{}","messages":[]}}"#, &long[..200]),
        format!(r#"{{"model":"big","messages":[],"max_tokens":9,"tools":[{{"type":"{long}"}}]}}"#),
        format!(r#"{{"model":"claude","messages":[],"max_tokens":9,"{long}":1}}"#),
    ];
    for body in bodies {
        let mut asked = Asked::post("/v1/chat/completions", &json!(null));
        asked.body = body.into();
        let answer = world.ask(asked).await;
        assert!(answer.status >= 400);
        assert!(answer.body.len() < 1_000, "{} bytes", answer.body.len());
        let told = answer.json()["error"]["message"].to_string();
        assert!(!told.contains("\\u001b"), "{told}");
        assert!(told.contains("\\\\u{1b}[31mxxx"), "{told}");
    }
    let path = format!("/{}", "x".repeat(1_000));
    assert!(world.ask(Asked::get(&path)).await.body.len() < 500);
}

//! Chains that cross from one interface to the other.

use fakellm::{Behaviour, OnLimit, Tool};
use serde_json::{Value, json};

use crate::client::Asked;
use crate::world::{Setup, World, chat, streamed};

fn with_tools(mut body: Value, side: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    body["tools"] = match side {
        "openai" => json!([{
            "type": "function",
            "function": {"name": "weather", "description": "of a city", "parameters": schema},
        }]),
        _ => json!([{"name": "weather", "description": "of a city", "input_schema": schema}]),
    };
    body
}

fn calls_a_tool() -> Behaviour {
    Behaviour {
        tool: Some(Tool {
            name: "weather".to_owned(),
            arguments: "{\"city\":\"Berlin\"}".to_owned(),
        }),
        ..Behaviour::tokens(12)
    }
}

#[tokio::test]
async fn tools_survive_the_way_to_the_other_interface_and_back() {
    let world = World::start(Setup::default()).await;
    world.fake.script("claude-1", [calls_a_tool()]);
    world.fake.script("big-1", [calls_a_tool()]);

    let body = with_tools(chat("claude"), "openai");
    let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let function = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(function["name"], "weather");
    assert_eq!(function["arguments"], "{\"city\":\"Berlin\"}");
    assert_eq!(answer.json()["model"], "claude");

    let body = with_tools(chat("big"), "anthropic");
    let answer = world.ask(Asked::post("/v1/messages", &body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["stop_reason"], "tool_use");
    let block = &answer.json()["content"][0];
    assert_eq!(
        (&block["name"], &block["input"]["city"]),
        (&json!("weather"), &json!("Berlin"))
    );

    let seen = world.fake.seen();
    assert_eq!(seen[0].path, "/v1/messages");
    assert_eq!(seen[0].json()["tools"][0]["input_schema"]["type"], "object");
    assert_eq!(seen[1].path, "/v1/chat/completions");
    assert_eq!(seen[1].json()["tools"][0]["function"]["name"], "weather");
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn a_stream_is_translated_event_by_event_and_charged_exactly() {
    let world = World::start(Setup::default()).await;
    let mut body = streamed("claude");
    body["stream_options"] = json!({"include_usage": true});
    let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
    let events = answer.events();
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert!(
        text.starts_with("w0 w1 ") && text.ends_with("w15 "),
        "{text}"
    );
    let usage = events.iter().find(|event| event["usage"].is_object());
    let usage = &usage.expect("usage")["usage"];
    assert_eq!(usage["completion_tokens"], 16);
    world.settled().await;
    assert_eq!(
        usage["cost_usd"].as_f64(),
        Some(crate::world::pico(world.bill()).as_usd())
    );

    let answer = world
        .ask(Asked::post("/v1/messages", &streamed("big")))
        .await;
    let events = answer.events();
    assert_eq!(
        events.first().map(|event| &event["type"]),
        Some(&json!("message_start"))
    );
    assert_eq!(
        events.last().map(|event| &event["type"]),
        Some(&json!("message_stop"))
    );
    let text: String = events
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert!(
        text.starts_with("w0 w1 ") && text.ends_with("w15 "),
        "{text}"
    );
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
    assert_eq!(world.book.endings(), ["answered", "answered"]);
}

#[tokio::test]
async fn a_fallback_may_speak_the_other_interface() {
    let mut setup = Setup::default();
    setup.agent.fallback = vec!["claude".into()];
    let world = World::start(setup).await;
    world.fake.script("big-1", [Behaviour::status(503)]);
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["model"], "big");
    assert_eq!(answer.json()["object"], "chat.completion");
    assert_eq!(answer.header("x-openclaw-provider"), Some("anthropic"));
}

#[tokio::test]
async fn what_cannot_be_translated_is_refused_by_its_name() {
    let world = World::start(Setup::default()).await;
    let mut body = chat("claude");
    body["logit_bias"] = json!({"50256": -100});
    let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
    assert_eq!(
        (answer.status, answer.code()),
        (501, "unsupported_feature".to_owned())
    );
    assert!(answer.body.contains("logit_bias"), "{}", answer.body);
    let embeddings = json!({"model": "claude", "input": "text"});
    let answer = world.ask(Asked::post("/v1/embeddings", &embeddings)).await;
    assert_eq!(answer.status, 501);
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_of_the_other_interface_has_the_form_of_the_agents_own() {
    let world = World::start(Setup::default()).await;
    world.fake.script("claude-1", [Behaviour::status(422)]);
    let answer = world.chat("claude").await;
    assert_eq!(answer.status, 422);
    assert!(answer.json()["type"].is_null(), "{}", answer.body);
    assert_eq!(answer.json()["error"]["message"], "told to answer 422");
}

#[tokio::test]
async fn a_translated_stream_beyond_its_hold_ends_as_the_agents_interface_says() {
    let world = World::start(Setup::default()).await;
    let endless = Behaviour {
        limit: OnLimit::Ignored,
        ..Behaviour::tokens(100_000)
    };
    world.fake.script("claude-1", [endless]);
    let asked = Asked::post("/v1/chat/completions", &streamed("claude"));
    let answer = world.ask(asked).await;
    assert!(!answer.broke_off);
    let events = answer.events();
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    let ends = |event: &&Value| event["choices"][0]["finish_reason"] == "length";
    let end = events.iter().find(ends).expect("an end");
    assert_eq!(end["openclaw"]["reason"], "budget");
    world.settled().await;
    assert_eq!(world.book.endings(), ["cut_by_budget"]);
}

#[tokio::test]
async fn an_answer_without_a_limit_is_given_the_smaller_of_cap_and_model() {
    for (cap, sent) in [(5000, 1000), (500, 500)] {
        let mut setup = Setup::default();
        setup.agent.default_output_cap = Some(cap);
        let world = World::start(setup).await;
        let mut body = chat("claude");
        body.as_object_mut()
            .expect("an object")
            .remove("max_tokens");
        let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(world.fake.seen()[0].json()["max_tokens"], sent);
    }
}

#[tokio::test]
async fn a_stream_whose_provider_sends_no_end_is_ended_for_the_other_interface() {
    let begin = r#"data: {"choices":[{"index":0,"delta":{"content":"Well."}}]}"#;
    let finish = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#;
    let world = World::start(Setup::default()).await;
    for pieces in [vec![begin, finish], vec![begin, finish, usage]] {
        let raw = Behaviour {
            raw: Some(pieces.iter().map(|event| format!("{event}\n\n")).collect()),
            ..Behaviour::default()
        };
        world.fake.script("big-1", [raw]);
        let asked = Asked::post("/v1/messages", &streamed("big"));
        let answer = world.ask(asked).await;
        assert!(!answer.broke_off);
        let events = answer.events();
        let kinds: Vec<&str> = events
            .iter()
            .filter_map(|event| event["type"].as_str())
            .collect();
        let last = ["content_block_stop", "message_delta", "message_stop"];
        assert_eq!(kinds[kinds.len() - 3..], last);
    }
    world.settled().await;
    assert_eq!(world.book.endings(), ["answered", "answered"]);
}

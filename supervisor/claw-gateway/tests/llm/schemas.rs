//! Answers that have to follow a JSON schema.

use claw_gateway::llm::validate::json_schema::{OnViolation, Schema, SchemaRule};
use fakellm::{Behaviour, Gate, OnLimit, Pause, Tool};
use serde_json::{Value, json};

use crate::client::{Asked, send_and_hang_up};
use crate::world::{Setup, World, chat, streamed};

const RIGHT: &str = r#"{"age":3}"#;
const WRONG: &str = r#"{"age":"three"}"#;

fn schema() -> Value {
    json!({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})
}

fn setup(on_violation: OnViolation) -> Setup {
    let mut setup = Setup::default();
    setup.agent.schema = Some(SchemaRule {
        schema: Schema::compile(&schema()).expect("a schema"),
        on_violation,
    });
    setup
}

fn says(text: &str) -> Behaviour {
    Behaviour {
        text: Some(text.to_owned()),
        ..Behaviour::default()
    }
}

/// The text of an answer, whole or streamed.
fn text(events: &[Value]) -> String {
    let pieces = events.iter().filter_map(|event| {
        let chat = event["choices"][0]["delta"]["content"].as_str();
        let delta = chat.or_else(|| event["delta"]["text"].as_str());
        delta.or_else(|| event["delta"].as_str())
    });
    pieces.collect()
}

#[tokio::test]
async fn a_wrong_answer_is_asked_for_once_more_and_both_are_charged() {
    let world = World::start(setup(OnViolation::Repair)).await;
    world.fake.script("big-1", [says(WRONG), says(RIGHT)]);
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let said = &answer.json()["choices"][0]["message"]["content"];
    assert_eq!(said, RIGHT);
    assert_eq!(answer.header("x-openclaw-repaired"), Some("true"));
    assert_eq!(answer.header("x-openclaw-attempts"), Some("2"));
    let asked = world.fake.seen()[1].json();
    let turns = asked["messages"].as_array().expect("turns");
    assert_eq!(turns[1], json!({"role": "assistant", "content": WRONG}));
    world.settled().await;
    let calls = world.book.settled();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].request, calls[1].request);
    assert_ne!(calls[0].request_hash, calls[1].request_hash);
    assert_eq!(world.book.endings(), ["answered", "answered"]);
    assert_eq!(world.spent(), world.bill());
    let cost = crate::world::pico(world.bill()).to_string();
    assert_eq!(answer.header("x-openclaw-cost-usd"), Some(cost.as_str()));
    let told = "Repair 1 violations".to_owned();
    assert!(world.book.told().contains(&told), "{:?}", world.book.told());
}

#[tokio::test]
async fn an_answer_that_stays_wrong_is_refused_after_two_calls() {
    let world = World::start(setup(OnViolation::Repair)).await;
    for second in [
        says("sorry"),
        Behaviour::status(422),
        Behaviour::status(500),
    ] {
        world
            .fake
            .script("big-1", [says(WRONG), second, says(RIGHT)]);
        let before = world.asked().len();
        let answer = world.chat("big").await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "schema_violation".to_owned())
        );
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        world.settled().await;
        assert_eq!(world.asked().len(), before + 2);
        assert_eq!(world.spent(), world.bill());
    }
}

#[tokio::test]
async fn a_repair_without_money_leaves_the_first_answer_refused() {
    let world = World::start(setup(OnViolation::Repair)).await;
    world.fake.script("big-1", [says(WRONG), says(RIGHT)]);
    // Enough for one call of at most a hundred tokens, and not for another.
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let answer = world
        .ask(asked.with(
            "x-openclaw-router",
            r#"{"budget": {"daily_limit_usd": 0.0005}}"#,
        ))
        .await;
    assert_eq!(answer.code(), "schema_violation", "{}", answer.body);
    world.settled().await;
    assert_eq!(world.asked(), ["big-1"]);
    assert_eq!(world.spent(), world.bill());
    assert!(world.book.told().contains(&"over budget".to_owned()));
}

#[tokio::test]
async fn a_wrong_answer_is_blocked_or_passes_as_the_agent_has_it() {
    for (rule, status) in [(OnViolation::Block, 422), (OnViolation::Warn, 200)] {
        let world = World::start(setup(rule)).await;
        world.fake.script("big-1", [says(WRONG)]);
        let answer = world.chat("big").await;
        assert_eq!(answer.status, status);
        if rule == OnViolation::Block {
            let path = &answer.json()["error"]["openclaw"]["violations"][0]["path"];
            assert_eq!(path, "/age");
            assert!(answer.body.contains("want integer"), "{}", answer.body);
        }
        world.settled().await;
        assert_eq!(world.asked(), ["big-1"]);
        assert_eq!(world.spent(), world.bill());
        let told = format!("{rule:?} 1 violations");
        assert!(world.book.told().contains(&told));
    }
}

#[tokio::test]
async fn a_stream_reaches_the_agent_as_one_when_all_of_it_is_right() {
    let world = World::start(setup(OnViolation::Repair)).await;
    let response = json!({
        "model": "big", "stream": true, "max_output_tokens": 100, "input": "How old?",
    });
    let cases = [
        ("/v1/chat/completions", streamed("big"), "big-1"),
        ("/v1/messages", streamed("claude"), "claude-1"),
        ("/v1/chat/completions", streamed("claude"), "claude-1"),
        ("/v1/responses", response, "big-1"),
    ];
    for (path, body, id) in &cases {
        world.fake.script(id, [says(WRONG), says(RIGHT)]);
        let answer = world.ask(Asked::post(path, body)).await;
        assert!(!answer.broke_off);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        let events = answer.events();
        assert_eq!(text(&events), RIGHT, "{path} {id}");
        let ends = [
            json!("[DONE]"),
            json!("message_stop"),
            json!("response.completed"),
        ];
        let last = events.last().expect("events");
        assert!(
            ends.contains(last) || ends.contains(&last["type"]),
            "{last}"
        );
        world.settled().await;
        assert_eq!(world.spent(), world.bill(), "{path} {id}");
    }
    assert_eq!(world.book.reserved().len(), 2 * cases.len());
}

#[tokio::test]
async fn a_stream_that_stays_wrong_is_refused_as_its_interface_says() {
    let world = World::start(setup(OnViolation::Block)).await;
    world.fake.script("claude-1", [says(WRONG)]);
    let asked = Asked::post("/v1/messages", &streamed("claude"));
    let answer = world.ask(asked).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["type"], "error");
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_stream_that_is_cut_by_the_budget_is_no_answer_in_form() {
    let world = World::start(setup(OnViolation::Block)).await;
    let endless = Behaviour {
        limit: OnLimit::Ignored,
        ..says(&format!("[{}", "1,".repeat(20_000)))
    };
    world.fake.script("big-1", [endless]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let answer = world.ask(asked).await;
    assert_eq!(answer.code(), "schema_violation");
    world.settled().await;
    assert_eq!(world.book.endings(), ["cut_by_budget"]);
}

#[tokio::test]
async fn a_call_of_a_tool_is_no_answer_yet() {
    let world = World::start(setup(OnViolation::Block)).await;
    let calls = Behaviour {
        tool: Some(Tool {
            name: "look".to_owned(),
            arguments: "{}".to_owned(),
        }),
        ..Behaviour::default()
    };
    for (path, model) in [("/v1/chat/completions", "big"), ("/v1/messages", "claude")] {
        world.fake.script(&format!("{model}-1"), [calls.clone()]);
        for body in [chat(model), streamed(model)] {
            let answer = world.ask(Asked::post(path, &body)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    world.settled().await;
}

fn with_schema(mut body: Value, schema: &Value) -> Value {
    body["response_format"] = json!({
        "type": "json_schema", "json_schema": {"name": "person", "schema": schema},
    });
    body
}

#[tokio::test]
async fn the_schema_of_a_request_is_enforced_where_that_is_wanted() {
    let response = json!({
        "model": "big", "max_output_tokens": 100, "input": "How old?",
        "text": {"format": {"type": "json_schema", "name": "person", "schema": schema()}},
    });
    let cases = [
        ("/v1/chat/completions", with_schema(chat("big"), &schema())),
        ("/v1/responses", response),
    ];
    for (wanted, statuses) in [
        (None, [200, 200]),
        (Some(OnViolation::Block), [422, 422]),
        (Some(OnViolation::Repair), [200, 200]),
    ] {
        let mut setup = Setup::default();
        setup.agent.requested_schema = wanted;
        let world = World::start(setup).await;
        for ((path, body), status) in cases.iter().zip(statuses) {
            world.fake.script("big-1", [says(WRONG), says(RIGHT)]);
            let answer = world.ask(Asked::post(path, body)).await;
            assert_eq!(answer.status, status, "{wanted:?} {path} {}", answer.body);
            let is_repaired = answer.header("x-openclaw-repaired") == Some("true");
            assert_eq!(is_repaired, wanted == Some(OnViolation::Repair));
        }
        world.fake.script("big-1", [says("no JSON")]);
        assert_eq!(world.chat("big").await.status, 200, "it names no schema");
    }
}

#[tokio::test]
async fn a_wrong_answer_is_quoted_to_its_agent_and_to_nobody_else() {
    let mut setup = Setup::default();
    let schema = json!({"properties": {"name": {"pattern": "^[a-z]+$"}}});
    setup.agent.schema = Some(SchemaRule {
        schema: Schema::compile(&schema).expect("a schema"),
        on_violation: OnViolation::Block,
    });
    let world = World::start(setup).await;
    world.fake.script("big-1", [says(r#"{"name":"SECRET"}"#)]);
    let answer = world.chat("big").await;
    assert!(answer.body.contains("SECRET"), "{}", answer.body);
    let messages = world.book.messages.lock().expect("no panic").clone();
    let told = "the answer, which is charged, does not follow its JSON schema: \
                /properties/name/pattern";
    assert_eq!(messages, [told]);
}

#[tokio::test]
async fn an_agent_does_not_replace_the_schema_that_is_set_for_it() {
    let mut setup = setup(OnViolation::Block);
    setup.agent.requested_schema = Some(OnViolation::Block);
    let world = World::start(setup).await;
    world.fake.script("big-1", [says(WRONG)]);
    let body = with_schema(chat("big"), &json!({}));
    let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, 422);
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_refused_before_any_call() {
    let mut setup = Setup::default();
    setup.agent.requested_schema = Some(OnViolation::Block);
    let world = World::start(setup).await;
    for schema in [
        json!({"type": "intger"}),
        json!({"$ref": "https://schemas.example/a"}),
    ] {
        let body = with_schema(chat("big"), &schema);
        let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_schema".to_owned())
        );
    }
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn an_agent_that_hangs_up_is_not_asked_for_again() {
    let world = World::start(setup(OnViolation::Repair)).await;
    let gate = Gate::default();
    let slow = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..says(WRONG)
    };
    world.fake.script("big-1", [slow]);
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let reached = async {
        world.fake.until(|seen| seen.len() == 1).await;
    };
    send_and_hang_up(world.address, asked, reached).await;
    let mut closed = world.closed.subscribe();
    let gone = closed.wait_for(|closed| *closed == 1);
    gone.await.expect("the world");
    gate.open();
    world.settled().await;
    assert_eq!(world.asked(), ["big-1"]);
    assert_eq!(world.spent(), world.bill());
}

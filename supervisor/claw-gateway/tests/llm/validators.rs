//! Personal data in prompts and answers.

use claw_gateway::llm::validate::pii::{Action, Kind, PiiFilter};
use fakellm::{Behaviour, OnLimit};
use serde_json::{Value, json};

use crate::client::Asked;
use crate::world::{ANSWER, Setup, World, chat, streamed};

fn filter(action: Action) -> PiiFilter {
    PiiFilter {
        kinds: Kind::ALL.into(),
        action,
    }
}

fn says(text: &str) -> Behaviour {
    Behaviour {
        text: Some(text.to_owned()),
        ..Behaviour::default()
    }
}

fn asking(text: &str) -> Asked {
    let mut body = chat("big");
    body["messages"][0]["content"] = json!(text);
    Asked::post("/v1/chat/completions", &body)
}

/// The text of a stream's deltas.
fn text(events: &[Value]) -> String {
    let pieces = events.iter().filter_map(|event| {
        let chat = event["choices"][0]["delta"]["content"].as_str();
        chat.or_else(|| event["delta"]["text"].as_str())
    });
    pieces.collect()
}

#[tokio::test]
async fn personal_data_in_a_prompt_does_not_reach_the_provider() {
    let mut setup = Setup::default();
    setup.agent.prompts = Some(filter(Action::Redact));
    let world = World::start(setup).await;
    let answer = world.ask(asking("Write to ada@example.org please.")).await;
    assert_eq!(answer.status, 200);
    let sent = world.fake.seen().remove(0).json();
    let content = &sent["messages"][0]["content"];
    assert_eq!(content, "Write to [EMAIL] please.");
    let told = "Redact 1 email in prompt".to_owned();
    assert!(world.book.told().contains(&told), "{:?}", world.book.told());
}

#[tokio::test]
async fn a_prompt_that_is_blocked_costs_nothing() {
    let mut setup = Setup::default();
    setup.agent.prompts = Some(filter(Action::Block));
    let world = World::start(setup).await;
    let answer = world.ask(asking("Write to ada@example.org please.")).await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "personal_data".to_owned())
    );
    assert!(!answer.body.contains("ada@"), "{}", answer.body);
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn personal_data_that_is_split_over_chunks_is_redacted() {
    let mut setup = Setup::default();
    setup.agent.answers = Some(filter(Action::Redact));
    let world = World::start(setup).await;
    // The provider sends each character in an event of its own.
    for (path, model, id) in [
        ("/v1/chat/completions", "big", "big-1"),
        ("/v1/messages", "claude", "claude-1"),
        ("/v1/chat/completions", "claude", "claude-1"),
    ] {
        world
            .fake
            .script(id, [says("Ask ada@example.org about it, or bob.")]);
        let answer = world.ask(Asked::post(path, &streamed(model))).await;
        assert!(!answer.broke_off);
        let events = answer.events();
        assert_eq!(
            text(&events),
            "Ask [EMAIL] about it, or bob.",
            "{path} {model}"
        );
        world.settled().await;
        assert_eq!(world.spent(), world.bill(), "{path} {model}");
    }
    let told = "Redact 1 email in answer".to_owned();
    let count = world
        .book
        .told()
        .iter()
        .filter(|line| **line == told)
        .count();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn a_whole_answer_is_redacted_or_blocked_and_charged_all_the_same() {
    for action in [Action::Redact, Action::Block, Action::Warn] {
        let mut setup = Setup::default();
        setup.agent.answers = Some(filter(action));
        let world = World::start(setup).await;
        world
            .fake
            .script("big-1", [says("Ask ada@example.org about it.")]);
        let answer = world.chat("big").await;
        let said = &answer.json()["choices"][0]["message"]["content"];
        match action {
            Action::Redact => assert_eq!(said, "Ask [EMAIL] about it."),
            Action::Warn => assert_eq!(said, "Ask ada@example.org about it."),
            Action::Block => {
                assert_eq!(
                    (answer.status, answer.code()),
                    (400, "personal_data".to_owned())
                );
            }
        }
        world.settled().await;
        assert_eq!(world.spent(), world.bill());
        let told = format!("{action:?} 1 email in answer");
        assert!(world.book.told().contains(&told), "{:?}", world.book.told());
    }
}

#[tokio::test]
async fn a_stream_that_is_blocked_ends_properly_before_the_data() {
    let mut setup = Setup::default();
    setup.agent.answers = Some(filter(Action::Block));
    let world = World::start(setup).await;
    let words = format!("Ask ada@example.org about it. {}", "And more. ".repeat(100));
    world.fake.script("big-1", [says(&words)]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let answer = world.ask(asked).await;
    assert!(!answer.broke_off);
    let events = answer.events();
    assert!(!text(&events).contains("ada@"), "{}", text(&events));
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    let ends = |event: &&Value| event["openclaw"]["reason"] == "pii_filter";
    assert!(events.iter().any(|event| ends(&event)));
    world.settled().await;
    assert_eq!(world.book.endings(), ["cut_by_validator"]);
    assert!(world.spent_or_uncertain() >= world.bill());
}

/// A body, or the events of a stream, in the place of what the provider would say.
fn raw(pieces: &[&str]) -> Behaviour {
    Behaviour {
        raw: Some(pieces.iter().map(ToString::to_string).collect()),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_does_not_pass_a_filter() {
    let twice = r#"{"content":"Ask ada@example.org","content":"Ask."}"#;
    let whole = format!(r#"{{"choices":[{{"index":0,"message":{twice}}}],"model":"big-1"}}"#);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let begin = r#"data: {"choices":[{"index":0,"delta":{"content":"Well, "}}]}"#;
    let end = "data: [DONE]\n\n";
    for action in [Action::Redact, Action::Block] {
        let mut setup = Setup::default();
        setup.agent.answers = Some(filter(action));
        let world = World::start(setup).await;
        world.fake.script("big-1", [raw(&[&whole])]);
        let answer = world.chat("big").await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (502, "unreadable".to_owned()), "{action:?}");
        for delta in [twice, &deep] {
            let secret = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
            let begin = format!("{begin}\n\n");
            world.fake.script("big-1", [raw(&[&begin, &secret, end])]);
            let asked = Asked::post("/v1/chat/completions", &streamed("big"));
            let answer = world.ask(asked).await;
            assert!(!answer.broke_off);
            assert!(!answer.body.contains("ada@"), "{}", answer.body);
            let events = answer.events();
            assert_eq!(text(&events), "Well, ");
            let cut = &events[events.len() - 2];
            assert_eq!(cut["openclaw"]["reason"], "unreadable");
            assert_eq!(cut["choices"][0]["finish_reason"], "length");
        }
        world.settled().await;
        let told = world.book.told();
        let unreadable = |line: &&String| *line == "unreadable answer";
        assert_eq!(told.iter().filter(unreadable).count(), 3, "{told:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_blocked_at_its_end_ends_by_what_was_shown() {
    let mut setup = Setup::default();
    setup.agent.answers = Some(filter(Action::Block));
    let world = World::start(setup).await;
    // Only the end of the text tells that the address is whole.
    let words = "Ask ada@example.org";
    for (path, model) in [
        ("/v1/messages", "claude"),
        ("/v1/messages", "big"),
        ("/v1/chat/completions", "big"),
        ("/v1/chat/completions", "claude"),
    ] {
        world.fake.script(&format!("{model}-1"), [says(words)]);
        let answer = world.ask(Asked::post(path, &streamed(model))).await;
        assert!(!answer.broke_off);
        let events = answer.events();
        assert_eq!(text(&events), "Ask ", "{path} {model}");
        if path == "/v1/messages" {
            let kinds: Vec<&str> = events
                .iter()
                .filter_map(|event| event["type"].as_str())
                .collect();
            let last = ["content_block_stop", "message_delta", "message_stop"];
            assert_eq!(kinds[kinds.len() - 3..], last, "{model}");
            let stops = kinds.iter().filter(|kind| **kind == "content_block_stop");
            assert_eq!(stops.count(), 1, "{model}");
        } else {
            let finish = |event: &&Value| event["choices"][0]["finish_reason"].is_string();
            assert_eq!(events.iter().filter(finish).count(), 1, "{model}");
            assert_eq!(events.last(), Some(&json!("[DONE]")));
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_by_the_budget_shows_what_was_held_back() {
    let mut setup = Setup::default();
    setup.agent.answers = Some(filter(Action::Redact));
    let world = World::start(setup).await;
    // Any of it may yet turn out to be the begin of an address.
    let endless = Behaviour {
        limit: OnLimit::Ignored,
        ..says(&"a".repeat(50_000))
    };
    world.fake.script("big-1", [endless]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let answer = world.ask(asked).await;
    world.settled().await;
    assert_eq!(world.book.endings(), ["cut_by_budget"]);
    let call = world.book.settled().remove(0);
    let answered = world.spent() - u64::try_from(call.estimate.pico()).expect("money");
    let shown = u64::try_from(text(&answer.events()).len()).expect("a length");
    assert_eq!(shown * ANSWER, answered, "what is charged is shown");
}

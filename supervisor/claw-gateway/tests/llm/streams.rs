//! Streams: what the agent sees of them, and what they cost however they end.

use claw_gateway::llm::serve::Ending as CallEnding;
use fakellm::{Behaviour, Ending, OnLimit, Report};
use serde_json::{Value, json};

use crate::client::{Answer, Asked};
use crate::world::{ANSWER, Setup, World, pico, streamed};

async fn stream(world: &World, path: &str, body: &Value) -> Answer {
    world.ask(Asked::post(path, body)).await
}

async fn chat_stream(world: &World) -> Answer {
    stream(world, "/v1/chat/completions", &streamed("big")).await
}

#[tokio::test]
async fn an_agent_that_asked_for_no_usage_sees_none_and_is_charged_exactly() {
    let world = World::start(Setup::default()).await;
    world.fake.script("big-1", [Behaviour::tokens(20)]);
    let answer = chat_stream(&world).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = answer.events();
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    let usages = events.iter().filter(|event| event["usage"].is_object());
    assert_eq!(usages.count(), 0);
    let choices = |event: &&Value| event["choices"].as_array().is_some_and(Vec::is_empty);
    assert_eq!(events.iter().filter(choices).count(), 0, "{events:?}");
    assert!(
        events
            .iter()
            .all(|event| event == "[DONE]" || event["model"] == "big")
    );
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
    assert_eq!(world.book.endings(), ["answered"]);
}

#[tokio::test]
async fn an_agent_that_asked_for_usage_sees_it_with_its_cost() {
    let world = World::start(Setup::default()).await;
    let mut body = streamed("big");
    body["stream_options"] = json!({"include_usage": true});
    let answer = stream(&world, "/v1/chat/completions", &body).await;
    let events = answer.events();
    let usage = events.iter().find(|event| event["usage"].is_object());
    let usage = &usage.expect("usage")["usage"];
    world.settled().await;
    let cost = pico(world.bill()).as_usd();
    assert_eq!(usage["cost_usd"].as_f64(), Some(cost));
}

#[tokio::test]
async fn a_stream_that_the_provider_cuts_is_settled_and_told() {
    let world = World::start(Setup::default()).await;
    let cut = Behaviour {
        ending: Ending::Cut { after: 5 },
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [cut]);
    let answer = chat_stream(&world).await;
    assert_eq!(answer.status, 200);
    assert!(answer.broke_off, "the agent must not take it for the end");
    assert!(answer.body.contains("w4"));
    world.settled().await;
    assert_eq!(world.book.endings(), ["cut_by_provider"]);
    assert!(world.spent() > 0);
    assert!(world.spent_or_uncertain() >= world.bill());
}

#[tokio::test]
async fn a_stream_without_usage_is_estimated_and_the_rest_is_uncertain() {
    let world = World::start(Setup::default()).await;
    let silent = Behaviour {
        report: Report::Missing,
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [silent]);
    let answer = chat_stream(&world).await;
    assert!(!answer.broke_off);
    world.settled().await;
    assert_eq!(world.book.endings(), ["answered"]);
    assert!(world.spent() > 0);
    assert!(world.today().uncertain().pico() > 0);
    assert!(world.spent_or_uncertain() >= world.bill());
}

#[tokio::test]
async fn a_provider_that_ignores_the_limit_is_cut_and_the_stream_ends_properly() {
    for (path, model) in [
        ("/v1/chat/completions", "big"),
        ("/v1/responses", "big"),
        ("/v1/messages", "claude"),
    ] {
        let world = World::start(Setup::default()).await;
        let endless = Behaviour {
            limit: OnLimit::Ignored,
            ..Behaviour::tokens(100_000)
        };
        world.fake.script(&format!("{model}-1"), [endless]);
        let mut body = streamed(model);
        if path == "/v1/responses" {
            body = json!({
                "model": model, "stream": true, "max_output_tokens": 100, "input": "Why?",
            });
        }
        let answer = stream(&world, path, &body).await;
        assert!(!answer.broke_off, "{path}");
        let events = answer.events();
        let ends = |event: &&Value| {
            let reasons = [
                &event["choices"][0]["finish_reason"],
                &event["delta"]["stop_reason"],
                &event["response"]["incomplete_details"]["reason"],
            ];
            reasons.iter().any(|reason| reason.is_string())
        };
        let end = events.iter().find(ends).expect("an end");
        let told = [&end["openclaw"], &end["response"]["openclaw"]];
        let reason = json!({"reason": "budget"});
        assert!(told.contains(&&reason), "{path}: {end}");
        world.settled().await;
        let settled = world.book.settled().remove(0).end.expect("an end");
        assert_eq!(settled.ending, CallEnding::CutByBudget, "{path}");
        assert!(settled.settled.overrun.pico() > 0, "{path}");
        let seen = world.fake.seen().remove(0);
        assert!(
            seen.tokens_sent < 100_000,
            "{path}: the provider was cancelled"
        );
    }
}

#[tokio::test]
async fn a_provider_that_keeps_to_the_limit_is_never_cut() {
    let world = World::start(Setup::default()).await;
    world.fake.script("big-1", [Behaviour::tokens(100_000)]);
    let mut body = streamed("big");
    body["max_tokens"] = json!(1000);
    let answer = stream(&world, "/v1/chat/completions", &body).await;
    assert!(answer.body.contains("w999 "));
    world.settled().await;
    assert_eq!(world.book.endings(), ["answered"]);
    assert_eq!(world.spent(), world.bill());
    assert!(world.spent() > 1000 * ANSWER);
}

#[tokio::test]
async fn a_stream_that_begins_with_an_error_is_no_answer_yet() {
    let world = World::start(Setup::with_spare()).await;
    let cut = Behaviour {
        ending: Ending::Cut { after: 0 },
        ..Behaviour::default()
    };
    world.fake.script("big-1", [cut]);
    let answer = chat_stream(&world).await;
    assert_eq!(answer.status, 200);
    world.settled().await;
    assert!(world.spent_or_uncertain() >= world.bill());
}

fn refusing(status: u16) -> Behaviour {
    Behaviour {
        error_event: Some(status),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn an_error_in_place_of_a_stream_is_a_refusal_and_costs_nothing() {
    for (path, model, id) in [
        ("/v1/chat/completions", "big", "big-1"),
        ("/v1/responses", "big", "big-1"),
        ("/v1/messages", "claude", "claude-1"),
    ] {
        for status in [429, 500, 529] {
            let mut setup = Setup::default();
            setup.agent.max_retries = 1;
            let world = World::start(setup).await;
            let wait = ("retry-after-ms", "1");
            let refusing = refusing(status).with_header(wait.0, wait.1);
            world.fake.script(id, [refusing, Behaviour::tokens(3)]);
            let mut body = streamed(model);
            body["input"] = json!("What is a supervisor of agents good for?");
            let answer = stream(&world, path, &body).await;
            assert_eq!(answer.status, 200, "{path} {status}: {}", answer.body);
            assert_eq!(answer.header("x-openclaw-attempts"), Some("2"));
            world.settled().await;
            assert_eq!(world.book.reserved().len(), 1, "the money stays held");
            assert_eq!(world.spent_or_uncertain(), world.bill(), "{path} {status}");
        }
    }
}

#[tokio::test]
async fn an_error_in_place_of_a_stream_goes_where_its_status_would() {
    let world = World::start(Setup::with_spare()).await;
    world.fake.script("big-1", [refusing(529)]);
    let answer = chat_stream(&world).await;
    assert_eq!(answer.header("x-openclaw-model"), Some("spare-1"));
    world.fake.script("big-1", [refusing(401)]);
    let answer = chat_stream(&world).await;
    assert_eq!(answer.header("x-openclaw-model"), Some("spare-1"));
    let told = "misconfigured big-1 401".to_owned();
    assert!(world.book.told().contains(&told), "{:?}", world.book.told());
    world.fake.script("big-1", [refusing(400)]);
    let answer = chat_stream(&world).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["message"], "told to say 400");
    world.settled().await;
    assert_eq!(world.spent_or_uncertain(), world.bill());
}

#[tokio::test]
async fn progress_is_told_while_a_stream_goes_on() {
    let world = World::start(Setup::default()).await;
    world.fake.script("big-1", [Behaviour::tokens(5)]);
    chat_stream(&world).await;
    world.settled().await;
    let told = world.book.told();
    assert_eq!(told.first().map(String::as_str), Some("begun big-1"));
    assert!(told.contains(&"progress big-1".to_owned()));
    assert_eq!(told.last().map(String::as_str), Some("ended big-1"));
}

#[tokio::test]
async fn what_a_provider_wrote_beyond_its_limit_is_booked() {
    let setup = Setup {
        daily: None,
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let cut = Behaviour {
        ending: Ending::Cut { after: 5 },
        limit: OnLimit::Ignored,
        word_bytes: 8_000,
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [cut]);
    assert!(chat_stream(&world).await.broke_off);
    world.settled().await;
    // No token has more than eight bytes, and the limit was a hundred tokens.
    assert!(world.spent() >= 5_000 * ANSWER, "{}", world.spent());
}

//! What is charged for what the provider tells, in every interface.

use std::sync::Arc;

use claw_gateway::llm::rates::{Rates, Tariff, TokenRates};
use claw_gateway::llm::serve::Price;
use fakellm::{Behaviour, Report};
use serde_json::{Value, json};

use crate::client::Asked;
use crate::world::{ANSWER, PROMPT, Setup, World, chat, pico, settings, streamed};

/// A request of each interface, and the provider's id of its model.
fn every_interface() -> Vec<(&'static str, Value, &'static str)> {
    let response = |stream: bool| {
        json!({
            "model": "big", "input": "What is a supervisor?", "max_output_tokens": 100,
            "stream": stream,
        })
    };
    vec![
        ("/v1/chat/completions", chat("big"), "big-1"),
        ("/chat/completions", chat("big"), "big-1"),
        ("/v1/chat/completions", streamed("big"), "big-1"),
        ("/v1/responses", response(false), "big-1"),
        ("/v1/responses", response(true), "big-1"),
        (
            "/v1/embeddings",
            json!({"model": "big", "input": "text"}),
            "big-1",
        ),
        ("/v1/messages", chat("claude"), "claude-1"),
        ("/messages", chat("claude"), "claude-1"),
        ("/v1/messages", streamed("claude"), "claude-1"),
    ]
}

#[tokio::test]
async fn every_interface_is_charged_exactly_by_what_the_provider_tells() {
    for (path, body, model) in every_interface() {
        let world = World::start(Setup::default()).await;
        world.fake.script(model, [Behaviour::tokens(33)]);
        let answer = world.ask(Asked::post(path, &body)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        world.settled().await;
        assert!(world.bill() > 0, "{path}");
        assert_eq!(world.spent(), world.bill(), "{path} {body}");
        assert_eq!(world.today().uncertain().pico(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_cost_is_told_in_a_header_and_in_the_usage() {
    let world = World::start(Setup::default()).await;
    for (path, body) in [
        ("/v1/chat/completions", chat("big")),
        ("/v1/messages", chat("claude")),
    ] {
        let before = world.bill();
        let answer = world.ask(Asked::post(path, &body)).await;
        let cost = pico(world.bill() - before);
        let header = answer.header("x-openclaw-cost-usd").map(str::to_owned);
        assert_eq!(header, Some(cost.to_string()));
        assert_eq!(
            answer.json()["usage"]["cost_usd"].as_f64(),
            Some(cost.as_usd())
        );
    }
}

#[tokio::test]
async fn an_explicit_nothing_stays_nothing() {
    for (path, body, model) in every_interface() {
        let world = World::start(Setup::default()).await;
        let nothing = Behaviour {
            report: Report::Told {
                prompt: 0,
                answer: 0,
            },
            ..Behaviour::default()
        };
        world.fake.script(model, [nothing]);
        let answer = world.ask(Asked::post(path, &body)).await;
        assert_eq!(answer.status, 200, "{path}");
        world.settled().await;
        assert_eq!(world.spent_or_uncertain(), 0, "{path} {body}");
    }
}

#[tokio::test]
async fn impossible_numbers_are_no_usage() {
    let world = World::start(Setup::default()).await;
    let wrong = Behaviour {
        report: Report::Told {
            prompt: -5,
            answer: -7,
        },
        ..Behaviour::default()
    };
    world.fake.script("big-1", [wrong]);
    assert_eq!(world.chat("big").await.status, 200);
    world.settled().await;
    assert!(world.spent_or_uncertain() >= world.bill());
}

#[tokio::test]
async fn cached_tokens_cost_their_own_rate_in_both_conventions() {
    for (path, body, model) in every_interface() {
        if path.ends_with("embeddings") {
            continue;
        }
        let world = World::start(Setup::default()).await;
        let cached = Behaviour {
            prompt_tokens: Some(100),
            cached_tokens: 40,
            cache_written_tokens: if model == "claude-1" { 20 } else { 0 },
            ..Behaviour::tokens(10)
        };
        let written = cached.cache_written_tokens;
        world.fake.script(model, [cached]);
        let answer = world.ask(Asked::post(path, &body)).await;
        assert_eq!(answer.status, 200, "{path}");
        world.settled().await;
        let plain = (60 - written) * PROMPT;
        let cost = plain + 40 * PROMPT / 10 + written * PROMPT / 4 * 5 + 10 * ANSWER;
        assert_eq!(world.spent(), cost, "{path} {body}");
        let usage = world.book.settled().remove(0).end.expect("an end").usage;
        assert_eq!(usage.expect("usage").cache_read, 40, "{path}");
    }
}

#[tokio::test]
async fn the_service_tier_in_which_a_call_was_served_is_charged() {
    for body in [chat("big"), streamed("big")] {
        let world = World::start(Setup::default()).await;
        let mut tiers = settings(&world.setup, &world.fake);
        let dear = Tariff::new(
            TokenRates::flat(pico(3 * PROMPT), pico(3 * ANSWER)),
            Vec::new(),
        );
        let rates = Rates {
            service: [("priority".to_owned(), dear)].into(),
            ..Rates::flat(pico(PROMPT), pico(ANSWER))
        };
        let big = tiers.models.get_mut("big").expect("a model");
        Arc::make_mut(big).price = Price::Known(Arc::new(rates));
        world.gateway.replace(tiers);
        let served = Behaviour {
            service_tier: Some("priority".to_owned()),
            ..Behaviour::default()
        };
        world.fake.script("big-1", [served]);
        let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
        assert_eq!(answer.status, 200);
        world.settled().await;
        assert_eq!(world.spent(), 3 * world.bill());
        let end = world.book.settled().remove(0).end.expect("an end");
        assert_eq!(end.settled.overrun, pico(0), "the dearest tier was held");
    }
}

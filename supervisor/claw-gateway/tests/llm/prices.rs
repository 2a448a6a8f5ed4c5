//! What has no price or may change one, and what is held where nothing is limited.

use std::sync::Arc;

use claw_gateway::llm::money::Money;
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{Model, Price};
use fakellm::{Behaviour, Ending};
use serde_json::json;

use crate::client::Asked;
use crate::world::{ANSWER, PROMPT, Setup, World, chat, pico, settings, streamed};

#[tokio::test]
async fn without_a_budget_nothing_is_held_but_what_can_be_estimated() {
    let setup = Setup {
        daily: None,
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let cut = Behaviour {
        ending: Ending::Cut { after: 3 },
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [cut, Behaviour::tokens(50)]);
    let mut body = streamed("big");
    body["max_tokens"] = json!(u64::MAX);
    let asked = Asked::post("/v1/chat/completions", &body);
    assert!(world.ask(asked.clone()).await.broke_off);
    assert!(!world.ask(asked).await.broke_off);
    world.settled().await;
    assert!(world.spent() > 0);
    for call in world.book.settled() {
        assert_eq!(call.held, call.estimate);
        let settled = call.end.expect("an end").settled;
        assert_eq!(
            (settled.uncertain, settled.overrun),
            (Money::ZERO, Money::ZERO)
        );
    }
}

#[tokio::test]
async fn a_beta_that_may_raise_limits_or_prices_passes_only_without_a_budget() {
    let asked = |beta| {
        let asked = Asked::post("/v1/messages", &chat("claude"));
        asked.with("anthropic-beta", beta)
    };
    let world = World::start(Setup::default()).await;
    let answer = world.ask(asked("context-1m-2025-08-07")).await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "unknown_beta".to_owned())
    );
    assert!(
        answer.body.contains("context-1m-2025-08-07"),
        "{}",
        answer.body
    );
    let answer = world
        .ask(asked("pdfs-2024-09-25, interleaved-thinking-2025-05-14"))
        .await;
    assert_eq!(answer.status, 200);
    let world = World::start(Setup {
        daily: None,
        ..Setup::default()
    })
    .await;
    assert_eq!(world.ask(asked("context-1m-2025-08-07")).await.status, 200);
    let seen = world.fake.seen();
    assert_eq!(
        seen[0].header("anthropic-beta"),
        Some("context-1m-2025-08-07")
    );
}

#[tokio::test]
async fn a_model_that_always_searches_is_charged_for_it_and_refused_without_a_price() {
    let per_search = pico(25_000_000_000);
    for (per_search, per_request) in [
        (Some(per_search), Money::ZERO),
        (None, per_search),
        (None, Money::ZERO),
    ] {
        let world = World::start(Setup::default()).await;
        let mut settings = settings(&world.setup, &world.fake);
        let big = Model::clone(&settings.models["big"]);
        let flat = Rates::flat(pico(PROMPT), pico(ANSWER));
        let rates = Rates {
            per_search,
            per_request,
            ..flat
        };
        let searching = Model {
            id: "gpt-4o-search-preview".into(),
            price: Price::Known(Arc::new(rates)),
            ..big
        };
        settings.models.insert("big".into(), Arc::new(searching));
        world.gateway.replace(settings);
        let answer = world.chat("big").await;
        world.settled().await;
        if per_search.is_none() && per_request == Money::ZERO {
            assert_eq!(
                (answer.status, answer.code()),
                (400, "unknown_price".to_owned())
            );
            assert!(
                answer.body.contains("the price of a search"),
                "{}",
                answer.body
            );
        } else {
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(world.spent(), world.bill() + 25_000_000_000);
        }
    }
}

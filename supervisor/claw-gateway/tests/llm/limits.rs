//! Limits on requests and tokens.

use std::num::NonZeroU64;
use std::time::Duration;

use fakellm::Behaviour;

use crate::client::Asked;
use crate::world::{ANSWER, Setup, World, chat, pico};

#[tokio::test]
async fn an_agent_without_tokens_in_its_hour_is_told_when_there_are_some() {
    let mut setup = Setup::default();
    setup.agent.tokens_per_hour = NonZeroU64::new(300);
    let world = World::start(setup).await;
    world.fake.script("big-1", [Behaviour::tokens(80)]);
    let mut served = 0;
    let refusal = loop {
        let answer = world.chat("big").await;
        if answer.status != 200 {
            break answer;
        }
        world.settled().await;
        served += 1;
    };
    assert!((1..4).contains(&served), "{served} calls were served");
    let told = (refusal.status, refusal.code());
    assert_eq!(told, (429, "tokens_per_hour_exceeded".to_owned()));
    let wait: u64 = refusal
        .header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .expect("a time");
    world.clock.pass(Duration::from_secs(wait));
    assert_eq!(world.chat("big").await.status, 200);
    assert_eq!(world.asked().len(), served + 1);
}

#[tokio::test]
async fn a_refused_call_gives_its_tokens_back() {
    let mut setup = Setup::default();
    setup.agent.tokens_per_hour = NonZeroU64::new(250);
    let world = World::start(setup).await;
    world.fake.script("big-1", [Behaviour::status(422)]);
    for _ in 0..10 {
        assert_eq!(world.chat("big").await.status, 422);
    }
}

#[tokio::test]
async fn a_providers_rate_is_kept_to() {
    let setup = Setup {
        rate_limit: Some("3/min"),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    for _ in 0..3 {
        assert_eq!(world.chat("big").await.status, 200);
    }
    let answer = world.chat("big").await;
    assert_eq!(
        (answer.status, answer.code()),
        (429, "provider_rate_limit".to_owned())
    );
    assert_eq!(answer.header("retry-after"), Some("20"));
    assert_eq!(world.asked().len(), 3);
    world.clock.pass(Duration::from_secs(20));
    assert_eq!(world.chat("big").await.status, 200);
}

#[tokio::test]
async fn a_model_that_says_it_has_no_room_is_not_asked() {
    let world = World::start(Setup::with_spare()).await;
    let last = Behaviour::default()
        .with_header("x-ratelimit-remaining-requests", "0")
        .with_header("x-ratelimit-reset-requests", "1m0s");
    world.fake.script("big-1", [last, Behaviour::default()]);
    for _ in 0..2 {
        assert_eq!(world.chat("big").await.status, 200);
    }
    assert_eq!(world.asked(), ["big-1", "spare-1"]);
    // Another model of the same provider has limits of its own.
    assert_eq!(world.chat("free").await.status, 200);
    world.clock.pass(Duration::from_secs(60));
    world.chat("big").await;
    assert_eq!(world.asked().last().map(String::as_str), Some("big-1"));
}

#[tokio::test]
async fn a_call_without_money_takes_no_room_of_its_provider() {
    let setup = Setup {
        daily: Some(pico(100 * ANSWER)),
        rate_limit: Some("1/min"),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    for _ in 0..3 {
        assert_eq!(world.chat("big").await.code(), "budget_exceeded");
    }
    assert_eq!(world.chat("free").await.status, 200);
    assert_eq!(world.chat("free").await.code(), "provider_rate_limit");
}

#[tokio::test]
async fn a_call_that_cannot_wait_for_room_takes_none() {
    let setup = Setup {
        rate_limit: Some("2/s"),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    for _ in 0..2 {
        assert_eq!(world.chat("big").await.status, 200);
    }
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let hurried = asked.with("x-openclaw-router", r#"{"timeout_ms": 1}"#);
    for _ in 0..10 {
        let answer = world.ask(hurried.clone()).await;
        assert_eq!(answer.code(), "provider_rate_limit");
    }
    world.clock.pass(Duration::from_millis(500));
    assert_eq!(world.chat("big").await.status, 200);
    world.clock.pass(Duration::from_millis(500));
    assert_eq!(world.chat("big").await.status, 200);
    assert_eq!(world.asked().len(), 4);
}

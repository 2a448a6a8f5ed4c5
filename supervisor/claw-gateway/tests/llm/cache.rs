//! Answers that are given again to equal requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use claw_gateway::llm::serve::{
    AgentSettings, CacheScope, CacheSettings, Caching, Conclusion, OnTight, Settings,
};
use claw_gateway::llm::validate::content_safety::{ContentSafety, Judged, OnFailure};
use claw_gateway::llm::validate::pii::{Action, Kind, PiiFilter};
use fakellm::{Behaviour, Ending, OnLimit};
use serde_json::{Value, json};

use crate::client::{Answer, Asked, begin};
use crate::world::{PROMPT, Setup, World, chat, pico, settings, streamed};

const CHAT: &str = "/v1/chat/completions";

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.agent.cache = Caching::On;
    setup
}

fn says(text: &str) -> Behaviour {
    Behaviour {
        text: Some(text.to_owned()),
        ..Behaviour::default()
    }
}

/// Answers that can be told apart.
fn counted() -> [Behaviour; 3] {
    ["first", "second", "third"].map(says)
}

fn post(body: &Value) -> Asked {
    Asked::post(CHAT, body)
}

fn told(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-openclaw-cache"))
}

async fn asked_at(address: SocketAddr, asked: Asked) -> Answer {
    begin(address, asked).await.whole().await
}

/// Puts other settings into force.
fn reload(world: &World, change: impl FnOnce(&mut Settings)) {
    let mut other = settings(&world.setup, &world.fake);
    change(&mut other);
    world.gateway.replace(other);
}

/// Gives the fleet a second agent.
fn with_writer(world: &World, scope: CacheScope, change: impl FnOnce(&mut AgentSettings)) {
    let mut writer = world.setup.agent.clone();
    change(&mut writer);
    reload(world, |settings| {
        settings.cache.scope = scope;
        settings.agents.insert("writer".into(), Arc::new(writer));
    });
}

/// The event of a stream without its cost.
fn for_nothing(mut event: Value) -> Value {
    for place in ["/usage/cost_usd", "/response/usage/cost_usd"] {
        if let Some(cost) = event.pointer_mut(place) {
            *cost = json!(0.0);
        }
    }
    event
}

fn filter(action: Action) -> Option<PiiFilter> {
    Some(PiiFilter {
        kinds: Kind::ALL.into(),
        action,
    })
}

#[tokio::test]
async fn an_equal_request_is_answered_from_the_cache_for_nothing() {
    let world = World::start(setup()).await;
    let chat_of = |model: &str| Asked::post(CHAT, &chat(model));
    let embedding = json!({"model": "big", "input": ["one", "two"]});
    let response = json!({"model": "big", "input": "Why?"});
    for asked in [
        chat_of("big"),
        chat_of("claude"),
        Asked::post("/v1/messages", &chat("claude")),
        Asked::post("/v1/responses", &response),
        Asked::post("/v1/embeddings", &embedding),
    ] {
        let path = asked.path.clone();
        let first = world.ask(asked.clone()).await;
        assert_eq!(told(&first), (200, Some("miss")), "{path}");
        world.settled().await;
        let (spent, calls) = (world.spent(), world.asked().len());
        world.clock.pass(Duration::from_secs(7));
        let again = world.ask(asked).await;
        assert_eq!(told(&again), (200, Some("hit")), "{path}");
        assert_eq!(again.header("x-openclaw-cost-usd"), Some("0.00"));
        assert_eq!(again.header("x-openclaw-attempts"), Some("0"));
        assert_eq!(again.header("age"), Some("7"));
        for name in ["content-type", "x-openclaw-model", "x-openclaw-provider"] {
            assert_eq!(again.header(name), first.header(name), "{path}");
        }
        let id = "x-openclaw-request-id";
        assert_ne!(again.header(id), first.header(id));
        let mut free = first.json();
        free["usage"]["cost_usd"] = json!(0.0);
        assert_eq!(again.json(), free, "{path}");
        world.settled().await;
        assert_eq!((world.spent(), world.asked().len()), (spent, calls));
    }
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn what_was_given_again_is_written_down_and_tells_nothing_of_its_provider() {
    let world = World::start(setup()).await;
    for _ in 0..2 {
        assert_eq!(world.chat("big").await.status, 200);
    }
    world.settled().await;
    let (calls, cached) = (world.book.settled(), world.book.cached());
    assert_eq!((calls.len(), cached.len()), (1, 1));
    let (call, cached) = (&calls[0], &cached[0]);
    assert!(cached.id > call.id);
    assert_eq!(
        (&*cached.provider, &*cached.model, &*cached.model_asked),
        ("hub", "big-1", "big")
    );
    assert_eq!(
        (&cached.agent, cached.request_hash, cached.day),
        (&call.agent, call.request_hash, call.day)
    );
    let told = world.book.told();
    let of_cache: Vec<&String> = told.iter().filter(|line| line.contains("cache")).collect();
    assert_eq!(of_cache, ["cache miss", "cache hit"]);
    let begun = told.iter().filter(|line| line.starts_with("begun"));
    assert_eq!(begun.count(), 1);
    let conclusions = world.book.conclusions.lock().expect("no panic").clone();
    let provider = "hub".to_owned();
    assert_eq!(
        conclusions,
        [Conclusion::Answered { provider }, Conclusion::Passing]
    );
}

#[tokio::test]
async fn a_stream_is_given_again_as_one() {
    let world = World::start(setup()).await;
    let wanted = |model: &str| {
        let mut body = streamed(model);
        body["stream_options"] = json!({"include_usage": true});
        body
    };
    for (path, body) in [
        (CHAT, wanted("big")),
        (CHAT, streamed("big")),
        (CHAT, wanted("claude")),
        ("/v1/messages", streamed("claude")),
        (
            "/v1/responses",
            json!({"model": "big", "input": "Why?", "stream": true}),
        ),
    ] {
        let asked = Asked::post(path, &body);
        let first = world.ask(asked.clone()).await;
        assert_eq!(told(&first), (200, Some("miss")), "{path} {body}");
        world.settled().await;
        let (spent, calls) = (world.spent(), world.asked().len());
        let again = world.ask(asked).await;
        assert_eq!(told(&again), (200, Some("hit")), "{path} {body}");
        assert_eq!(again.header("content-type"), first.header("content-type"));
        let free: Vec<Value> = first.events().into_iter().map(for_nothing).collect();
        assert_eq!(again.events(), free, "{path}");
        world.settled().await;
        assert_eq!((world.spent(), world.asked().len()), (spent, calls));
        let mut whole = body.clone();
        whole["stream"] = json!(false);
        let whole = world.ask(Asked::post(path, &whole)).await;
        assert_eq!(told(&whole), (200, Some("miss")), "it is another request");
    }
}

#[tokio::test]
async fn requests_that_differ_in_anything_have_answers_of_their_own() {
    let world = World::start(setup()).await;
    world.fake.script("claude-1", counted());
    let body = chat("claude");
    let mut warmer = body.clone();
    warmer["temperature"] = json!(1);
    let message = |body: &Value| Asked::post("/v1/messages", body);
    let beta = |value| message(&body).with("anthropic-beta", value);
    let requests = [
        message(&body),
        message(&warmer),
        message(&chat("claude-1")),
        beta("pdfs-2024-09-25"),
        beta("effort-2025-11-24"),
        message(&body).with("anthropic-version", "2024-01-01"),
        post(&body),
        message(&body).with("x-openclaw-router", r#"{"fallback": ["big"]}"#),
    ];
    for expected in ["miss", "hit"] {
        for asked in &requests {
            let answer = world.ask(asked.clone()).await;
            assert_eq!(told(&answer), (200, Some(expected)), "{asked:?}");
        }
    }
    // What only says how long the agent waits changes no answer.
    let patient = message(&body).with("x-openclaw-router", r#"{"timeout_ms": 9000}"#);
    assert_eq!(told(&world.ask(patient).await), (200, Some("hit")));
}

#[tokio::test]
async fn another_agent_has_answers_of_its_own_unless_they_are_shared() {
    let world = World::start(setup()).await;
    world.fake.script("big-1", counted());
    let writer = world.door_of("writer").await;
    with_writer(&world, CacheScope::Agent, |_same| {});
    assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
    let own = asked_at(writer, post(&chat("big"))).await;
    assert_eq!(told(&own), (200, Some("miss")));

    with_writer(&world, CacheScope::Fleet, |_same| {});
    let first = world.chat("big").await;
    assert_eq!(told(&first), (200, Some("miss")));
    assert!(first.body.contains("third"), "{}", first.body);
    let shared = asked_at(writer, post(&chat("big"))).await;
    assert_eq!(told(&shared), (200, Some("hit")));
    assert!(shared.body.contains("third"), "{}", shared.body);
    assert_eq!(&*world.book.cached()[0].agent, "writer");
}

#[tokio::test]
async fn agents_whose_answers_are_validated_otherwise_share_none() {
    let world = World::start(setup()).await;
    world.fake.script("big-1", [says("Ask ada@example.org.")]);
    let writer = world.door_of("writer").await;
    with_writer(&world, CacheScope::Fleet, |writer| {
        writer.answers = filter(Action::Redact);
    });
    let plain = world.chat("big").await;
    assert!(plain.body.contains("ada@"), "{}", plain.body);
    for expected in ["miss", "hit"] {
        let answer = asked_at(writer, post(&chat("big"))).await;
        assert_eq!(told(&answer), (200, Some(expected)));
        assert!(answer.body.contains("[EMAIL]"), "{}", answer.body);
    }
    assert_eq!(told(&world.chat("big").await), (200, Some("hit")));
}

#[tokio::test]
async fn prompts_are_validated_before_the_cache_is_asked() {
    let mut setup = setup();
    setup.agent.prompts = filter(Action::Redact);
    let world = World::start(setup).await;
    let mail = |address: &str| {
        let mut body = chat("big");
        body["messages"][0]["content"] = json!(format!("Write to {address}."));
        post(&body)
    };
    let first = world.ask(mail("ada@example.org")).await;
    assert_eq!(told(&first), (200, Some("miss")));
    // Redacted, it is the same request.
    let same = world.ask(mail("bob@example.org")).await;
    assert_eq!(told(&same), (200, Some("hit")));
    reload(&world, |settings| {
        let mut agent = world.setup.agent.clone();
        agent.prompts = filter(Action::Block);
        settings.agents.insert("coder".into(), Arc::new(agent));
    });
    let blocked = world.ask(mail("ada@example.org")).await;
    assert_eq!(told(&blocked), (400, None));
}

#[tokio::test]
async fn an_answer_that_nobody_judged_is_not_given_again() {
    for (on_failure, expected) in [(OnFailure::Allow, "miss"), (OnFailure::Block, "hit")] {
        let mut setup = setup();
        setup.agent.content_safety = Some(ContentSafety {
            judged: Judged::Answers,
            on_failure,
            ..ContentSafety::new("second".into())
        });
        let world = World::start(setup).await;
        if on_failure == OnFailure::Allow {
            world.fake.script("moderation", [Behaviour::status(500)]);
        }
        assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
        assert_eq!(told(&world.chat("big").await), (200, Some(expected)));
    }
}

#[tokio::test]
async fn an_answer_is_given_until_it_is_too_old() {
    let world = World::start(setup()).await;
    assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
    world.clock.pass(Duration::from_secs(3599));
    assert_eq!(told(&world.chat("big").await), (200, Some("hit")));
    world.clock.pass(Duration::from_secs(1));
    assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
    // A shorter time holds at once.
    world.clock.pass(Duration::from_secs(60));
    reload(&world, |settings| {
        settings.cache.ttl = Duration::from_secs(60)
    });
    assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
}

#[tokio::test]
async fn only_a_whole_success_is_given_again() {
    let world = World::start(setup()).await;
    let cut = Behaviour {
        ending: Ending::Cut { after: 3 },
        ..Behaviour::default()
    };
    let error = Behaviour {
        raw: Some(vec![r#"{"error": {"message": "busy"}}"#.to_owned()]),
        ..Behaviour::default()
    };
    for (failure, body) in [
        (Behaviour::status(422), chat("big")),
        (error, chat("big")),
        (cut.clone(), chat("big")),
        (cut, streamed("big")),
    ] {
        let fine = says(&format!("{failure:?}"));
        world.fake.script("big-1", [failure, fine]);
        let mut body = body;
        body["seed"] = json!(world.asked().len());
        assert_ne!(
            world.ask(post(&body)).await.header("x-openclaw-cache"),
            Some("hit")
        );
        for expected in ["miss", "hit"] {
            let answer = world.ask(post(&body)).await;
            assert_eq!(told(&answer), (200, Some(expected)));
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_shortened_here_is_not_given_again() {
    let mut cut_by_validator = setup();
    cut_by_validator.agent.answers = filter(Action::Block);
    let words = format!("Ask ada@example.org about it. {}", "And more. ".repeat(100));
    let endless = Behaviour {
        limit: OnLimit::Ignored,
        ..Behaviour::tokens(100_000)
    };
    for (setup, behaviour) in [(setup(), endless), (cut_by_validator, says(&words))] {
        let world = World::start(setup).await;
        world
            .fake
            .script("big-1", [behaviour, Behaviour::default()]);
        for expected in ["miss", "miss", "hit"] {
            let answer = world.ask(post(&streamed("big"))).await;
            assert_eq!(told(&answer), (200, Some(expected)));
        }
    }
    let mut clamped = setup();
    clamped.agent.on_tight = OnTight::Clamp { min_output: 1 };
    // Enough for the prompt, and for less than the hundred tokens that are asked for.
    clamped.daily = Some(pico(250 * PROMPT));
    let world = World::start(clamped).await;
    world.fake.script("big-1", [Behaviour::tokens(5)]);
    let first = world.chat("big").await;
    assert!(first.header("x-openclaw-clamped-to").is_some(), "{first:?}");
    let again = world.chat("big").await;
    assert_ne!(again.header("x-openclaw-cache"), Some("hit"));
}

#[tokio::test]
async fn an_answer_that_is_kept_needs_no_money_and_no_provider() {
    let world = World::start(setup()).await;
    assert_eq!(world.chat("big").await.status, 200);
    world.settled().await;
    let nothing = crate::world::budgets(Some(pico(1)), None);
    world.gateway.set_budgets(nothing);
    assert_eq!(told(&world.chat("big").await), (200, Some("hit")));
    let refused = world.ask(post(&streamed("big"))).await;
    assert_eq!(told(&refused), (402, None));
    // The row that cannot be written costs nothing.
    world
        .book
        .broken
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(told(&world.chat("big").await), (200, Some("hit")));
}

#[tokio::test]
async fn an_agent_can_go_past_the_cache() {
    let world = World::start(setup()).await;
    world.fake.script("big-1", counted());
    let with = |control: &str| post(&chat("big")).with("cache-control", control);
    let expect = |answer: &Answer, result: &str, text: &str| {
        assert_eq!(told(answer), (200, Some(result)));
        assert!(answer.body.contains(text), "{}", answer.body);
    };
    expect(&world.ask(with("no-store")).await, "bypass", "first");
    expect(&world.chat("big").await, "miss", "second");
    expect(&world.ask(with("no-cache")).await, "bypass", "third");
    expect(&world.chat("big").await, "hit", "third");
    let mut stored = chat("big");
    stored["store"] = json!(true);
    for _ in 0..2 {
        let answer = world.ask(post(&stored)).await;
        assert_eq!(told(&answer), (200, Some("bypass")));
    }
}

#[tokio::test]
async fn an_alias_that_means_another_model_has_other_answers() {
    let world = World::start(setup()).await;
    assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
    reload(&world, |_same| {});
    assert_eq!(told(&world.chat("big").await), (200, Some("hit")));
    reload(&world, |settings| {
        let spare = Arc::clone(&settings.models["spare"]);
        settings.models.insert("big".into(), spare);
    });
    let other = world.chat("big").await;
    assert_eq!(told(&other), (200, Some("miss")));
    assert_eq!(other.header("x-openclaw-model"), Some("spare-1"));
}

#[tokio::test]
async fn without_a_word_no_answer_is_kept() {
    let world = World::start(Setup::default()).await;
    for _ in 0..2 {
        assert_eq!(told(&world.chat("big").await), (200, None));
    }
    reload(&world, |settings| {
        let mut agent = world.setup.agent.clone();
        agent.cache = Caching::On;
        settings.agents.insert("coder".into(), Arc::new(agent));
    });
    for expected in ["miss", "hit"] {
        assert_eq!(told(&world.chat("big").await), (200, Some(expected)));
    }
    // What was kept is gone when nobody keeps answers any more.
    reload(&world, |_off| {});
    reload(&world, |settings| {
        let mut agent = world.setup.agent.clone();
        agent.cache = Caching::On;
        settings.agents.insert("coder".into(), Arc::new(agent));
    });
    assert_eq!(told(&world.chat("big").await), (200, Some("miss")));
}

#[tokio::test]
async fn an_answer_too_long_for_the_cache_is_not_kept() {
    let mut setup = setup();
    setup.cache = CacheSettings {
        max_size: 64 * 1024,
        ..CacheSettings::default()
    };
    let world = World::start(setup).await;
    world
        .fake
        .script("big-1", [says(&"x".repeat(100)), says(&"x".repeat(4000))]);
    let mut other = chat("big");
    other["max_tokens"] = json!(5000);
    for expected in ["miss", "hit"] {
        assert_eq!(told(&world.chat("big").await), (200, Some(expected)));
    }
    for _ in 0..2 {
        let answer = world.ask(post(&other)).await;
        assert_eq!(told(&answer), (200, Some("miss")));
    }
}

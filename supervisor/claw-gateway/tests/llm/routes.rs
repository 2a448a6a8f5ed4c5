//! Which target serves a call, and after how many attempts.

use std::sync::Arc;
use std::time::Duration;

use claw_gateway::llm::serve::{AttemptFailure, Conclusion};
use claw_gateway::llm::upstream::Key;
use fakellm::{Behaviour, Ending, Gate, Pause};

use crate::client::{Asked, send_and_hang_up};
use crate::world::{Setup, World, chat, numbered, settings, streamed};

fn retrying(max_retries: u32) -> Setup {
    let mut setup = Setup::with_spare();
    setup.agent.max_retries = max_retries;
    setup
}

#[tokio::test]
async fn a_provider_with_too_many_calls_is_passed_by_at_once_if_it_asks_to_wait() {
    let world = World::start(retrying(2)).await;
    let busy = Behaviour::status(429).with_header("retry-after", "30");
    world.fake.script("big-1", [busy]);
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["model"], "big");
    assert_eq!(answer.header("x-openclaw-model"), Some("spare-1"));
    assert_eq!(answer.header("x-openclaw-attempts"), Some("2"));
    assert_eq!(world.asked(), ["big-1", "spare-1"]);
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn a_provider_that_asks_for_a_short_wait_is_asked_again() {
    let world = World::start(retrying(2)).await;
    let busy = Behaviour::status(429).with_header("retry-after-ms", "20");
    world.fake.script("big-1", [busy, Behaviour::tokens(3)]);
    let answer = world.chat("big").await;
    assert_eq!(answer.header("x-openclaw-model"), Some("big-1"));
    assert_eq!(world.asked(), ["big-1", "big-1"]);
    world.settled().await;
    assert_eq!(
        world.book.reserved().len(),
        1,
        "the money stays held in between"
    );
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn a_provider_is_not_asked_again_before_the_wait_that_it_named() {
    let world = World::start(retrying(1)).await;
    // Longer than the wait where none is named.
    let wait = Duration::from_millis(400);
    let busy = Behaviour::status(503).with_header("retry-after-ms", "400");
    world.fake.script("big-1", [busy, Behaviour::tokens(3)]);
    let answer = world.chat("big").await;
    assert_eq!(answer.header("x-openclaw-model"), Some("big-1"));
    let seen = world.fake.seen();
    assert!(seen[1].at >= seen[0].at + wait);
}

#[tokio::test]
async fn a_target_is_tried_exactly_as_often_as_it_is_allowed() {
    for (max_retries, tries) in [(0, 1), (1, 2), (2, 3)] {
        let world = World::start(retrying(max_retries)).await;
        world.fake.script("big-1", [Behaviour::status(503)]);
        assert_eq!(world.chat("big").await.status, 200);
        let mut asked = vec!["big-1"; tries];
        asked.push("spare-1");
        assert_eq!(world.asked(), asked);
    }
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_and_may_have_cost_something() {
    let world = World::start(retrying(1)).await;
    let unanswered = Behaviour {
        ending: Ending::Unanswered,
        ..Behaviour::default()
    };
    world
        .fake
        .script("big-1", [unanswered, Behaviour::tokens(3)]);
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-openclaw-attempts"), Some("2"));
    world.settled().await;
    assert!(world.spent_or_uncertain() > world.bill());
    let settled = world.book.settled();
    let failures: Vec<_> = settled
        .iter()
        .flat_map(|call| &call.attempts)
        .map(|attempt| attempt.failure)
        .collect();
    assert_eq!(
        failures,
        [AttemptFailure::Broken],
        "one was followed by another"
    );
    let told = "failed big-1 Broken".to_owned();
    assert!(world.book.told().contains(&told), "{:?}", world.book.told());
}

#[tokio::test]
async fn what_the_agent_did_wrong_comes_back_in_the_providers_words() {
    let world = World::start(retrying(2)).await;
    world.fake.script("big-1", [Behaviour::status(422)]);
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json()["error"]["message"], "told to answer 422");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(world.asked(), ["big-1"]);
    world.settled().await;
    assert_eq!(world.spent_or_uncertain(), 0);
}

#[tokio::test]
async fn a_provider_that_refuses_the_key_is_passed_by_and_somebody_is_told() {
    let world = World::start(retrying(2)).await;
    for status in [401, 402, 403, 404] {
        world.fake.script("big-1", [Behaviour::status(status)]);
        assert_eq!(world.chat("big").await.status, 200);
        let told = format!("misconfigured big-1 {status}");
        assert!(world.book.told().contains(&told), "{:?}", world.book.told());
    }
    assert_eq!(world.asked().len(), 8);
}

#[tokio::test]
async fn without_another_target_the_agent_is_told_what_the_provider_did() {
    let world = World::start(Setup::default()).await;
    let cases = [
        (Behaviour::status(500), 502, "provider_failed"),
        (Behaviour::status(401), 502, "provider_misconfigured"),
    ];
    for (behaviour, status, code) in cases {
        world.fake.script("big-1", [behaviour]);
        let answer = world.chat("big").await;
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    let busy = Behaviour::status(429).with_header("retry-after", "7");
    world.fake.script("big-1", [busy]);
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn a_cooling_provider_is_not_asked_before_its_time_and_then_by_one() {
    let world = World::start(retrying(0)).await;
    let busy = Behaviour::status(429).with_header("retry-after", "30");
    world.fake.script("big-1", [busy, Behaviour::default()]);
    for _ in 0..3 {
        assert_eq!(world.chat("big").await.status, 200);
    }
    assert_eq!(world.asked(), ["big-1", "spare-1", "spare-1", "spare-1"]);
    world.clock.pass(Duration::from_secs(30));
    assert_eq!(
        world.chat("big").await.header("x-openclaw-model"),
        Some("big-1")
    );
    assert_eq!(
        world.chat("big").await.header("x-openclaw-model"),
        Some("big-1")
    );
}

#[tokio::test]
async fn three_failures_of_a_provider_cool_it_for_all_of_its_models() {
    let world = World::start(Setup::default()).await;
    world.fake.script("big-1", [Behaviour::status(500)]);
    for number in 0..3 {
        assert_eq!(world.chat_numbered("big", number).await.status, 502);
    }
    let answer = world.chat("free").await;
    assert_eq!(
        (answer.status, answer.code()),
        (503, "provider_cooling".to_owned())
    );
    assert_eq!(answer.header("retry-after"), Some("10"));
    assert_eq!(world.asked().len(), 3);
}

#[tokio::test]
async fn one_request_takes_a_provider_from_nobody_however_often_it_fails() {
    let mut setup = Setup::default();
    setup.agent.max_retries = 3;
    let world = World::start(setup).await;
    world.fake.script("big-1", [Behaviour::status(500)]);
    assert_eq!(world.chat("big").await.code(), "provider_failed");
    assert_eq!(world.chat("free").await.status, 200);
    // Its agent sends it again by itself.
    for _ in 0..3 {
        let asked = Asked::post("/v1/chat/completions", &chat("big"));
        let once = asked.with("x-openclaw-router", r#"{"max_retries": 0}"#);
        assert_eq!(world.ask(once).await.code(), "provider_failed");
    }
    assert_eq!(world.asked().len(), 4 + 1 + 3);
    assert!(!world.book.told().contains(&"down hub".to_owned()));
}

#[tokio::test]
async fn an_agent_in_a_hurry_takes_a_model_from_nobody() {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let slow = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::default()
    };
    world.fake.script("big-1", [slow]);
    for number in 0..4 {
        let asked = Asked::post("/v1/chat/completions", &numbered("big", number));
        let hurried = asked.with("x-openclaw-router", r#"{"timeout_ms": 1}"#);
        assert_eq!(world.ask(hurried).await.code(), "provider_timeout");
    }
    gate.open();
    assert_eq!(world.chat("big").await.status, 200);
    assert!(!world.book.told().contains(&"down hub".to_owned()));
    world.settled().await;
}

#[tokio::test]
async fn a_model_that_says_nothing_in_time_is_left_alone_and_its_provider_is_not() {
    let mut setup = Setup::default();
    setup.agent.timeout = Duration::from_millis(50);
    let world = World::start(setup).await;
    let gate = Gate::default();
    let silent = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::default()
    };
    world.fake.script("big-1", [silent]);
    for number in 0..3 {
        let answer = world.chat_numbered("big", number).await;
        assert_eq!(answer.code(), "provider_timeout");
    }
    assert_eq!(world.chat("big").await.code(), "provider_cooling");
    // Another model of the same provider.
    assert_ne!(world.chat("free").await.code(), "provider_cooling");
    gate.open();
    world.settled().await;
}

#[tokio::test]
async fn an_answer_that_began_in_time_and_is_late_cools_nothing() {
    let mut setup = Setup::default();
    setup.agent.timeout = Duration::from_millis(500);
    let world = World::start(setup).await;
    let gate = Gate::default();
    let long = Behaviour {
        before_first: Pause::Until(gate.clone()),
        ..Behaviour::default()
    };
    world.fake.script("big-1", [long]);
    for number in 0..4 {
        let mut body = numbered("big", number);
        body["stream"] = serde_json::json!(true);
        let asked = Asked::post("/v1/chat/completions", &body);
        assert_eq!(world.ask(asked).await.code(), "provider_timeout");
    }
    assert_eq!(world.asked().len(), 4);
    gate.open();
    world.settled().await;
}

#[tokio::test]
async fn a_late_answer_is_read_and_charged_while_the_fallback_serves() {
    let mut setup = Setup::with_spare();
    setup.agent.timeout = Duration::from_millis(100);
    let world = World::start(setup).await;
    for body in [chat("big"), streamed("big")] {
        let gate = Gate::default();
        let late = Behaviour {
            before_head: Pause::Until(gate.clone()),
            ..Behaviour::tokens(50)
        };
        world.fake.script("big-1", [late]);
        let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-openclaw-model"), Some("spare-1"));
        assert!(
            world.today().held().pico() > 0,
            "the late call still holds money"
        );
        gate.open();
        world.settled().await;
        assert_eq!(world.spent(), world.bill());
        assert_eq!(world.today().uncertain().pico(), 0);
        assert!(world.book.endings().contains(&"drained"));
    }
}

#[tokio::test]
async fn a_stream_that_begins_and_then_says_nothing_counts_as_late() {
    let mut setup = Setup::with_spare();
    setup.agent.timeout = Duration::from_millis(100);
    let world = World::start(setup).await;
    let gate = Gate::default();
    let late = Behaviour {
        before_first: Pause::Until(gate.clone()),
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [late]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let answer = world.ask(asked).await;
    assert_eq!(answer.header("x-openclaw-model"), Some("spare-1"));
    gate.open();
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn comments_that_keep_a_stream_alive_are_no_answer_yet() {
    let mut setup = Setup::with_spare();
    setup.agent.timeout = Duration::from_millis(500);
    let world = World::start(setup).await;
    let gate = Gate::default();
    gate.permit(2);
    let pieces = [": keep-alive\n\n", "event: ping\n\n", "data: [DONE]\n\n"];
    let late = Behaviour {
        between: Pause::Until(gate.clone()),
        raw: Some(pieces.map(str::to_owned).into()),
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [late]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let answer = world.ask(asked).await;
    assert_eq!(answer.header("x-openclaw-model"), Some("spare-1"));
    assert!(!answer.body.contains("keep-alive"));
    gate.open();
    world.settled().await;
    assert!(world.book.endings().contains(&"drained"));
}

#[tokio::test]
async fn a_probe_whose_agent_hangs_up_leaves_the_next_one_to_another() {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let busy = Behaviour::status(429).with_header("retry-after", "30");
    let slow = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::default()
    };
    world
        .fake
        .script("big-1", [busy, slow, Behaviour::default()]);
    assert_eq!(world.chat("big").await.status, 429);
    world.clock.pass(Duration::from_secs(30));
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let reached = async {
        world.fake.until(|seen| seen.len() == 2).await;
    };
    send_and_hang_up(world.address, asked, reached).await;
    let mut closed = world.closed.subscribe();
    closed
        .wait_for(|closed| *closed == 2)
        .await
        .expect("the world");
    gate.open();
    world.settled().await;
    assert_eq!(world.chat("big").await.status, 200);
}

#[tokio::test]
async fn a_request_says_after_which_failures_it_goes_on() {
    let world = World::start(Setup::with_spare()).await;
    let asked = |causes: serde_json::Value| {
        let router = serde_json::json!({ "retry_on": causes }).to_string();
        Asked::post("/v1/chat/completions", &chat("big")).with("x-openclaw-router", &router)
    };
    world.fake.script("big-1", [Behaviour::status(503)]);
    let answer = world.ask(asked(serde_json::json!(["rate_limited"]))).await;
    assert_eq!(answer.status, 503);
    assert_eq!(world.asked(), ["big-1"]);
    let answer = world.ask(asked(serde_json::json!(["error"]))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.asked(), ["big-1", "big-1", "spare-1"]);
}

#[tokio::test]
async fn a_provider_with_another_key_is_asked_at_once() {
    let world = World::start(Setup::default()).await;
    let spent = Behaviour::status(429).with_header("retry-after", "3600");
    world.fake.script("big-1", [spent, Behaviour::default()]);
    assert_eq!(world.chat("big").await.status, 429);
    let same = settings(&world.setup, &world.fake);
    world.gateway.replace(same.clone());
    assert_eq!(world.chat("big").await.code(), "provider_cooling");
    let mut other = same;
    let hub = other.providers.get_mut("hub").expect("a provider");
    Arc::make_mut(hub).key = Key::new("another-key");
    world.gateway.replace(other);
    assert_eq!(world.chat("big").await.status, 200);
    let told = world.book.told();
    let turns = told.iter().filter(|line| line.ends_with(" hub"));
    assert_eq!(turns.collect::<Vec<_>>(), ["down hub", "up hub"]);
}

#[tokio::test]
async fn what_a_provider_says_of_the_key_reaches_no_agent() {
    let world = World::start(Setup::with_spare()).await;
    for status in [401, 403, 404] {
        world.fake.script("big-1", [Behaviour::status(status)]);
        let asked = Asked::post("/v1/chat/completions", &chat("big"));
        let asked = asked.with("x-openclaw-router", r#"{"retry_on": []}"#);
        let answer = world.ask(asked).await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (502, "provider_misconfigured".to_owned()));
        assert!(!answer.body.contains("told to answer"), "{}", answer.body);
        let told = format!("misconfigured big-1 {status}");
        assert!(world.book.told().contains(&told), "{:?}", world.book.told());
    }
    assert_eq!(world.asked(), ["big-1"; 3]);
    world.settled().await;
    assert_eq!(world.spent_or_uncertain(), 0);
}

#[tokio::test]
async fn of_several_targets_the_first_that_is_out_is_told() {
    let out = |provider: &str| Conclusion::ProviderOut {
        provider: provider.to_owned(),
    };
    for (big, spare, code, conclusion) in [
        (503, 401, "provider_failed", out("hub")),
        (401, 503, "provider_failed", out("second")),
        (503, 503, "provider_failed", out("hub")),
        (401, 401, "provider_misconfigured", Conclusion::Passing),
    ] {
        let world = World::start(Setup::with_spare()).await;
        world.fake.script("big-1", [Behaviour::status(big)]);
        world.fake.script("spare-1", [Behaviour::status(spare)]);
        let answer = world.chat("big").await;
        assert_eq!(answer.code(), code, "{big} and {spare}");
        let conclusions = world.book.conclusions.lock().expect("no panic").clone();
        assert_eq!(conclusions, [conclusion], "{big} and {spare}");
    }
}

#[tokio::test]
async fn each_request_comes_to_one_conclusion_and_outages_are_told() {
    let world = World::start(Setup::default()).await;
    let failing = [
        Behaviour::status(503),
        Behaviour::status(503),
        Behaviour::status(503),
    ];
    let answers = [Behaviour::status(422), Behaviour::default()];
    world
        .fake
        .script("big-1", failing.into_iter().chain(answers));
    let hub = || "hub".to_owned();
    let out = || Conclusion::ProviderOut { provider: hub() };
    for number in 0..4 {
        world.chat_numbered("big", number).await;
    }
    world.clock.pass(Duration::from_secs(11));
    world.chat("big").await;
    world.chat("big").await;
    world.chat("nobody").await;
    let conclusions = world.book.conclusions.lock().expect("no panic").clone();
    let answered = Conclusion::Answered { provider: hub() };
    let refused = Conclusion::Refused;
    let expected = [
        out(),
        out(),
        out(),
        out(),
        refused.clone(),
        answered,
        refused,
    ];
    assert_eq!(conclusions, expected);
    let turns = ["down hub", "up hub"];
    let told = world.book.told();
    let told = told.iter().filter(|line| turns.contains(&line.as_str()));
    assert_eq!(told.collect::<Vec<_>>(), turns);
}

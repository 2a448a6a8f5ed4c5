//! Prompts and answers that are judged before they pass.

use std::time::Duration;

use claw_gateway::llm::validate::content_safety::{ContentSafety, Judged, OnFailure};
use fakellm::{Behaviour, Gate, Pause};
use serde_json::{Value, json};

use crate::client::Asked;
use crate::world::{Setup, World, chat, streamed};

fn setup(judged: Judged) -> Setup {
    let mut setup = Setup::default();
    setup.agent.content_safety = Some(ContentSafety {
        judged,
        ..ContentSafety::new("second".into())
    });
    setup
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

#[tokio::test]
async fn a_prompt_that_is_judged_unsafe_reaches_no_model() {
    let world = World::start(setup(Judged::Prompts)).await;
    let answer = world.ask(asking("How do I harm it?")).await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "unsafe_content".to_owned())
    );
    assert!(answer.body.contains("violence"), "{}", answer.body);
    assert_eq!(world.asked(), ["moderation"]);
    let seen = world.fake.seen();
    assert_eq!(seen[0].header("authorization"), Some("Bearer provider-key"));
    assert_eq!(seen[0].json(), json!({"input": ["How do I harm it?"]}));
    let told = "judged unsafe in prompt: violence".to_owned();
    assert!(world.book.told().contains(&told), "{:?}", world.book.told());

    world.fake.script("big-1", [says("No harm is done.")]);
    assert_eq!(world.ask(asking("How are you?")).await.status, 200);
    assert_eq!(world.asked(), ["moderation", "moderation", "big-1"]);
}

#[tokio::test]
async fn an_answer_that_is_judged_unsafe_is_charged_and_not_shown() {
    let world = World::start(setup(Judged::Answers)).await;
    for (path, body) in [
        ("/v1/chat/completions", chat("big")),
        ("/v1/chat/completions", streamed("big")),
        ("/v1/messages", streamed("claude")),
    ] {
        for id in ["big-1", "claude-1"] {
            world
                .fake
                .script(id, [says("Do harm to it!"), says("Be kind.")]);
        }
        let answer = world.ask(Asked::post(path, &body)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "unsafe_content".to_owned())
        );
        assert!(!answer.body.contains("Do harm"), "{}", answer.body);
        let answer = world.ask(Asked::post(path, &body)).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.broke_off);
    }
    world.settled().await;
    assert_eq!(world.book.settled().len(), 6);
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn what_nobody_judges_passes_only_where_that_is_allowed() {
    let never = Gate::default();
    let silent = Behaviour {
        before_head: Pause::Until(never),
        ..Behaviour::default()
    };
    let nonsense = Behaviour {
        raw: Some(vec![r#"{"results": []}"#.to_owned()]),
        ..Behaviour::default()
    };
    let failures = [Behaviour::status(500), nonsense, silent];
    for (on_failure, status) in [(OnFailure::Block, 503), (OnFailure::Allow, 200)] {
        let mut setup = setup(Judged::Both);
        if let Some(safety) = &mut setup.agent.content_safety {
            safety.on_failure = on_failure;
            safety.timeout = Duration::from_millis(200);
        }
        let world = World::start(setup).await;
        for failure in &failures {
            world.fake.script("moderation", [failure.clone()]);
            let answer = world.chat("big").await;
            assert_eq!(answer.status, status, "{failure:?}");
        }
        let told = world.book.told();
        let unjudged = format!("unjudged prompt {on_failure:?}");
        let count = told.iter().filter(|line| **line == unjudged).count();
        assert_eq!(count, failures.len(), "{told:?}");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_judges_is_not_shown() {
    let world = World::start(setup(Judged::Both)).await;
    let works = Behaviour::default();
    world
        .fake
        .script("moderation", [works, Behaviour::status(500)]);
    let answer = world.chat("big").await;
    assert_eq!(
        (answer.status, answer.code()),
        (503, "content_not_judged".to_owned())
    );
    world.settled().await;
    assert_eq!(world.book.endings(), ["answered"]);
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn a_judge_that_is_no_provider_of_the_fleet_lets_nothing_pass() {
    let mut setup = setup(Judged::Prompts);
    setup.agent.content_safety = Some(ContentSafety::new("nobody".into()));
    let world = World::start(setup).await;
    assert_eq!(world.chat("big").await.code(), "content_not_judged");
    assert_eq!(world.asked(), Vec::<Value>::new());
}

//! Agents that are halted: they call no model, and what they had begun is settled.

use claw_gateway::Halt;
use fakellm::{Behaviour, Gate, OnHangUp as Bills, Pause};

use crate::client::{Answer, Asked};
use crate::world::{Setup, World, streamed};

fn halt(world: &World) {
    let halt = Halt {
        told: "egress since 2026-03-05T12:00:00Z by uid 1000: it spends too much".into(),
        lift: "clawctl resume --halt coder".into(),
    };
    world.halts.turn("coder", Some(halt));
}

fn is_refused(answer: &Answer) {
    let told = (answer.status, answer.code());
    assert_eq!(told, (403, "halted".to_owned()), "{}", answer.body);
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn a_halted_agent_is_refused_with_who_did_it_and_what_lifts_it() {
    let world = World::start(Setup::default()).await;
    halt(&world);
    let answer = world.chat("big").await;
    is_refused(&answer);
    let message = answer.json()["error"]["message"].clone();
    let sentence = "coder is halted: egress since 2026-03-05T12:00:00Z by uid 1000: it spends too \
                    much; until `clawctl resume --halt coder` lifts that, it calls no model";
    assert_eq!(message, sentence);
    assert!(world.fake.seen().is_empty());
    assert_eq!(world.ask(Asked::get("/v1/budget")).await.status, 200);

    world.halts.turn("coder", None);
    assert_eq!(world.chat("big").await.status, 200);
}

#[tokio::test]
async fn a_halt_is_of_one_agent_alone() {
    let world = World::start(Setup::default()).await;
    let halt = Halt {
        told: "kill".into(),
        lift: "nothing".into(),
    };
    world.halts.turn("coder-2", Some(halt));
    assert_eq!(world.chat("big").await.status, 200);
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_is_refused_and_paid_for() {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let slow = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::tokens(60)
    };
    world.fake.script("big-1", [slow]);
    let halting = async {
        world.fake.until(|seen| seen.len() == 1).await;
        halt(&world);
    };
    let (answer, ()) = tokio::join!(world.chat("big"), halting);
    is_refused(&answer);
    gate.open();
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
    assert_eq!(world.asked(), ["big-1"]);
}

#[tokio::test]
async fn a_stream_that_is_under_way_breaks_off_and_its_provider_is_cancelled() {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let slow = Behaviour {
        between: Pause::Until(gate.clone()),
        hang_up: Bills::StopsBilling,
        ..Behaviour::tokens(60)
    };
    world.fake.script("big-1", [slow]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let mut begun = world.begin(asked).await;
    gate.permit(7);
    begun.piece().await.expect("a piece");
    halt(&world);
    assert!(begun.whole().await.broke_off);
    world.settled().await;
    gate.open();
    let seen = world.fake.until(|seen| seen[0].ended).await;
    assert!(seen[0].tokens_sent < 60, "the provider was cancelled");
    assert_eq!(world.book.endings(), ["abandoned"]);
    assert!(world.spent_or_uncertain() >= world.bill());
}

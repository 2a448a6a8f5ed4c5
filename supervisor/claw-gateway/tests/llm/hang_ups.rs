//! Agents that hang up: what the provider bills is counted all the same.

use std::time::Duration;

use claw_gateway::llm::serve::OnHangUp;
use fakellm::{Behaviour, Gate, OnHangUp as Bills, OnLimit, Pause};

use crate::client::{Asked, send_and_hang_up};
use crate::world::{Setup, World, chat, streamed};

/// Of eight kilobytes each: more than the buffers of four sockets hold.
const EVENTS: u64 = 20_000;

fn gated(gate: &Gate, hang_up: Bills) -> Behaviour {
    Behaviour {
        between: Pause::Until(gate.clone()),
        hang_up,
        ..Behaviour::tokens(60)
    }
}

async fn hangs_up_in_a_stream(on_hang_up: OnHangUp, bills: Bills) -> (World, Gate) {
    let setup = Setup {
        on_hang_up,
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let gate = Gate::default();
    world.fake.script("big-1", [gated(&gate, bills)]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let mut begun = world.begin(asked).await;
    gate.permit(7);
    let mut text = String::new();
    while !text.contains("w6 ") {
        let piece = begun.piece().await.expect("more");
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    begun.hang_up();
    (world, gate)
}

#[tokio::test]
async fn a_cancelled_stream_costs_what_was_seen_and_the_rest_is_uncertain() {
    let (world, gate) = hangs_up_in_a_stream(OnHangUp::Cancel, Bills::StopsBilling).await;
    world.settled().await;
    gate.open();
    let seen = world.fake.until(|seen| seen[0].ended).await;
    assert!(seen[0].tokens_sent < 60, "the provider was cancelled");
    assert_eq!(world.book.endings(), ["abandoned"]);
    assert!(world.spent() > 0);
    assert!(world.spent_or_uncertain() >= world.bill());
}

#[tokio::test]
async fn a_provider_that_bills_on_after_a_cancel_is_covered() {
    let (world, gate) = hangs_up_in_a_stream(OnHangUp::Cancel, Bills::BillsAll).await;
    world.settled().await;
    gate.open();
    world.fake.until(|seen| seen[0].ended).await;
    assert!(world.spent_or_uncertain() >= world.bill());
}

#[tokio::test]
async fn a_drained_stream_costs_exactly_what_is_billed() {
    let (world, gate) = hangs_up_in_a_stream(OnHangUp::Drain, Bills::BillsAll).await;
    gate.open();
    world.settled().await;
    assert_eq!(world.book.endings(), ["drained"]);
    assert_eq!(world.spent(), world.bill());
    assert_eq!(world.today().uncertain().pico(), 0);
}

#[tokio::test]
async fn an_agent_that_hangs_up_before_its_whole_answer_pays_for_it() {
    for on_hang_up in [OnHangUp::Cancel, OnHangUp::Drain] {
        let setup = Setup {
            on_hang_up,
            ..Setup::default()
        };
        let world = World::start(setup).await;
        let gate = Gate::default();
        let slow = Behaviour {
            before_head: Pause::Until(gate.clone()),
            ..Behaviour::tokens(60)
        };
        world.fake.script("big-1", [slow]);
        let asked = Asked::post("/v1/chat/completions", &chat("big"));
        let reached = async {
            world.fake.until(|seen| seen.len() == 1).await;
        };
        send_and_hang_up(world.address, asked, reached).await;
        gate.open();
        world.settled().await;
        assert_eq!(world.spent(), world.bill(), "{on_hang_up:?}");
    }
}

#[tokio::test]
async fn an_agent_that_hangs_up_before_its_stream_begins_is_not_retried_for() {
    let mut setup = Setup::with_spare();
    setup.agent.max_retries = 3;
    let world = World::start(setup).await;
    let slow = Behaviour {
        before_head: Pause::Until(Gate::default()),
        ..Behaviour::tokens(60)
    };
    world.fake.script("big-1", [slow]);
    let asked = Asked::post("/v1/chat/completions", &streamed("big"));
    let reached = async {
        world.fake.until(|seen| seen.len() == 1).await;
    };
    send_and_hang_up(world.address, asked, reached).await;
    world.settled().await;
    assert_eq!(world.asked(), ["big-1"]);
    assert_eq!(world.book.endings(), ["abandoned"]);
    assert!(world.spent_or_uncertain() >= world.bill());
}

#[tokio::test]
async fn an_agent_that_reads_slowly_slows_its_provider() {
    let world = World::start(Setup::default()).await;
    let endless = Behaviour {
        limit: OnLimit::Ignored,
        word_bytes: 8 * 1024,
        ..Behaviour::tokens(EVENTS)
    };
    world.fake.script("free-1", [endless]);
    let asked = Asked::post("/v1/chat/completions", &streamed("free"));
    let mut begun = world.begin(asked).await;
    begun.piece().await.expect("a piece");
    // Sockets and buffers hold some of it, but not all.
    let mut last = 0;
    let stuck = loop {
        let waited = tokio::time::timeout(
            Duration::from_millis(500),
            world.fake.until(|seen| seen[0].tokens_sent > last),
        );
        match waited.await {
            Ok(seen) => last = seen[0].tokens_sent,
            Err(_quiet) => break last,
        }
    };
    assert!(stuck < EVENTS, "{stuck} events were read for nobody");
    begun.hang_up();
}

#[tokio::test]
async fn an_agent_that_stops_reading_holds_its_call_no_longer_than_a_silent_provider() {
    let mut setup = Setup::default();
    setup.agent.idle_timeout = Duration::from_millis(300);
    let world = World::start(setup).await;
    let endless = Behaviour {
        limit: OnLimit::Ignored,
        word_bytes: 8 * 1024,
        ..Behaviour::tokens(EVENTS)
    };
    world.fake.script("free-1", [endless]);
    let asked = Asked::post("/v1/chat/completions", &streamed("free"));
    let mut begun = world.begin(asked).await;
    begun.piece().await.expect("a piece");
    world.settled().await;
    assert_eq!(world.book.endings(), ["abandoned"]);
    let answer = begun.whole().await;
    assert!(answer.broke_off, "the agent must not take it for the end");
}

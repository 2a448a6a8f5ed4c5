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

#[tokio::test]
async fn an_agent_that_hangs_up_while_it_waits_for_room_is_not_served() {
    let setup = Setup {
        rate_limit: Some("1/s"),
        ..Setup::with_spare()
    };
    let world = World::start(setup).await;
    assert_eq!(world.chat("spare").await.status, 200);
    world.fake.script("big-1", [Behaviour::status(500)]);
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let passed_by = async {
        let mut told = world.book.told.subscribe();
        let ended = |told: &Vec<String>| told.contains(&"ended big-1".to_owned());
        told.wait_for(ended).await.expect("the book");
    };
    send_and_hang_up(world.address, asked, passed_by).await;
    world.settled().await;
    assert_eq!(world.asked(), ["spare-1", "big-1"]);
    assert_eq!(world.book.reserved().len(), 2);
}

#[tokio::test]
async fn an_agent_that_hangs_up_while_its_call_is_recorded_is_not_served() {
    let world = World::start(Setup::default()).await;
    let busy = world.book.busy.write().await;
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let recorded = async {
        let mut arrived = world.book.arrived.subscribe();
        arrived
            .wait_for(|arrived| *arrived == 1)
            .await
            .expect("the book");
    };
    send_and_hang_up(world.address, asked, recorded).await;
    let mut closed = world.closed.subscribe();
    closed
        .wait_for(|closed| *closed == 1)
        .await
        .expect("the world");
    drop(busy);
    world.settled().await;
    assert!(world.fake.seen().is_empty(), "nobody wants an answer");
    assert_eq!(world.book.endings(), ["failed"]);
    assert_eq!(world.spent_or_uncertain(), 0);
}

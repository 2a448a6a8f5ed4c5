//! Many calls at once, each of which ends in its own way.

use std::sync::Arc;
use std::time::Duration;

use claw_gateway::llm::serve::CallRecord;
use fakellm::{Behaviour, Ending, OnHangUp, OnLimit, Pause, Report};

use crate::client::Asked;
use crate::world::{Setup, World, chat, streamed};

/// What may happen to a call, each in its turn.
fn mixed(number: usize) -> Behaviour {
    let tokens = Behaviour::tokens(40);
    match number % 7 {
        0 => tokens,
        1 => Behaviour {
            ending: Ending::Cut { after: 3 },
            ..tokens
        },
        2 => Behaviour {
            report: Report::Missing,
            ..tokens
        },
        3 => Behaviour::status(422),
        4 => Behaviour {
            hang_up: OnHangUp::BillsAll,
            between: Pause::For(Duration::from_millis(1)),
            ..tokens
        },
        5 => Behaviour {
            limit: OnLimit::Ignored,
            ..Behaviour::tokens(150)
        },
        _ => Behaviour {
            ending: Ending::Unanswered,
            ..tokens
        },
    }
}

/// One of an agent's calls; some hang up once they have an answer.
async fn call(world: Arc<World>, number: usize) {
    let body = if number.is_multiple_of(3) {
        chat("big")
    } else {
        streamed("big")
    };
    let begun = world
        .begin(Asked::post("/v1/chat/completions", &body))
        .await;
    if number.is_multiple_of(4) {
        begun.hang_up();
    } else {
        begun.whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_many_calls_nothing_stays_held_and_the_bill_is_covered() {
    let world = Arc::new(World::start(Setup::with_spare()).await);
    for wave in 0..6 {
        world.fake.script("big-1", (wave..wave + 24).map(mixed));
        let calls = (0..24).map(|number| tokio::spawn(call(Arc::clone(&world), number)));
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("an answer, or none");
        }
        world.settled().await;
        // The provider has cooled by the next wave.
        world.clock.pass(Duration::from_secs(60));
    }
    let ended = world
        .fake
        .until(|seen| seen.iter().all(|seen| seen.ended))
        .await;
    assert!(ended.len() > 24, "{} calls were made", ended.len());
    assert!(world.spent_or_uncertain() >= world.bill());
    let ids = |calls: &[CallRecord]| {
        let mut ids: Vec<_> = calls.iter().map(|call| call.id).collect();
        ids.sort_unstable();
        ids
    };
    let (reserved, settled) = (world.book.reserved(), world.book.settled());
    assert_eq!(ids(&reserved), ids(&settled), "each is settled once");
    let endings = world.book.endings();
    for ending in ["answered", "failed", "cut_by_provider", "abandoned"] {
        assert!(
            endings.contains(&ending),
            "{ending} was never tried: {endings:?}"
        );
    }
}

use std::collections::BTreeMap;
use std::thread;

use claw_gateway::llm::budget::{Account, Period, Scope};

use super::reference::Key;
use super::world::{Provider, World};

/// How often all accounts are compared.
const COMPARED_EVERY: usize = 2_000;

/// Settled, held and uncertain, in pico-USD.
type Amounts = [i64; 3];

fn of_ledger(world: &World) -> BTreeMap<Key, Amounts> {
    let accounts = world.ledger.accounts().map(|(window, account)| {
        let agent = match &window.scope {
            Scope::Fleet => None,
            Scope::Agent(name) => Some(name.parse().expect("a number")),
        };
        let day = match window.period {
            Period::Day => Some(window.start.day()),
            Period::Month => None,
        };
        let key = (agent, window.start.year(), window.start.month(), day);
        (key, amounts(account))
    });
    accounts.filter(|(_, amounts)| *amounts != [0; 3]).collect()
}

fn amounts(account: &Account) -> Amounts {
    [account.settled(), account.held(), account.uncertain()].map(|money| money.pico())
}

fn of_reference(world: &World) -> BTreeMap<Key, Amounts> {
    let sums = world.reference.all();
    let sums = sums.map(|(key, sums)| (*key, [sums.settled, sums.held, sums.uncertain]));
    sums.filter(|(_, amounts)| *amounts != [0; 3]).collect()
}

fn run(seed: u64, provider: Provider, outcomes: usize) -> World {
    let mut world = World::new(seed, provider);
    let mut steps = 0;
    while world.outcomes < outcomes {
        world.step();
        steps += 1;
        if steps % COMPARED_EVERY == 0 {
            assert_eq!(of_ledger(&world), of_reference(&world));
        }
    }
    world.end();
    assert_eq!(of_ledger(&world), of_reference(&world));
    world
}

/// Runs the world of a seed to its end; answers how many calls ended and were refused.
fn is_sound(seed: u64) -> (usize, usize) {
    let provider = match seed % 5 {
        4 => Provider::Overruns,
        _ => Provider::Honest,
    };
    let world = run(seed, provider, 50_000);
    assert_eq!(world.ledger.in_flight(), 0);
    for (window, account) in world.ledger.accounts() {
        assert_eq!(account.held().pico(), 0, "{window:?}");
    }
    for (key, sums) in world.reference.all() {
        let counted = sums.exposed <= sums.settled + sums.uncertain;
        assert!(counted || provider == Provider::Overruns, "{key:?}");
    }
    (world.outcomes, world.refused)
}

#[test]
fn a_million_mixed_outcomes_overspend_nothing_and_leave_nothing_held() {
    let worlds: Vec<_> = thread::scope(|scope| {
        // A panic tells the name of its thread.
        let thread = |seed| thread::Builder::new().name(format!("seed {seed}"));
        let start = |seed| thread(seed).spawn_scoped(scope, move || is_sound(seed));
        let started: Vec<_> = (0..20).map(start).collect();
        let ended = started.into_iter().map(|thread| {
            let thread = thread.expect("a thread is to be had");
            thread.join().expect("the ledger was unsound")
        });
        ended.collect()
    });
    let outcomes: usize = worlds.iter().map(|(outcomes, _)| outcomes).sum();
    let refused: usize = worlds.iter().map(|(_, refused)| refused).sum();
    assert!(outcomes >= 1_000_000);
    assert!(refused > outcomes / 20, "limits were felt: {refused}");
}

//! The whole core against a world that lies.
//!
//! `CLAW_SIM_SEED=7` runs that one world and prints its last steps, `CLAW_SIM_STEPS=50000000`
//! runs longer. A failure prints the seed with which it comes back, and its last steps
//! (`CLAW_SIM_TRACED=500` more of them).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic and print, and looks only at what its rule is about"
)]

mod chaos;
mod course;
mod ending;
mod fleets;
mod host;
mod invariants;
mod jobs;
mod journal;
mod planted;
mod providers;
mod random;
mod sut;
mod temper;
mod trace;
mod world;

use std::time::Duration;

use invariants::Violation;
use sut::Plant;
use world::World;

/// Steps under faults before a world is left in peace.
const STEPS_PER_WORLD: u64 = 3000;

/// No world lasts longer, however little happens in it.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Steps in the ordinary test run.
const STEPS: u64 = 1_000_000;

/// How many steps before a failure are printed.
const TRACED: u64 = 60;

struct Failure {
    seed: u64,
    step: u64,
    violation: Violation,
}

fn live(seed: u64, plant: Plant, trace_from: Option<u64>) -> Result<u64, Failure> {
    let mut world = World::new(seed, plant);
    world.trace_from = trace_from;
    let mut outcome = Ok(());
    while outcome.is_ok() && world.steps < STEPS_PER_WORLD && world.time < LONGEST {
        outcome = world.advance();
    }
    let outcome = outcome.and_then(|()| ending::come_to_an_end(&mut world));
    match outcome {
        Ok(()) => Ok(world.steps),
        Err(violation) => Err(Failure {
            seed,
            step: world.steps,
            violation,
        }),
    }
}

/// Runs a world; when it fails, runs it once more and prints how it came to that.
fn run(seed: u64) -> u64 {
    match live(seed, Plant::None, None) {
        Ok(steps) => steps,
        Err(failure) => {
            let from = failure
                .step
                .saturating_sub(variable("CLAW_SIM_TRACED").unwrap_or(TRACED));
            let again = live(seed, Plant::None, Some(from));
            assert!(
                again.is_err(),
                "seed {seed} failed and then did not: not deterministic"
            );
            panic!(
                "seed {}, step {}: {}\nagain with: CLAW_SIM_SEED={} cargo test -p claw-core --test simulation",
                failure.seed, failure.step, failure.violation, failure.seed
            );
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// A seed that nobody chose, from the address space layout and the process id.
fn fresh_seed() -> u64 {
    let here = std::ptr::from_ref(&STEPS).addr() as u64;
    random::Random::new(here ^ (u64::from(std::process::id()) << 32)).next() >> 16
}

/// The first seed of the ordinary run: the same worlds every time, so that a change that breaks a
/// rule is what fails, and not the luck of the day. `CLAW_SIM_FRESH=1` draws new ones.
const FIRST_SEED: u64 = 100;

#[test]
fn a_million_steps_break_no_rule() {
    let chosen = variable("CLAW_SIM_SEED");
    let first = match chosen {
        Some(seed) => seed,
        None if variable("CLAW_SIM_FRESH").is_some() => fresh_seed(),
        None => FIRST_SEED,
    };
    let least = if chosen.is_some() { 1 } else { STEPS };
    let most = variable("CLAW_SIM_STEPS").unwrap_or(least);
    println!("first seed {first}");
    let (mut steps, mut seed) = (0, first);
    while steps < most {
        steps += run(seed);
        seed += 1;
    }
    println!("{steps} steps in {} worlds", seed - first);
}

/// For those who hunt: runs many worlds and counts the rules that break, with a seed for each.
#[test]
#[ignore = "a survey, not a test"]
fn survey_of_broken_rules() {
    let first = variable("CLAW_SIM_SEED").unwrap_or(1);
    let mut broken = std::collections::BTreeMap::<&str, Vec<(u64, String)>>::new();
    for seed in first..first + variable("CLAW_SIM_WORLDS").unwrap_or(200) {
        let lived = std::panic::catch_unwind(|| live(seed, Plant::None, None));
        match lived {
            Ok(Ok(_)) => {}
            Ok(Err(Failure {
                violation, step, ..
            })) => {
                let detail = format!(
                    "step {step}: {}",
                    violation.detail.chars().take(300).collect::<String>()
                );
                broken
                    .entry(violation.rule)
                    .or_default()
                    .push((seed, detail));
            }
            Err(_) => broken
                .entry("panic")
                .or_default()
                .push((seed, String::new())),
        }
    }
    for (rule, seeds) in &broken {
        println!("{rule}: {}", seeds.len());
        for (seed, detail) in seeds.iter().take(4) {
            println!("   seed {seed} {detail}");
        }
    }
}

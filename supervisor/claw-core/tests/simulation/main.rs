//! The whole core against a world that lies.
//!
//! `CLAW_SIM_SEED=7` runs that one world and prints its last steps, `CLAW_SIM_STEPS=50000000`
//! runs longer, `CLAW_SIM_THREADS=2` on so many threads. A failure prints the seed with which it
//! comes back, and its last steps (`CLAW_SIM_TRACED=500` more of them).

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

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use invariants::{Verdict, Violation};
use planted::Plant;
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
    let lived = catch_unwind(AssertUnwindSafe(|| live_in(&mut world)));
    let outcome = lived.unwrap_or_else(|_| {
        Err(Violation {
            rule: "panic",
            detail: "the message stands above".to_owned(),
        })
    });
    match outcome {
        Ok(()) => Ok(world.steps),
        Err(violation) => Err(Failure {
            seed,
            step: world.steps,
            violation,
        }),
    }
}

fn live_in(world: &mut World) -> Verdict {
    while world.steps < STEPS_PER_WORLD && world.time < LONGEST {
        world.advance()?;
    }
    ending::come_to_an_end(world)
}

/// Runs a world; when it fails, runs it once more and prints how it came to that.
fn run(seed: u64) -> Result<u64, String> {
    let failure = match live(seed, Plant::None, None) {
        Ok(steps) => return Ok(steps),
        Err(failure) => failure,
    };
    let traced = variable("CLAW_SIM_TRACED").unwrap_or(TRACED);
    let trace_from = failure.step.saturating_sub(traced);
    let again = match live(seed, Plant::None, Some(trace_from)) {
        Err(_) => {
            format!("again with: CLAW_SIM_SEED={seed} cargo test -p claw-core --test simulation")
        }
        Ok(_) => "it does not when it is run again: not deterministic".to_owned(),
    };
    let Failure {
        step, violation, ..
    } = failure;
    Err(format!("seed {seed}, step {step}: {violation}\n{again}"))
}

/// Runs worlds from one seed on until they have made so many steps, or one breaks a rule. Returns
/// how many worlds, and how many steps.
fn run_worlds(first: u64, most: u64, threads: u64) -> Result<(u64, u64), String> {
    let (next, steps) = (AtomicU64::new(first), AtomicU64::new(0));
    let broken: OnceLock<String> = OnceLock::new();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while steps.load(Ordering::Relaxed) < most && broken.get().is_none() {
                    match run(next.fetch_add(1, Ordering::Relaxed)) {
                        Ok(lived) => _ = steps.fetch_add(lived, Ordering::Relaxed),
                        // The first that is told is enough.
                        Err(failure) => _ = broken.set(failure),
                    }
                }
            });
        }
    });
    match broken.into_inner() {
        Some(failure) => Err(failure),
        None => Ok((next.into_inner() - first, steps.into_inner())),
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
    // One thread runs the same worlds each time; more of them may differ by the last.
    let threads = variable("CLAW_SIM_THREADS").unwrap_or(1);
    println!("first seed {first}");
    match run_worlds(first, most, threads) {
        Ok((worlds, steps)) => println!("{steps} steps in {worlds} worlds"),
        Err(failure) => panic!("{failure}"),
    }
}

/// For those who hunt: runs many worlds and counts the rules that break, with a seed for each.
#[test]
#[ignore = "a survey, not a test"]
fn survey_of_broken_rules() {
    let first = variable("CLAW_SIM_SEED").unwrap_or(1);
    let mut broken = std::collections::BTreeMap::<&str, Vec<(u64, String)>>::new();
    for seed in first..first + variable("CLAW_SIM_WORLDS").unwrap_or(200) {
        let Err(failure) = live(seed, Plant::None, None) else {
            continue;
        };
        let Failure {
            violation, step, ..
        } = failure;
        let detail: String = violation.detail.chars().take(300).collect();
        let seeds = broken.entry(violation.rule).or_default();
        seeds.push((seed, format!("step {step}: {detail}")));
    }
    for (rule, seeds) in &broken {
        println!("{rule}: {}", seeds.len());
        for (seed, detail) in seeds.iter().take(4) {
            println!("   seed {seed} {detail}");
        }
    }
}

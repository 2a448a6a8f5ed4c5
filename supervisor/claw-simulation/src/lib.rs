//! A fleet in virtual time: the core that the supervisor runs, in a model of the world.
//!
//! ```text
//!  Setting ──► World ── Event ──► claw_core::Fleet ── Action ──► Machine, Journal, Tally
//!                ▲                                                  │
//!                └───────────── queue of what happens next ◄────────┘
//! ```
//!
//! Nothing of a decision is made here: when a slot is due, who waits, what backs off and what is
//! given up is what [`claw_core::Fleet`] says. Here is what it decides about: processes that start,
//! become ready, work and end as [`Assumption`]s have it, calls to models that cost what they are
//! assumed to cost, and [`Faults`]. There is no clock, no IO and no thread; a [`Setting`] always
//! makes the same [`Report`].
#![forbid(unsafe_code)]

mod assumption;
mod clock_changes;
mod faults;
mod journal;
mod machine;
mod queue;
mod spending;
mod tally;
mod warnings;
mod world;

pub mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use claw_core::{AgentName, FleetSpec, Wall};
use claw_gateway::llm::budget::Budgets;

pub use assumption::{Assumption, Calls, Readiness};
pub use faults::{Faults, RATES};
pub use report::Report;

/// All that a simulation depends on.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The fleet.
    pub fleet: Arc<FleetSpec>,
    /// How agents behave; for one that is not named as [`Assumption::default`] has it.
    pub assumptions: BTreeMap<AgentName, Assumption>,
    /// Agents that have access to models, by the accounts that their calls are booked on: replicas
    /// share one.
    pub accounts: BTreeMap<AgentName, Arc<str>>,
    /// What may be spent on models.
    pub budgets: Budgets,
    /// Agents whose own program may say when they run, which nobody knows here.
    pub scheduled_by_program: BTreeSet<AgentName>,
    /// When the supervisor starts.
    pub from: Wall,
    /// How much time passes.
    pub span: Duration,
    /// Decides jitter and faults.
    pub seed: u64,
    /// Whether anything goes wrong that was not assumed.
    pub faults: Faults,
}

/// Lets the time of a setting pass, and tells what happened.
#[must_use]
pub fn simulate(setting: &Setting) -> Report {
    world::World::new(setting).run()
}

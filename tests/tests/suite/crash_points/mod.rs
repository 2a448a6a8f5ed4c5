//! Row 1 of the fault matrix: somebody is killed before and after every step that others rely on.
//!
//! ```text
//!  a fleet ──► a point is armed ──► something is asked for ──► who comes there dies
//!     ▲                                                             │
//!     └── what must hold, holds ◄── the supervisor is started ◄─────┘
//! ```
//!
//! Each step has its place in [`battery_of`], so that one without a test does not compile.

mod arms;
mod files;
mod lives;
mod money;
pub(crate) mod remains;
mod runs;
mod work;

use claw_failpoint::{Point, Step};

/// Which test kills at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Battery {
    Lives,
    Runs,
    Work,
    Money,
    Files,
}

const fn battery_of(step: Step) -> Battery {
    match step {
        Step::Start
        | Step::Recovery
        | Step::Intent
        | Step::StartedRow
        | Step::Outcome
        | Step::Goal
        | Step::RestartWait
        | Step::Launch
        | Step::Signal
        | Step::InstanceRemoval
        | Step::ShimFork
        | Step::Lock
        | Step::ChildFork
        | Step::RunRecord
        | Step::Exec
        | Step::StartReport
        | Step::ExitRecord
        | Step::ExitReport
        | Step::GroupRemoval => Battery::Lives,
        Step::Slot
        | Step::RunQueued
        | Step::RunBegun
        | Step::RunRetried
        | Step::RunFinished
        | Step::Request
        | Step::Answer
        | Step::JournalSync => Battery::Runs,
        Step::StoreCommit | Step::StoreSync | Step::WorkDone => Battery::Work,
        Step::Reservation | Step::Settlement => Battery::Money,
        Step::LastGood | Step::Removal => Battery::Files,
    }
}

fn points(battery: Battery) -> impl Iterator<Item = Point> {
    Point::all().filter(move |point| battery_of(point.step) == battery)
}

/// Who dies at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Supervisor,
    /// The spawner, a shim, or what is about to become an agent.
    Other,
}

const fn victim_of(step: Step) -> Victim {
    match step {
        Step::ShimFork
        | Step::Lock
        | Step::ChildFork
        | Step::RunRecord
        | Step::Exec
        | Step::StartReport
        | Step::ExitRecord
        | Step::ExitReport
        | Step::GroupRemoval => Victim::Other,
        Step::Start
        | Step::Recovery
        | Step::Intent
        | Step::StartedRow
        | Step::Outcome
        | Step::Goal
        | Step::RestartWait
        | Step::Launch
        | Step::Signal
        | Step::InstanceRemoval
        | Step::Slot
        | Step::RunQueued
        | Step::RunBegun
        | Step::RunRetried
        | Step::RunFinished
        | Step::Request
        | Step::Answer
        | Step::JournalSync
        | Step::StoreCommit
        | Step::StoreSync
        | Step::WorkDone
        | Step::Reservation
        | Step::Settlement
        | Step::LastGood
        | Step::Removal => Victim::Supervisor,
    }
}

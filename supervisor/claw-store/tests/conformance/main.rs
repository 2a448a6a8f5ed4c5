//! The conformance suite of state and events: one test per statement of the design, named after it.
//!
//! Where a statement names a count that takes minutes in a debug build, the test runs fewer and
//! says so with [`support::scaled`]; `CLAW_CONFORMANCE=full` runs all of them. Statements that
//! cannot be shown with one embedded store are in `waiting.rs`, each with its reason. All of it runs
//! once more in `under_kills.rs`, where the host of the store is killed; which test holds which
//! statement stands in `docs/conformance.md`.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, in its helpers too"
)]

mod causality;
mod child;
mod delivery;
mod durability;
mod failure;
mod figures;
mod gathering;
mod grammar;
mod history;
mod hosted;
mod lifecycle;
mod order;
mod planted;
mod pressure;
mod publish;
mod retention;
mod sharding;
mod state;
mod state_faults;
mod state_history;
mod support;
mod time;
mod waiting;

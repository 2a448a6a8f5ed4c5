//! Sandboxes on a real container engine.
//!
//! The engine is the one that `CLAW_ENGINE` names, as in `DOCKER_HOST`, or one that the test starts
//! for itself. Where there is no Docker each test says that it is skipped.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is tests: a failure is a panic, and a skipped test is said"
)]

mod confinement;
mod engine;
mod files;
mod life;
mod run;

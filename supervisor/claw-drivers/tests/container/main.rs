//! The container driver with a real engine: the one at `CLAW_ENGINE`, or a private one.
//!
//! A test that the machine cannot run prints `SKIP <name>: <reason>`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::unused_async,
    reason = "a test fails by panicking, tells what it skips, and looks for one fact of many"
)]

#[path = "../conformance/mod.rs"]
mod conformance;
mod engine;
mod platform;

mod alike {
    crate::conformance::suite!(crate::platform::Containers);
}

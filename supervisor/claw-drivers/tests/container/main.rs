//! The container driver with a real engine: the one at `CLAW_ENGINE`, or a private one.
//!
//! A test that the machine cannot run prints `SKIP <name>: <reason>`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, tells what it skips, and looks for one fact of many"
)]

mod both;
#[path = "../conformance/mod.rs"]
mod conformance;
mod engine;
mod faults;
mod inside;
mod models;
mod platform;

/// The driver for processes re-enters its host's executable, here before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static REENTER: extern "C" fn() = {
    extern "C" fn reenter() {
        if let Some(code) = claw_drivers::process::reenter() {
            std::process::exit(i32::from(code));
        }
    }
    reenter
};

mod alike {
    crate::conformance::suite!(crate::platform::Containers);
}

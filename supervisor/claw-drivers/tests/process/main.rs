//! The process driver with real processes.
//!
//! The driver re-enters its host's executable as a fork server, before threads exist. The host
//! here is a test binary whose `main` belongs to the test harness, so the re-entry hangs in the
//! list of functions that run before `main`. The same way leads to the small programs in `agents`
//! that some tests run as agents.
//!
//! A test that the machine cannot run prints `SKIP <name>: <reason>`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, tells what it skips, and looks for one fact of many"
)]

#[path = "../conformance/mod.rs"]
mod conformance;

mod agents;
mod confined;
mod crash;
mod exec;
mod limits;
mod lockdown;
mod notify;
mod output;
mod performance;
mod platform;
mod probe;
mod session;
mod spawn;
mod tree;
mod user;
mod world;

mod alike {
    crate::conformance::suite!(crate::platform::Processes);
}

mod alike_sandboxed {
    crate::conformance::suite!(crate::platform::Sandboxed);
}

/// Runs before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static REENTER: extern "C" fn() = {
    extern "C" fn reenter() {
        if let Some(code) = claw_drivers::process::reenter() {
            std::process::exit(i32::from(code));
        }
        agents::reenter();
    }
    reenter
};

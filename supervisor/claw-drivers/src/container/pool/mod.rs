//! Sandboxes for code that is run once: containers that are ready before anybody asks.
//!
//! ```text
//!  Sandboxes ── run(name) ──► Pool ── takes ──► Sandbox ── exec ──► outcome
//!                              ▲                   └── removed, never used again
//!                              └── Keeper: starts the next one, removes what is idle or old
//! ```
//!
//! A ready sandbox is a started container whose main process only waits; a command is run in it by
//! `exec`, once. An image without a program that waits is run cold: a container is made for the
//! command itself. Each container ends by itself after a time, carries a label, and leaves a mark
//! in the data directory, so that none outlives its supervisor for long.

mod capture;
mod cold;
mod command;
mod container;
mod execute;
mod files;
mod housing;
mod keeper;
mod outcome;
mod queue;
mod ready;
mod sandboxes;
mod spec;

pub use command::Command;
pub use files::OutFile;
pub use outcome::{Outcome, RunError, Temperature};
pub use sandboxes::{SandboxConfig, SandboxStatus, Sandboxes};
pub use spec::SandboxSpec;

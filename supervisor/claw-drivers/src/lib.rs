//! Drivers: they carry out what the core orders and report what they saw.
//!
//! The only crate with `unsafe`. A driver takes no decision of its own: when to
//! stop, restart or give up is the core's to say.

pub mod container;
pub mod driver;
pub mod log;
pub mod process;
pub mod sandbox;
pub mod session;

mod drivers;
mod probe;

pub use driver::{Driver, FactSender, OpenInstance, Usage};
pub use drivers::Drivers;

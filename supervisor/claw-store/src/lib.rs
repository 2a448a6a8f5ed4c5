//! Durable things: the journal of lifecycles, always local.
#![forbid(unsafe_code)]

pub mod journal;

pub use journal::{Ack, Entry, Journal, JournalError, Opened, Options, Reader};

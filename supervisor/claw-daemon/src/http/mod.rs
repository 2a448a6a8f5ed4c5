//! The control API's server: parse, ask, render. Nothing is decided here.
//!
//! ```text
//!  unix socket ─┐                      ┌─ agents goals runs transitions ─► ports.fleet, journal
//!  (peer's uid) ├► connection ► router ┼─ logs events ─► outlet (slow readers) ◄─ ports
//!  loopback TCP ┘   limits      guard  ├─ config health metrics docs
//!                                      └─ idempotency ◄─► ports.journal
//! ```
//!
//! What the server needs of the daemon stands in [`Ports`].

mod agent_state;
mod agents;
mod bus;
mod bus_stream;
mod caller;
mod config;
mod connection;
mod denials;
mod derived_run;
mod docs;
mod envelope;
mod events;
mod exec;
mod extract;
mod goals;
mod guard;
mod halts;
mod health;
mod hooks;
mod idempotency;
mod learned;
mod limits;
mod listener;
mod llm;
mod llm_prices;
mod log_source;
mod logs;
mod meter;
mod metrics;
mod outcome;
mod outlet;
mod params;
pub mod ports;
mod problem;
mod router;
mod runs;
mod sandboxes;
mod seek;
mod server;
mod shared_state;
mod state;
mod stored_state;
mod stream_request;
mod transitions;
mod upgrade;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use caller::as_admin;
pub use idempotency::Stored;
pub use listener::{ListenError, Listeners};
pub use ports::Ports;
#[cfg(test)]
pub(crate) use router::app;
pub use server::{Running, serve};
pub use state::ApiState;

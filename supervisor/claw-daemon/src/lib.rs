//! The daemon: it hosts the core, reads the fleet file, and answers the control API.
//!
//! ```text
//!  host ── brings up ──► config, data_dir, journal, driver, supervise, http, signals, watch
//!  supervise ── Event ──► core ── Action ──► perform ──► journal, driver, agent_api, feed, metrics
//!  agent_api ── an agent's own socket ──► facts for supervise, state and events for the store
//! ```
#![forbid(unsafe_code)]

mod backups;
mod clock;
mod descriptors;
mod egress;
mod halts;
mod perform;
mod replicas;
mod retention;
mod sandboxes;
mod signals;
mod thread;
mod watch;
mod watchdog;
mod wiring;

pub mod agent_api;
pub mod api;
pub mod config;
pub mod data_dir;
pub mod error;
pub mod feed;
pub mod host;
pub mod http;
pub mod llm;
pub mod reload;
pub mod repair;
pub mod supervise;
pub mod telemetry;
pub mod upgrade;

pub use thread::BLOCKING_KEPT;

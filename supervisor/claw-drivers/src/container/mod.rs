//! Agents as containers of an engine that speaks Docker's API.
//!
//! ```text
//!  ContainerDriver ──create, start, kill, pause──► engine ──► container
//!       ▲   ▲                                        │
//!       │   └── Watch: events, and whether it answers│  one per driver
//!       │                                            │
//!       └──── Follower ◄── output ───────────────────┘  one per instance
//!                 └──► log store
//! ```
//!
//! The engine is somebody else's process: it may be missing, restarted, stuck, or used by hand.
//! What it does not answer is unknown, and nothing is concluded from it. Each instance has a
//! record of its own, written before the engine is asked for anything; see `record`. A fleet
//! without containers opens nothing and runs no task.

mod address;
mod auth;
mod build;
mod config;
mod create;
mod credentials;
mod cursor;
mod driver;
mod egress;
mod engine;
mod executed;
mod fault;
mod follow;
mod ignore;
mod image;
mod instance;
mod name;
mod notify;
mod output;
mod owner;
pub mod pool;
mod printing;
mod probe;
mod progress;
mod record;
mod recover;
mod refusal;
mod session;
mod start;
mod state;
mod sweep;
mod usage;
mod watch;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use config::ContainerConfig;
pub use driver::ContainerDriver;
pub use engine::{EngineReport, report};
pub use fault::EngineError;

/// Nothing that is done under the locks of this driver can panic half-way, so what they guard is
/// whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

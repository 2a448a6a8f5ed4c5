//! What a group knows and decides: pure, without a clock, a file or a source of chance.
//!
//! ```text
//!            floor                       cursor                head
//!   ─────────┬───────────────────────────┬─────────────────────┬──► sequence
//!    settled │ open: ready, blocked,     │ beyond: counted,    │
//!            │ in flight, waiting;       │ not looked at       │
//!            │ all else settled (ranges) │                     │
//! ```
//!
//! Only the writer's [`Bus`](super::Bus) calls it. Whoever changes it finds in
//! [`Group::unsaved`] what has to be written beside the group's own row.

mod config;
mod gather;
mod members;
mod pull;
mod ranges;
mod retry;
mod settle;
mod state;

pub use config::{Batch, Bound, GroupConfig, Ordering, Overflow, RetryPolicy, Start, Subscription};
pub use pull::Handed;
pub use state::{Group, Offered};

pub(crate) use members::Joined;
pub(crate) use pull::Source;
pub(crate) use ranges::Ranges;
pub(crate) use retry::Jitter;
pub(crate) use settle::Changed;
pub(crate) use state::{Counts, Effect, InFlight, OpenEvent, Phase, Recovered, Row};

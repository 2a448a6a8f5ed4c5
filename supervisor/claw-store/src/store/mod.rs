//! The file of state and events, and the threads that work on it.
//!
//! ```text
//!  agents ── Store ──► Queue ──► writer thread ──────────────► store.db-wal
//!                       bounded   groups and namespaces in memory,
//!                                 one transaction for up to 1,024 requests
//!                                      │ commit, fdatasync if one of them wants `disk`
//!  agents ◄── answers, wake-ups ───────┘
//!  readers ── three threads, read-only connections ── state, tail, dead letters
//! ```
//!
//! # Who decides
//!
//! One thread writes, and while the store is open its memory is authoritative for who holds which
//! event. SQLite holds what is needed to come back: events, state, and of each group a floor, the
//! ranges settled above it, what is in flight and what waits to be tried again.
//!
//! # Levels
//!
//! Everything is committed before it is answered, and a commit survives the death of the process.
//! A batch with an item of [`Level::Disk`](crate::bus::Level) is also synced before anything in it
//! is answered or shown to a group. The transaction itself runs with `synchronous=NORMAL`; why an
//! `fdatasync` of the log after it equals `FULL` is told in [`crate::journal`].
//!
//! # When the disk refuses
//!
//! A transaction that fails is undone whole, in memory too, and whoever wanted to store something
//! is told. Pulls and settles go on in memory; they are written as soon as there is room.

mod clock;
mod core;
mod due;
mod error;
mod files;
mod handle;
pub mod limits;
mod open;
mod queue;
mod reader;
mod schema;
mod undo;
mod writer;

pub use clock::{Clock, ManualClock, SystemClock, UnixMs};
pub use error::{OpenError, StoreCloseError, StoreError};
pub use handle::Store;
pub use open::{EventLimits, StoreOptions, verify};
pub(crate) use schema::SCHEMA;

pub(crate) use core::{Core, Kind};
pub(crate) use open::LoadError;
pub(crate) use undo::Undo;

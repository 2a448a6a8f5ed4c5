//! Every bound on what an agent may send, with its reason. The protocol names them to agents.

use std::time::Duration;

/// Connections of one agent; a client needs three or four.
pub(super) const CONNECTIONS: usize = 64;

/// Connections to one agent's socket of processes that are not its own; they are told so.
pub(super) const STRANGERS: usize = 4;

/// The head of a request: room for a trace and a router.
pub(super) const HEAD: usize = 16 * 1024;

/// What is read from a connection at a time; a head larger than this is never looked at.
pub(super) const BUFFER: usize = 64 * 1024;

/// A body: a handler's whole outcome.
pub(super) const BODY: usize = 64 << 20;

/// How long a change of state that comes too fast is held back before it is refused.
pub(super) const WRITE_DELAY: Duration = Duration::from_secs(5);

/// Bodies of one agent that are in memory at a time, in all.
pub(super) const BODIES: usize = 2 * BODY;

/// From a request's first byte to its last.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(30);

/// How long a connection without a request is kept: longer than a poll, so that one connection
/// serves a client that polls.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(120);

/// One value of state.
pub(super) const VALUE: usize = 32 << 20;

/// A key of state in bytes.
pub(super) const KEY: usize = 512;

/// The data of an event.
pub(super) const EVENT: usize = 1 << 20;

/// What a run may give back.
pub(super) const RESULT: usize = 64 * 1024;

/// Operations of one batch.
pub(super) const BATCH: usize = 1000;

/// Keys on one page of a listing.
pub(super) const PAGE: usize = 1000;

/// The longest wait for work.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// Pieces of work that one poll may ask for.
pub(super) const WORK: usize = 64;

/// How deep JSON may be nested.
pub(super) const DEPTH: usize = 128;

/// An opaque id.
pub(super) const ID: usize = 128;

/// Requests a second; a client that asks more often waits.
pub(super) const RATE: u32 = 5000;

/// Requests at once before the rate is enforced.
pub(super) const BURST: u32 = 10_000;

/// Refusals (400, 401, 403) in a minute after which an instance is taken for broken.
pub(super) const REFUSALS: u32 = 60;

/// Control lines that a client has not read.
pub(super) const CONTROL_LINES: usize = 256;

/// The time between two pings on a control stream.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long an agent may take from hello to ready.
pub(super) const SETUP_TIME: Duration = Duration::from_secs(60);

/// How long work stays with an agent while no supervisor is there to renew its lease.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// How long an agent that lived on may take to say what it still works on.
pub(crate) const ADOPT_GRACE: Duration = Duration::from_secs(30);

/// How often leases are renewed: three times before one ends.
pub(super) const RENEWAL: Duration = Duration::from_secs(20);

/// How often the newest version of an agent's state is marked as a checkpoint.
pub(super) const CHECKPOINT: Duration = Duration::from_secs(60);

/// Series of metrics that one agent may have.
pub(super) const SERIES: usize = 1000;

/// Messages of one log batch.
pub(super) const LOG_LINES: usize = 1000;

/// The longest delay of an event.
pub(super) const DELAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The time within which the same alert is told once.
pub(super) const ALERT_WINDOW: Duration = Duration::from_secs(300);

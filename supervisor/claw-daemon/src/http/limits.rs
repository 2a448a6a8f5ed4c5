//! Every bound of the server, with its reason.

use std::time::Duration;

/// The largest body: a fleet file or a payload is text that somebody wrote.
pub(super) const BODY: usize = 1 << 20;

/// The largest body that carries state: an export of all that an agent may keep by default.
pub(super) const STATE_BODY: usize = 128 << 20;

/// How long a body may take to arrive; a local client has it ready.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);

/// How long the head of a request may take; also how long an idle connection is kept.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);

/// Connections at once. One more is told 503.
pub(super) const CONNECTIONS: usize = 256;

/// The part of all descriptors that connections may take where these are few: agents need the rest.
pub(super) const PART_OF_DESCRIPTORS: u64 = 4;

/// How often the control socket is looked for in its place, whence anybody who may write there can
/// remove it.
pub(super) const SOCKET_LOOK: Duration = Duration::from_secs(2);

/// Streams (logs, events) at once; each holds a connection, and calls must still get through.
pub(super) const STREAMS: usize = 128;

/// The pause after `accept` failed, mostly for want of descriptors, before it is tried again.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests under way may take to end when the server stops; streams are told at once.
pub(super) const STOP_TIME: Duration = Duration::from_secs(3);

/// How long the supervision loop may take to answer. Its steps take microseconds; an answer that
/// waits for the journal has its own, shorter deadline in the core.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(15);

/// The longest `wait`.
pub(super) const WAIT: Duration = Duration::from_secs(3600);

/// Frames between a stream and its reader.
pub(super) const FRAMES: usize = 16;

/// How long a reader may take none of them before it is told that it is too slow, and after
/// which it is cut off.
pub(super) const STALL: Duration = Duration::from_secs(20);

/// How long the close of a WebSocket may take; a reader that is gone or stuck is not waited for.
pub(super) const GOODBYE: Duration = Duration::from_millis(500);

/// Silence after which an event stream says that it is still there, so that proxies and clients
/// do not take it for dead.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often a follower looks for new lines: a person does not notice, and a look is two `stat`.
pub(super) const LOG_POLL: Duration = Duration::from_millis(200);

/// Lines of a log when nothing says how many.
pub(super) const LOG_TAIL: usize = 1000;

/// The most lines that `tail` may ask for.
pub(super) const LOG_TAIL_MOST: usize = 100_000;

/// Runs on a page when nothing says how many, and at most.
pub(super) const RUNS_PAGE: u32 = 50;
/// See [`RUNS_PAGE`].
pub(super) const RUNS_PAGE_MOST: u32 = 500;

/// Keys of a state on a page.
pub(super) const STATE_PAGE: usize = 1000;

/// Versions of a state on a page.
pub(super) const VERSIONS_PAGE: usize = 1000;

/// Keys that differ, with both values, on a page.
pub(super) const DIFF_PAGE: usize = 100;

/// Dead letters on a page when nothing says how many, and at most.
pub(super) const LETTERS_PAGE: u32 = 100;
/// See [`LETTERS_PAGE`].
pub(super) const LETTERS_PAGE_MOST: u32 = 1000;

/// Calls to models on a page when nothing says how many, and at most.
pub(super) const CALLS_PAGE: u32 = 50;
/// See [`CALLS_PAGE`].
pub(super) const CALLS_PAGE_MOST: u32 = claw_store::store::limits::CHORE_ROWS;

/// How far back usage is summed up when nothing says since when.
pub(super) const USAGE_SINCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Transitions when nothing says how many, and at most.
pub(super) const TRANSITIONS: u32 = 20;
/// See [`TRANSITIONS`].
pub(super) const TRANSITIONS_MOST: u32 = 500;

/// The longest reason of a halt, in characters.
pub(super) const HALT_REASON: usize = 500;

/// How long the store may take to say how many events wait for an agent.
pub(super) const FIGURES_TIME: Duration = Duration::from_secs(2);

/// The longest idempotency key.
pub(super) const KEY: usize = 255;

/// Requests with an idempotency key under way at once.
pub(super) const KEYS_IN_FLIGHT: usize = 256;

/// How long an answer is kept under its idempotency key.
pub(super) const KEY_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest request id taken from a caller; it goes into the log.
pub(super) const REQUEST_ID: usize = 64;

/// How old a measurement of resources may be before another is made.
pub(super) const USAGE_AGE: Duration = Duration::from_secs(1);

/// Free space of the data directory's disk below which it is called nearly full.
pub(super) const DISK_FREE: u64 = 256 << 20;

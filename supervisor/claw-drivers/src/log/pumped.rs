//! What goes into a call of the [writer](super::LogWriter) and what comes out.

use std::time::{Instant, SystemTime};

use nix::errno::Errno;

/// The time of a call, on both clocks: `mono` for waiting, `wall` for the time stamps.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Monotonic time.
    pub mono: Instant,
    /// Wall time.
    pub wall: SystemTime,
}

impl Stamp {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self {
            mono: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// The outcome of [`LogWriter::pump`](super::LogWriter::pump).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// So many bytes were taken from the pipe; 0 when it was empty.
    Read(usize),
    /// All writers have closed the pipe, and it is empty.
    Closed,
    /// Nothing was read: the log is full and the policy says `block`.
    Waiting,
    /// The pipe cannot be read, which no pipe in order does. Treat it as closed.
    Unreadable(Errno),
}

/// What became of an agent's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Bytes of the agent that were written.
    pub bytes: u64,
    /// Bytes that were dropped because they could not be written.
    pub dropped_bytes: u64,
    /// Line ends among the dropped bytes.
    pub dropped_lines: u64,
}

//! Agent logs: captured by the agent's shim, read by the daemon.
//!
//! ```text
//!  agent ──stdout──► pipe ─┐                        ┌─► clawctl logs, REST, follow
//!        ──stderr──► pipe ─┤ LogWriter (shim)       │   LogReader (daemon)
//!                          ▼                        │
//!  <agent dir>/log/lane-0/lock                      │   one writer at a time (flock)
//!                         00000000000000000000.log ─┤   exactly the bytes written
//!                         00000000000000000000.idx ─┘   whose bytes, and when
//!                  lane-1/…                             a parallel run of the same agent
//! ```
//!
//! A segment is named by the absolute offset of its first byte in the lane, so an offset stays
//! valid for as long as its bytes are kept. The writer and the readers share nothing but these
//! files: a reader can neither delay an agent nor need the daemon that started it.
//!
//! Order of writing: the index record first, then the bytes it describes. A writer killed between
//! the two leaves a record that points past the end, which readers ignore and the next writer
//! overwrites, so no byte is ever attributed to the wrong stream.

mod assembler;
mod buffer;
mod capture;
mod cursor;
mod failure;
mod index;
mod lane;
mod lane_lines;
mod lines;
mod locate;
mod open_segment;
mod policy;
mod prune;
mod pumped;
mod query;
mod reader;
mod segment;
mod stream;
mod walker;
mod writer;

#[cfg(test)]
mod tests;

pub use buffer::prepare_pipe;
pub use cursor::{Cursor, CursorError};
pub use failure::LogFailure;
pub use lane::MAX_LANES;
pub use lines::Lines;
pub use policy::{LogPolicy, OnFull};
pub use prune::{PruneError, Pruned, prune};
pub use pumped::{LogStats, Pumped, Stamp};
pub use query::{
    Limits, LogGap, LogItem, LogLine, LogQuery, LogRange, MAX_LINE_PIECE, MAX_TAIL_LINES, Page,
    PageEnd, Unterminated,
};
pub use reader::{LogReader, ReadError};
pub use stream::{Stream, StreamSet};
pub use writer::{FINISH_LIMIT, LogWriter, PUMP_LIMIT};

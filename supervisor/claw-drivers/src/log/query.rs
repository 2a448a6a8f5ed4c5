//! What can be asked of a log, and what it answers.

use std::borrow::Cow;
use std::time::SystemTime;

use super::cursor::Cursor;
use super::stream::{Stream, StreamSet};

/// The longest text of one [`LogLine`] in bytes; a longer line comes in pieces. Bounds the memory
/// a reader needs whatever an agent prints.
pub const MAX_LINE_PIECE: usize = 256 * 1024;

/// The most lines `tail` can ask for; more is cut to this.
pub const MAX_TAIL_LINES: usize = 100_000;

/// Which lines of a log are wanted. The default is all of them, from the oldest kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only the last so many lines of those the other keys select.
    pub tail: Option<usize>,
    /// Only lines whose first byte was read at this time or later.
    pub since: Option<SystemTime>,
    /// Only lines whose first byte was read before this time.
    pub until: Option<SystemTime>,
    /// Only what comes after this place.
    pub after: Option<Cursor>,
    /// Only these bytes of one lane: the log of one run.
    pub range: Option<LogRange>,
    /// Only lines of these streams. Markers are lines of the stream `Supervisor`.
    pub streams: StreamSet,
    /// What to do with text after the last line end.
    pub unterminated: Unterminated,
}

/// A piece of a lane, in absolute offsets; `to` is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The lane.
    pub lane: u32,
    /// Offset of the first byte.
    pub from: u64,
    /// Offset after the last byte; `None` while the run goes on.
    pub to: Option<u64>,
}

/// What to do with a line that has not ended yet where the log ends at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unterminated {
    /// Yields it, marked partial. What follows later comes as another line.
    #[default]
    Yield,
    /// Keeps it for the next call, which gets it from the cursor. For followers.
    Hold,
}

/// A line of an agent's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the first byte was read, to the microsecond.
    pub at: SystemTime,
    /// Where the line came from.
    pub stream: Stream,
    /// The lane it was written to.
    pub lane: u32,
    /// The absolute offset of the first byte in the lane.
    pub offset: u64,
    /// The bytes as they were written, without the line end.
    pub text: Vec<u8>,
    /// The text is not followed by a line end: it is a piece of a line longer than
    /// [`MAX_LINE_PIECE`], or the line was never finished.
    pub partial: bool,
}

impl LogLine {
    /// Returns the text with invalid UTF-8 replaced.
    #[must_use]
    pub fn text_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

/// Bytes that were rotated away before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// The lane.
    pub lane: u32,
    /// How many bytes are missing; 0 when the lane was replaced and its number is unknown.
    pub bytes: u64,
}

/// What a log yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// A line.
    Line(LogLine),
    /// A hole.
    Gap(LogGap),
}

impl LogItem {
    pub(crate) fn text_len(&self) -> usize {
        match self {
            Self::Line(line) => line.text.len(),
            Self::Gap(_) => 0,
        }
    }
}

/// How much one call may return. At least one item is returned if there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most items.
    pub lines: usize,
    /// The number of bytes of text at which the page is closed.
    pub bytes: usize,
}

/// One answer of a paged reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The items, in time order.
    pub items: Vec<LogItem>,
    /// The place after the last item, to go on from.
    pub cursor: Cursor,
    /// Why the page ends.
    pub end: PageEnd,
}

/// Why a [`Page`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEnd {
    /// The limits were reached; there may be more.
    Limit,
    /// There was no more at the time.
    LogEnd,
}

//! The lines of one lane, in the order they end.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::assembler::Assembler;
use super::cursor::LanePosition;
use super::index::Micros;
use super::lane;
use super::locate;
use super::query::{LogGap, LogItem, LogQuery, MAX_TAIL_LINES, Unterminated};
use super::segment;
use super::walker::{Step, Walker};

/// Reading past the end of a time window goes on in steps of so many bytes, until the lines
/// that began within it have ended.
const COMPLETION_STEP: u64 = 64 * 1024;

/// An item and the place in its lane after it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) item: LogItem,
    pub(crate) after: LanePosition,
}

/// Reads one lane forward.
#[derive(Debug)]
pub(crate) struct LaneLines {
    lane: u32,
    walker: Walker,
    assembler: Assembler,
    ready: VecDeque<Entry>,
    window: Window,
    /// Where reading stops, unless lines of the window are open there.
    stop: u64,
    /// Where reading stops in any case: the end of a run.
    hard_stop: Option<u64>,
    unterminated: Unterminated,
    ended: bool,
    /// The place after the last entry taken.
    position: LanePosition,
}

/// The lines wanted by time, in the clock of the index.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Option<Micros>,
    until: Option<Micros>,
}

impl LaneLines {
    /// Finds the beginning of what `query` asks of a lane.
    pub(crate) fn open(log_dir: &Path, lane: u32, query: &LogQuery) -> io::Result<Self> {
        let dir = lane::path(log_dir, lane);
        let window = Window {
            since: query.since.map(Micros::from_bound),
            until: query.until.map(Micros::from_bound),
        };
        let hard_stop = query.range.as_ref().and_then(|range| range.to);
        let mut stop = hard_stop.unwrap_or(u64::MAX);
        if let Some(until) = window.until {
            stop = stop.min(locate::until(&dir, until)?);
        }
        let position = begin(&dir, lane, query, window, stop)?;
        Ok(Self {
            lane,
            walker: Walker::new(dir, &position, query.streams)?,
            assembler: Assembler::new(lane, &position),
            ready: VecDeque::new(),
            window,
            stop,
            hard_stop,
            unterminated: query.unterminated,
            ended: false,
            position,
        })
    }

    pub(crate) fn lane(&self) -> u32 {
        self.lane
    }

    /// Returns the next entry without taking it.
    pub(crate) fn peek(&mut self) -> io::Result<Option<&Entry>> {
        while self.ready.is_empty() && !self.ended {
            self.advance()?;
            self.collect();
        }
        Ok(self.ready.front())
    }

    /// Takes the entry last peeked at, without counting it as read.
    pub(crate) fn take(&mut self) -> Option<Entry> {
        self.ready.pop_front()
    }

    /// Counts the entry that ends at `after` as read.
    pub(crate) fn commit(&mut self, after: LanePosition) {
        self.position = after;
    }

    /// Returns the place after the last entry counted as read.
    pub(crate) fn position(&self) -> LanePosition {
        self.position
    }

    /// Like [`LaneLines::position`], for when every entry taken was counted: once there are no
    /// more, this is the end of all that was looked at, lines left out included.
    pub(crate) fn reached(&self) -> LanePosition {
        if self.ended && self.ready.is_empty() {
            self.assembler.position()
        } else {
            self.position
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        match self.walker.step(self.stop)? {
            Step::Piece { chunk, offset } => {
                self.assembler.feed(&chunk, offset, self.walker.piece());
            }
            Step::Break => self.assembler.flush(),
            Step::Gap(bytes) => self.gap(bytes),
            Step::Stop => self.stop_or_complete(),
            Step::End => self.finish(),
        }
        Ok(())
    }

    fn gap(&mut self, bytes: u64) {
        self.assembler.flush();
        self.collect();
        self.assembler.jump(self.walker.next());
        let item = LogItem::Gap(LogGap {
            lane: self.lane,
            bytes,
        });
        self.ready.push_back(Entry {
            item,
            after: self.assembler.position(),
        });
    }

    fn stop_or_complete(&mut self) {
        let hard = self.hard_stop.unwrap_or(u64::MAX);
        let incomplete = |until| self.assembler.has_open_before(until);
        if self.stop < hard && self.window.until.is_some_and(incomplete) {
            self.stop = self.stop.saturating_add(COMPLETION_STEP).min(hard);
        } else {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.assembler.advance(self.walker.next());
        let at_range_end = self
            .hard_stop
            .is_some_and(|hard| self.walker.next() >= hard);
        if at_range_end || self.unterminated == Unterminated::Yield {
            self.assembler.flush();
        }
        self.ended = true;
    }

    /// Moves finished lines that lie in the window to the ready ones.
    fn collect(&mut self) {
        while let Some((line, after)) = self.assembler.pop() {
            if self.window.contains(Micros::from_wall(line.at)) {
                self.ready.push_back(Entry {
                    item: LogItem::Line(line),
                    after,
                });
            }
        }
    }
}

impl Window {
    fn contains(self, at: Micros) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// Finds where to begin: after the cursor, at the run's first byte, at the first byte of the
/// time window, or a number of lines before the end, whichever is last.
fn begin(
    dir: &Path,
    lane: u32,
    query: &LogQuery,
    window: Window,
    stop: u64,
) -> io::Result<LanePosition> {
    let oldest = segment::list(dir)?.first().copied().unwrap_or(0);
    // A lane that is new to a cursor is read from its first byte, and a gap told if that is gone;
    // the empty cursor asks for what is there.
    let after = query
        .after
        .as_ref()
        .filter(|cursor| !cursor.lanes.is_empty());
    let resumed = after.map(|cursor| cursor.lanes.get(&lane).copied().unwrap_or_default());
    let mut begin = resumed.unwrap_or(LanePosition::at(oldest));
    let floor = query.range.as_ref().map_or(0, |range| range.from);
    if floor > begin.next {
        // A run that was rotated away in part begins with a gap, not at the oldest byte.
        begin = locate::entering(dir, floor)?;
    } else if query.range.is_some() && resumed.is_none() && floor < oldest {
        begin = LanePosition::at(floor);
    }
    if let Some(since) = window.since {
        let found = locate::since(dir, since)?;
        if found > begin.next {
            begin = locate::entering(dir, found)?;
        }
    }
    if let Some(lines) = query.tail {
        let end = stop.min(segment::end(dir)?);
        let lines = lines.min(MAX_TAIL_LINES);
        let found = locate::tail(dir, (begin.next, end), query.streams, lines)?;
        if found > begin.next {
            begin = locate::entering(dir, found)?;
        }
    }
    Ok(begin)
}

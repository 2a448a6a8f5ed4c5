//! Putting the lines of a lane together again, for each stream apart.

use std::collections::VecDeque;

use super::cursor::{LanePosition, LineState, OPEN_LINE_SPAN};
use super::index::Micros;
use super::query::{LogLine, MAX_LINE_PIECE};
use super::segment::Chunk;
use super::stream::Stream;

/// Takes the pieces of a lane in their order and gives out lines, each with the place after it.
#[derive(Debug)]
pub(crate) struct Assembler {
    lane: u32,
    next: u64,
    lines: [OpenLine; 3],
    ready: VecDeque<(LogLine, LanePosition)>,
}

#[derive(Debug)]
struct OpenLine {
    state: LineState,
    at: Micros,
    text: Vec<u8>,
}

impl Assembler {
    /// Starts at a place. Lines that were open there are to be fed again from their beginning.
    pub(crate) fn new(lane: u32, position: &LanePosition) -> Self {
        let at = Micros::from_wall(std::time::UNIX_EPOCH);
        let lines = position.lines.map(|state| match state {
            LineState::Between | LineState::Open(_) => LineState::Between,
            LineState::Skipping => LineState::Skipping,
        });
        let lines = lines.map(|state| OpenLine {
            state,
            at,
            text: Vec::new(),
        });
        Self {
            lane,
            next: position.next,
            lines,
            ready: VecDeque::new(),
        }
    }

    /// Takes `bytes`, which lie at `offset` inside `chunk`.
    pub(crate) fn feed(&mut self, chunk: &Chunk, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        let mut offset = offset;
        while let Some(first) = rest.first() {
            let line = &mut self.lines[chunk.stream.slot()];
            if line.text.len() >= MAX_LINE_PIECE && *first != b'\n' {
                self.emit(chunk.stream, Ending::Missing);
                continue;
            }
            if line.state == LineState::Between {
                line.state = LineState::Open(offset);
                line.at = chunk.at;
            }
            let room = MAX_LINE_PIECE - line.text.len();
            let line_end = rest.iter().take(room + 1).position(|byte| *byte == b'\n');
            let taken = line_end.unwrap_or(room.min(rest.len()));
            if line.state != LineState::Skipping {
                line.text.extend_from_slice(&rest[..taken]);
            }
            let used = taken + usize::from(line_end.is_some());
            offset += u64::try_from(used).expect("a usize fits 64 bits");
            rest = &rest[used..];
            self.next = self.next.max(offset);
            if line_end.is_some() {
                self.emit(chunk.stream, Ending::Present);
            }
        }
        self.emit_stale();
    }

    /// Notes that everything before `next` was fed or is of no interest.
    pub(crate) fn advance(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Gives out the lines that are open, as partial ones, in the order they began.
    pub(crate) fn flush(&mut self) {
        while let Some(stream) = self.oldest_open() {
            self.emit(stream, Ending::Missing);
        }
        for line in &mut self.lines {
            line.state = LineState::Between;
        }
    }

    /// Forgets everything and goes on at `next`.
    pub(crate) fn jump(&mut self, next: u64) {
        self.next = next;
    }

    /// Says whether a line is open that began before `bound`.
    pub(crate) fn has_open_before(&self, bound: Micros) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(line.state, LineState::Open(_)) && line.at < bound)
    }

    pub(crate) fn pop(&mut self) -> Option<(LogLine, LanePosition)> {
        self.ready.pop_front()
    }

    /// Returns the place after everything that was fed.
    pub(crate) fn position(&self) -> LanePosition {
        let mut position = LanePosition::at(self.next);
        for (state, line) in position.lines.iter_mut().zip(&self.lines) {
            *state = line.state;
        }
        position
    }

    fn emit(&mut self, stream: Stream, ending: Ending) {
        let line = &mut self.lines[stream.slot()];
        let state = std::mem::take(&mut line.state);
        let text = std::mem::take(&mut line.text);
        let LineState::Open(offset) = state else {
            return;
        };
        // The writer ends an unfinished line of the agent before a marker; this is no line.
        if stream == Stream::Supervisor && text.is_empty() {
            return;
        }
        let at = line.at.to_wall();
        let partial = ending == Ending::Missing;
        let line = LogLine {
            at,
            stream,
            lane: self.lane,
            offset,
            text,
            partial,
        };
        self.ready.push_back((line, self.position()));
    }

    fn emit_stale(&mut self) {
        while let Some(stream) = self.oldest_open()
            && let LineState::Open(start) = self.lines[stream.slot()].state
            && self.next - start > OPEN_LINE_SPAN
        {
            self.emit(stream, Ending::Missing);
        }
    }

    fn oldest_open(&self) -> Option<Stream> {
        let open = |stream: &Stream| match self.lines[stream.slot()].state {
            LineState::Open(start) => Some((start, *stream)),
            LineState::Between | LineState::Skipping => None,
        };
        Stream::ALL
            .iter()
            .filter_map(open)
            .min()
            .map(|(_, stream)| stream)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Present,
    Missing,
}

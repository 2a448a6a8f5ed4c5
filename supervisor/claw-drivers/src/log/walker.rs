//! Walking through a lane, chunk by chunk, over segments that may be deleted meanwhile.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::cursor::{LanePosition, LineState};
use super::index::Continuity;
use super::segment::{self, Chunk, Segment};
use super::stream::StreamSet;

/// Bytes read from a segment at once.
const PIECE: u64 = 64 * 1024;

/// What lies at the place a walker has reached.
#[derive(Debug)]
pub(crate) enum Step {
    /// So many bytes are missing.
    Gap(u64),
    /// Lines do not go on over this place.
    Break,
    /// [`Walker::piece`] holds the bytes at `offset`, a part of `chunk`.
    Piece { chunk: Chunk, offset: u64 },
    /// The place asked for was reached.
    Stop,
    /// The lane goes no further at present.
    End,
}

/// A place in a lane that moves forward.
#[derive(Debug)]
pub(crate) struct Walker {
    dir: PathBuf,
    wanted: StreamSet,
    ahead: VecDeque<u64>,
    segment: Option<(Segment, u64)>,
    next: u64,
    /// Per stream: where reading begins.
    from: [u64; 3],
    replaced: bool,
    broken_at: Option<u64>,
    piece: Vec<u8>,
}

impl Walker {
    /// Starts at `position`, or at the oldest byte kept if that is later.
    pub(crate) fn new(
        dir: PathBuf,
        position: &LanePosition,
        wanted: StreamSet,
    ) -> io::Result<Self> {
        let mut ahead = VecDeque::from(segment::list(&dir)?);
        let replaced = position.next > segment::end(&dir)?;
        let mut from = [0; 3];
        if !replaced {
            from = position.lines.map(|state| match state {
                LineState::Open(start) => start,
                LineState::Between | LineState::Skipping => position.next,
            });
        }
        let mut next = from.into_iter().min().unwrap_or(0);
        if replaced {
            next = ahead.front().copied().unwrap_or(0);
        }
        while ahead.get(1).is_some_and(|start| *start <= next) {
            ahead.pop_front();
        }
        let piece = Vec::new();
        Ok(Self {
            dir,
            wanted,
            ahead,
            segment: None,
            next,
            from,
            replaced,
            broken_at: None,
            piece,
        })
    }

    /// Returns the offset of the next byte to read.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the bytes of the last [`Step::Piece`].
    pub(crate) fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Goes on to the next thing of interest before the offset `stop`.
    pub(crate) fn step(&mut self, stop: u64) -> io::Result<Step> {
        if std::mem::take(&mut self.replaced) {
            return Ok(Step::Gap(0));
        }
        loop {
            if self.next >= stop {
                return Ok(Step::Stop);
            }
            let Some((mut segment, i)) = self.segment.take() else {
                match self.enter()? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            };
            if i >= segment.chunk_count() || self.next >= segment.end() {
                continue;
            }
            let chunk = segment.chunk(i)?;
            let step = self.visit(&segment, &chunk, stop)?;
            let done = self.next >= chunk.end;
            self.segment = Some((segment, i + u64::from(done)));
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Opens the next segment. Returns a step if there is something to say about it.
    fn enter(&mut self) -> io::Result<Option<Step>> {
        let Some(start) = self.ahead.pop_front() else {
            return Ok(Some(Step::End));
        };
        let mut segment = match Segment::open(&self.dir, start) {
            Ok(segment) => segment,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let gap = start.saturating_sub(self.next);
        self.next = self.next.max(start);
        let i = segment.chunk_at(self.next)?;
        self.segment = Some((segment, i));
        Ok((gap > 0).then_some(Step::Gap(gap)))
    }

    fn visit(&mut self, segment: &Segment, chunk: &Chunk, stop: u64) -> io::Result<Option<Step>> {
        let breaks = chunk.continuity == Continuity::Breaks && self.next == chunk.start;
        if breaks && self.broken_at.replace(chunk.start) != Some(chunk.start) {
            return Ok(Some(Step::Break));
        }
        let end = chunk.end.min(stop);
        let offset = self
            .next
            .max(chunk.start)
            .max(self.from[chunk.stream.slot()]);
        if !self.wanted.contains(chunk.stream) || offset >= end {
            self.next = self.next.max(end);
            return Ok(None);
        }
        let len = (end - offset).min(PIECE);
        self.piece
            .resize(usize::try_from(len).expect("a piece fits memory"), 0);
        segment.read_exact_at(&mut self.piece, offset)?;
        self.next = offset + len;
        Ok(Some(Step::Piece {
            chunk: *chunk,
            offset,
        }))
    }
}

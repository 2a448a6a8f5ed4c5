//! Finding places in a lane by time or by number of lines, with the index alone where possible.
//!
//! A segment deleted while it is looked at counts as already passed over.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::cursor::{LanePosition, LineState};
use super::index::{Continuity, Micros};
use super::segment::{self, Chunk, Segment};
use super::stream::{Stream, StreamSet};

/// Bytes looked through at once when counting lines backwards.
const BLOCK: u64 = 64 * 1024;

/// How many chunks are looked at to learn whether a stream is within a line somewhere; past
/// that, which takes a stream silent for very long, it is taken to be between lines.
const LOOK_BACK_CHUNKS: usize = 65_536;

/// Lines counted beyond those asked for: at most two streams can be within a line at the place
/// found, and these lines are passed over.
const SPARE_LINES: usize = 3;

/// Returns the first place at `since` or later.
pub(crate) fn since(lane: &Path, since: Micros) -> io::Result<u64> {
    let mut end = 0;
    for start in segment::list(lane)? {
        let Some(mut segment) = open(lane, start)? else {
            continue;
        };
        let i = segment.first_since(since)?;
        if i < segment.chunk_count() {
            return Ok(segment.chunk(i)?.start);
        }
        end = segment.end();
    }
    Ok(end)
}

/// Returns the place after which everything is at `until` or later.
pub(crate) fn until(lane: &Path, until: Micros) -> io::Result<u64> {
    for start in segment::list(lane)?.into_iter().rev() {
        let Some(mut segment) = open(lane, start)? else {
            continue;
        };
        if let Some(last) = segment.end_before(until)?.checked_sub(1) {
            let past_all = last + 1 == segment.chunk_count();
            return Ok(if past_all {
                segment.end()
            } else {
                segment.chunk(last)?.end
            });
        }
    }
    Ok(0)
}

/// Returns a place between `floor` and `end` from which on at least `lines` lines of the wanted
/// streams follow; `floor` if there are not so many.
pub(crate) fn tail(
    lane: &Path,
    (floor, end): (u64, u64),
    wanted: StreamSet,
    lines: usize,
) -> io::Result<u64> {
    if lines == 0 {
        return Ok(end.max(floor));
    }
    let mut missing = lines + SPARE_LINES;
    let mut block = Vec::new();
    for start in segment::list(lane)?
        .into_iter()
        .rev()
        .filter(|start| *start < end)
    {
        let Some(mut segment) = open(lane, start)? else {
            continue;
        };
        for i in chunks_before(&mut segment, end)? {
            let chunk = segment.chunk(i)?;
            if chunk.end <= floor {
                return Ok(floor);
            }
            // Lines of the supervisor may be empty ones that are not shown.
            if !wanted.contains(chunk.stream) || chunk.stream == Stream::Supervisor {
                continue;
            }
            let part = Chunk {
                start: chunk.start.max(floor),
                end: chunk.end.min(end),
                ..chunk
            };
            if let Some(found) = count_back(&segment, &part, &mut missing, &mut block)? {
                return Ok(found);
            }
        }
    }
    Ok(floor)
}

/// Returns the state of each stream's line at `offset`: a line begun before is passed over.
pub(crate) fn entering(lane: &Path, offset: u64) -> io::Result<LanePosition> {
    let mut position = LanePosition::at(offset);
    let mut unknown = [Stream::Stdout, Stream::Stderr].to_vec();
    let mut looked = 0;
    for start in segment::list(lane)?
        .into_iter()
        .rev()
        .filter(|start| *start < offset)
    {
        let Some(mut segment) = open(lane, start)? else {
            continue;
        };
        if offset < segment.end() && starts_break(&mut segment, offset)? {
            return Ok(position);
        }
        for i in chunks_before(&mut segment, offset)? {
            let chunk = segment.chunk(i)?;
            looked += 1;
            if chunk.start == chunk.end {
                continue;
            }
            let latest = unknown.contains(&chunk.stream);
            if latest && !ends_line(&segment, chunk.end.min(offset))? {
                position.lines[chunk.stream.slot()] = LineState::Skipping;
            }
            unknown.retain(|stream| *stream != chunk.stream);
            let settled = chunk.continuity == Continuity::Breaks || unknown.is_empty();
            if settled || looked >= LOOK_BACK_CHUNKS {
                return Ok(position);
            }
        }
    }
    Ok(position)
}

fn open(lane: &Path, start: u64) -> io::Result<Option<Segment>> {
    match Segment::open(lane, start) {
        Ok(segment) => Ok(Some(segment)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The chunks of a segment that begin before `end`, the last one first.
fn chunks_before(
    segment: &mut Segment,
    end: u64,
) -> io::Result<std::iter::Rev<std::ops::Range<u64>>> {
    if segment.chunk_count() == 0 {
        return Ok((0..0).rev());
    }
    let last = segment.chunk_at(end.min(segment.end()).saturating_sub(1))?;
    Ok((0..last + 1).rev())
}

fn starts_break(segment: &mut Segment, offset: u64) -> io::Result<bool> {
    if segment.chunk_count() == 0 {
        return Ok(false);
    }
    let i = segment.chunk_at(offset)?;
    let chunk = segment.chunk(i)?;
    Ok(chunk.start == offset && chunk.continuity == Continuity::Breaks)
}

fn ends_line(segment: &Segment, end: u64) -> io::Result<bool> {
    let mut byte = [0];
    segment.read_exact_at(&mut byte, end - 1)?;
    Ok(byte[0] == b'\n')
}

/// Counts line ends from the end of `chunk` back; returns the place after the one that brings
/// `missing` to zero.
fn count_back(
    segment: &Segment,
    chunk: &Chunk,
    missing: &mut usize,
    block: &mut Vec<u8>,
) -> io::Result<Option<u64>> {
    let mut end = chunk.end;
    while end > chunk.start {
        let start = end.saturating_sub(BLOCK).max(chunk.start);
        block.resize(
            usize::try_from(end - start).expect("a block fits memory"),
            0,
        );
        segment.read_exact_at(block, start)?;
        for (i, byte) in block.iter().enumerate().rev() {
            if *byte != b'\n' {
                continue;
            }
            *missing -= 1;
            if *missing == 0 {
                return Ok(Some(
                    start + u64::try_from(i + 1).expect("a block fits 64 bits"),
                ));
            }
        }
        end = start;
    }
    Ok(None)
}

//! Writing one lane: segments, their index, rotation. Every call may fail; what to do then is
//! decided by the [writer](super::writer).

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::index::{Continuity, Micros, RECORD_LEN, Record, TimeOrder};
use super::lane::{self, LaneLock};
use super::open_segment::OpenSegment;
use super::policy::{LogPolicy, ROTATION_SLACK};
use super::prune::prune_lane;
use super::segment;
use super::stream::Stream;

/// Lines of one stream that arrive within this time share a record, and so a time stamp. Bounds
/// the index of an agent that prints single characters to 16 kB/s.
const RECORD_INTERVAL: Duration = Duration::from_millis(1);

/// A record covers at most about this many bytes, so that readers can enter a log close to
/// the place they look for.
const RECORD_SPAN: u64 = 64 * 1024;

/// The wall clock may be slewed back by this much without making the index unsorted.
const CLOCK_JITTER: Duration = Duration::from_millis(100);

/// The index of a segment may take this much even if `max_size` is smaller.
const MIN_INDEX_LIMIT: u64 = 64 * 1024;

/// The end of a lane, owned through its lock.
#[derive(Debug)]
pub(crate) struct Capture {
    lock: LaneLock,
    policy: LogPolicy,
    segment: OpenSegment,
    /// Per stream: the last byte was not a line's end.
    open_lines: [bool; 3],
    /// The last byte of the lane ends a line.
    ends_line: bool,
    /// What the next record says.
    continuity: Continuity,
    /// What happens before the next write.
    then: Then,
}

/// How much of some output goes into the present segment.
struct Part {
    len: usize,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Rotate,
}

impl Capture {
    /// Takes the lane `wanted` if it is free, else the first that is, and opens it at its end.
    pub(crate) fn open(log_dir: &Path, wanted: Option<u32>, policy: LogPolicy) -> io::Result<Self> {
        let lock = match wanted.map(|number| lane::try_lock(log_dir, number)) {
            Some(Ok(Some(lock))) => lock,
            Some(Ok(None) | Err(_)) | None => lane::acquire(log_dir)?,
        };
        let newest = segment::list(&lock.dir)?.pop().unwrap_or(0);
        let segment = OpenSegment::reopen(&lock.dir, newest)?;
        let position = segment.start + segment.len;
        let ends_line = segment.ends_line()?;
        let continuity = if position == 0 {
            Continuity::Continues
        } else {
            Continuity::Breaks
        };
        Ok(Self {
            lock,
            policy,
            segment,
            open_lines: [false; 3],
            ends_line,
            continuity,
            then: Then::Stay,
        })
    }

    pub(crate) fn lane(&self) -> u32 {
        self.lock.number
    }

    /// Returns the absolute offset after the last byte written.
    pub(crate) fn position(&self) -> u64 {
        self.segment.start + self.segment.len
    }

    /// Says whether a line written next would start at the beginning of a line of the file.
    pub(crate) fn ends_line(&self) -> bool {
        self.ends_line
    }

    /// Says whether a marker was written in part only.
    pub(crate) fn has_open_marker(&self) -> bool {
        self.open_lines[Stream::Supervisor.slot()]
    }

    /// Ends the lines that are open: what is written next does not continue them.
    pub(crate) fn break_lines(&mut self) {
        self.continuity = Continuity::Breaks;
    }

    /// Makes the present segment survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.segment.sync()
    }

    /// Appends output. Returns how many bytes were written, and the error that kept the rest out.
    pub(crate) fn append(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        wall: SystemTime,
    ) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            let (n, outcome) = self.append_part(stream, &bytes[written..], wall);
            written += n;
            if outcome.is_err() {
                return (written, outcome);
            }
        }
        (written, Ok(()))
    }

    fn append_part(
        &mut self,
        stream: Stream,
        rest: &[u8],
        wall: SystemTime,
    ) -> (usize, io::Result<()>) {
        if let Err(error) = self.prepare(stream, wall) {
            return (0, Err(error));
        }
        let part = self.plan(stream, rest);
        let (n, outcome) = self.write(stream, &rest[..part.len], wall);
        if outcome.is_ok() {
            self.then = part.then;
        }
        (n, outcome)
    }

    /// Rotates if it is due, and ends the line a former writer left open.
    fn prepare(&mut self, stream: Stream, wall: SystemTime) -> io::Result<()> {
        if self.rotation_is_due() {
            self.rotate(wall).or_else(|error| self.tolerate(error))?;
        }
        let left_open = self.continuity == Continuity::Breaks && !self.ends_line;
        if left_open && stream != Stream::Supervisor {
            return self.write(Stream::Supervisor, b"\n", wall).1;
        }
        Ok(())
    }

    /// A segment that cannot be followed by another grows on, up to the hard limit.
    fn tolerate(&self, error: io::Error) -> io::Result<()> {
        if self.segment.len < self.hard_limit() {
            Ok(())
        } else {
            Err(error)
        }
    }

    fn hard_limit(&self) -> u64 {
        self.policy.segment_size() + ROTATION_SLACK
    }

    fn rotation_is_due(&self) -> bool {
        let limit = self.policy.segment_size();
        let index_len = self.segment.records * RECORD_LEN;
        let index_limit = limit.max(MIN_INDEX_LIMIT);
        let full = self.segment.len >= limit || index_len >= index_limit;
        let overfull = self.then == Then::Rotate
            || self.segment.len >= self.hard_limit()
            || index_len >= 2 * index_limit;
        overfull || (full && !self.open_lines.contains(&true))
    }

    /// Cuts output at the end of the line that fills the segment.
    fn plan(&self, stream: Stream, rest: &[u8]) -> Part {
        let room = usize_or_max(self.policy.segment_size().saturating_sub(self.segment.len));
        let hard = usize_or_max(self.hard_limit().saturating_sub(self.segment.len)).max(1);
        if rest.len() <= room {
            return Part {
                len: rest.len(),
                then: Then::Stay,
            };
        }
        let window = &rest[..rest.len().min(hard)];
        if !self.others_are_open(stream) {
            let from = room.saturating_sub(1).min(window.len());
            if let Some(i) = window[from..].iter().position(|byte| *byte == b'\n') {
                return Part {
                    len: from + i + 1,
                    then: Then::Rotate,
                };
            }
        }
        if rest.len() < hard {
            return Part {
                len: rest.len(),
                then: Then::Stay,
            };
        }
        let line_end = window.iter().rposition(|byte| *byte == b'\n');
        Part {
            len: line_end.map_or(hard, |i| i + 1),
            then: Then::Rotate,
        }
    }

    fn others_are_open(&self, stream: Stream) -> bool {
        Stream::ALL
            .iter()
            .any(|other| *other != stream && self.open_lines[other.slot()])
    }

    fn rotate(&mut self, wall: SystemTime) -> io::Result<()> {
        // Deleting first makes room for the new segment on a full disk. What cannot be deleted
        // is tried again at the next rotation.
        let keep = self.policy.kept_segments() - 1;
        if let Err(error) = prune_lane(&self.lock.dir, keep.max(1), self.policy.retention, wall) {
            tracing::debug!(lane = self.lock.number, %error, "cannot delete old log segments");
        }
        self.segment = OpenSegment::create(&self.lock.dir, self.position())?;
        self.then = Then::Stay;
        if keep == 0 {
            let pruned = prune_lane(&self.lock.dir, 1, self.policy.retention, wall);
            pruned.map(|_| ())?;
        }
        Ok(())
    }

    /// Writes to the present segment: the record first, if one is needed, then the bytes.
    fn write(&mut self, stream: Stream, bytes: &[u8], wall: SystemTime) -> (usize, io::Result<()>) {
        let record = self.next_record(stream, bytes, Micros::from_wall(wall));
        if let Some(record) = record
            && let Err(error) = self.segment.write_record(record)
        {
            return (0, Err(error));
        }
        let (n, outcome) = self.segment.write_bytes(bytes);
        if n > 0 {
            if record.is_some_and(|record| record.continuity == Continuity::Breaks) {
                self.open_lines = [false; 3];
            }
            self.segment.keep_record(record);
            self.continuity = Continuity::Continues;
            self.ends_line = bytes[n - 1] == b'\n';
            self.open_lines[stream.slot()] = !self.ends_line;
        }
        (n, outcome)
    }

    /// Returns the record these bytes need, unless the last one speaks for them too.
    fn next_record(&self, stream: Stream, bytes: &[u8], now: Micros) -> Option<Record> {
        let start = u32::try_from(self.segment.len).expect("MAX_SEGMENT keeps offsets in 32 bits");
        let mut record = Record {
            start,
            at: now,
            stream,
            continuity: self.continuity,
            order: TimeOrder::Sorted,
        };
        let Some(last) = self.segment.last else {
            return Some(record);
        };
        record.order = last.order;
        if now < last.at && last.at.elapsed_since(now) <= CLOCK_JITTER {
            record.at = last.at;
        } else if now < last.at {
            record.order = TimeOrder::Unsorted;
        }
        let starts_line = !self.open_lines[stream.slot()]
            || bytes[..bytes.len().saturating_sub(1)].contains(&b'\n');
        let aged = record.at.elapsed_since(last.at) >= RECORD_INTERVAL;
        let needed = stream != last.stream
            || self.continuity == Continuity::Breaks
            || record.at < last.at
            || u64::from(start - last.start) >= RECORD_SPAN
            || (starts_line && aged);
        needed.then_some(record)
    }
}

fn usize_or_max(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

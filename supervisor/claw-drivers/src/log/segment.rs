//! Segments: the files a lane consists of.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::index::{Continuity, Index, Micros, Record, TimeOrder};
use super::stream::Stream;

/// The largest segment: index records count in 32 bits, with room left for the end of a line.
pub(crate) const MAX_SEGMENT: u64 = (4 << 30) - (1 << 20);

/// Offsets are written with this many digits, so that names sort as numbers.
const NAME_DIGITS: usize = 20;

/// Returns the path of the bytes of the segment that starts at `start`.
pub(crate) fn log_path(lane: &Path, start: u64) -> PathBuf {
    lane.join(format!("{start:020}.log"))
}

/// Returns the path of the index of the segment that starts at `start`.
pub(crate) fn index_path(lane: &Path, start: u64) -> PathBuf {
    lane.join(format!("{start:020}.idx"))
}

/// Lists the start offsets of a lane's segments, oldest first. A missing lane has none.
pub(crate) fn list(lane: &Path) -> io::Result<Vec<u64>> {
    list_with_extension(lane, "log")
}

/// Like [`list`], for files with another extension.
pub(crate) fn list_with_extension(lane: &Path, extension: &str) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(lane) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut starts = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        starts.extend(name.to_str().and_then(|name| parse_name(name, extension)));
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Returns the absolute offset after the last byte of a lane; 0 for a missing one.
pub(crate) fn end(lane: &Path) -> io::Result<u64> {
    loop {
        let Some(newest) = list(lane)?.pop() else {
            return Ok(0);
        };
        match std::fs::metadata(log_path(lane, newest)) {
            Ok(metadata) => return Ok(newest + metadata.len()),
            // Rotated away since it was listed, so there is a newer one.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn parse_name(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() != NAME_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A run of bytes of one segment that came from one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Absolute offset of the first byte.
    pub(crate) start: u64,
    /// Absolute offset after the last byte.
    pub(crate) end: u64,
    pub(crate) stream: Stream,
    pub(crate) at: Micros,
    pub(crate) continuity: Continuity,
}

/// A segment open for reading, as long as it was when it was opened.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Absolute offset of the first byte.
    pub(crate) start: u64,
    len: u64,
    log: File,
    index: Index,
    modified: SystemTime,
    /// 1 when bytes precede the first record (the index was lost), and chunk 0 stands for them.
    head: u64,
}

impl Segment {
    /// Opens the segment of `lane` that starts at `start`. The error is `NotFound` when it was
    /// deleted meanwhile.
    pub(crate) fn open(lane: &Path, start: u64) -> io::Result<Self> {
        let log = File::open(log_path(lane, start))?;
        let metadata = log.metadata()?;
        let len = metadata.len();
        let index_file = match File::open(index_path(lane, start)) {
            Ok(file) => Some(file),
            // Deleted together with its segment, or lost while the segment is there.
            Err(error) if error.kind() == ErrorKind::NotFound && log.metadata()?.nlink() == 0 => {
                return Err(error);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut index = Index::new(index_file, len)?;
        let covered = index.get(0)?.is_some_and(|first| first.start == 0);
        let head = u64::from(!covered && len > 0);
        Ok(Self {
            start,
            len,
            log,
            index,
            modified: metadata.modified()?,
            head,
        })
    }

    /// Returns the absolute offset after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }

    pub(crate) fn chunk_count(&self) -> u64 {
        self.index.count() + self.head
    }

    /// Returns chunk `i`, which must be less than [`Segment::chunk_count`]. The chunk of a
    /// damaged record is empty: its bytes count to the chunk before.
    pub(crate) fn chunk(&mut self, i: u64) -> io::Result<Chunk> {
        let end = self.end_of(i)?;
        if i < self.head {
            return Ok(self.uncovered(self.start, end));
        }
        Ok(match self.index.get(i - self.head)? {
            Some(Record {
                start,
                at,
                stream,
                continuity,
                ..
            }) => Chunk {
                start: self.start + u64::from(start),
                end,
                stream,
                at,
                continuity,
            },
            None => self.uncovered(end, end),
        })
    }

    /// Returns the number of the chunk that holds the absolute offset `offset`.
    pub(crate) fn chunk_at(&mut self, offset: u64) -> io::Result<u64> {
        let relative = offset.saturating_sub(self.start);
        let after = self
            .index
            .partition_point(|record| u64::from(record.start) <= relative)?;
        Ok((after + self.head).saturating_sub(1))
    }

    /// Returns the first chunk whose time is `bound` or later, or the chunk count.
    pub(crate) fn first_since(&mut self, bound: Micros) -> io::Result<u64> {
        if self.is_sorted()? {
            let before = self.index.partition_point(|record| record.at < bound)?;
            let head_is_older = self.head == 1 && (before > 0 || self.chunk(0)?.at < bound);
            return Ok(if head_is_older { before + 1 } else { before });
        }
        for i in 0..self.chunk_count() {
            if self.chunk(i)?.at >= bound {
                return Ok(i);
            }
        }
        Ok(self.chunk_count())
    }

    /// Returns the number of the chunk after the last one whose time is before `bound`.
    pub(crate) fn end_before(&mut self, bound: Micros) -> io::Result<u64> {
        if self.is_sorted()? {
            return self.first_since(bound);
        }
        for i in (0..self.chunk_count()).rev() {
            if self.chunk(i)?.at < bound {
                return Ok(i + 1);
            }
        }
        Ok(0)
    }

    /// Reads bytes at the absolute offset into the whole of `buffer`.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.log.read_exact_at(buffer, offset - self.start)
    }

    fn is_sorted(&mut self) -> io::Result<bool> {
        let Some(last) = self.index.count().checked_sub(1) else {
            return Ok(true);
        };
        let order = self
            .index
            .get(last)?
            .map_or(TimeOrder::Unsorted, |record| record.order);
        Ok(order == TimeOrder::Sorted)
    }

    fn end_of(&mut self, i: u64) -> io::Result<u64> {
        for next in (i + 1)..self.chunk_count() {
            if let Some(record) = self.index.get(next - self.head)? {
                return Ok(self.start + u64::from(record.start));
            }
        }
        Ok(self.end())
    }

    fn uncovered(&self, start: u64, end: u64) -> Chunk {
        Chunk {
            start,
            end,
            stream: Stream::Stdout,
            at: Micros::from_wall(self.modified),
            continuity: Continuity::Continues,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_twenty_digits_are_segments() {
        assert_eq!(parse_name("00000000000000000042.log", "log"), Some(42));
        assert_eq!(parse_name("42.log", "log"), None);
        assert_eq!(parse_name("+0000000000000000042.log", "log"), None);
        assert_eq!(parse_name("00000000000000000042.idx", "log"), None);
        assert_eq!(parse_name("99999999999999999999.log", "log"), None);
    }
}

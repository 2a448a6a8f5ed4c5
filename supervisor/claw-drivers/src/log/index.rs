//! The index beside a segment: which bytes came from which stream, and when.
//!
//! A record is 16 little-endian bytes, so none crosses a page and a kill cannot tear one:
//!
//! ```text
//!  0        1                 8            12           16
//!  ├ tag ───┼ time, µs (56 b) ┼ start, u32 ┼ check, u32 ┤
//! ```
//!
//! `start` counts from the first byte of the segment. A record holds until the next one starts,
//! so output that continues needs no further record. `time` is that of the first byte.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::stream::Stream;

/// The size of an index record in bytes.
pub(crate) const RECORD_LEN: u64 = 16;

const STREAM_MASK: u8 = 0b0000_0011;
const BREAK: u8 = 0b0001_0000;
const UNSORTED: u8 = 0b0010_0000;

/// Records read at once; 4 KiB, one page.
const BLOCK_RECORDS: u64 = 256;

/// Wall time in microseconds since 1970; what the index stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Micros(u64);

impl Micros {
    /// The largest time the index can hold, in the year 4253.
    const MAX: u64 = (1 << 56) - 1;

    /// Converts a wall time; times before 1970 become 1970.
    pub(crate) fn from_wall(wall: SystemTime) -> Self {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(
            u64::try_from(since.as_micros())
                .unwrap_or(Self::MAX)
                .min(Self::MAX),
        )
    }

    /// Converts a bound of a query. Rounded up, so that comparing stored times, which are
    /// rounded down, with it agrees with comparing what readers are shown.
    pub(crate) fn from_bound(wall: SystemTime) -> Self {
        let floor = Self::from_wall(wall);
        if floor.to_wall() < wall {
            Self((floor.0 + 1).min(Self::MAX))
        } else {
            floor
        }
    }

    pub(crate) fn to_wall(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }

    pub(crate) fn elapsed_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Whether lines that are open before a record go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// They may.
    Continues,
    /// They do not: another writer began here, or output was dropped here.
    Breaks,
}

/// Whether the times of a segment's records, up to this one, never decrease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeOrder {
    Sorted,
    /// The wall clock was set back; searching by time must look at every record.
    Unsorted,
}

/// One entry of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) start: u32,
    pub(crate) at: Micros,
    pub(crate) stream: Stream,
    pub(crate) continuity: Continuity,
    pub(crate) order: TimeOrder,
}

impl Record {
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut tag = self.stream.tag();
        if self.continuity == Continuity::Breaks {
            tag |= BREAK;
        }
        if self.order == TimeOrder::Unsorted {
            tag |= UNSORTED;
        }
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&((self.at.0 << 8) | u64::from(tag)).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.start.to_le_bytes());
        let check = check(&bytes[..12]);
        bytes[12..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Decodes a record; `None` when it is not one (zeroes after a power cut, damage).
    pub(crate) fn decode(bytes: &[u8; 16]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, s0, s1, s2, s3, c0, c1, c2, c3] = *bytes;
        if u32::from_le_bytes([c0, c1, c2, c3]) != check(&bytes[..12]) {
            return None;
        }
        let continuity = if a & BREAK == 0 {
            Continuity::Continues
        } else {
            Continuity::Breaks
        };
        let order = if a & UNSORTED == 0 {
            TimeOrder::Sorted
        } else {
            TimeOrder::Unsorted
        };
        Some(Self {
            start: u32::from_le_bytes([s0, s1, s2, s3]),
            at: Micros(u64::from_le_bytes([b, c, d, e, f, g, h, 0])),
            stream: Stream::from_tag(a & STREAM_MASK)?,
            continuity,
            order,
        })
    }
}

/// FNV-1a: enough to tell a record from zeroes and from a torn one; never zero for zeroes.
fn check(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// An index open for reading, with the last block read.
#[derive(Debug)]
pub(crate) struct Index {
    file: Option<File>,
    block: Vec<u8>,
    block_first: u64,
    count: u64,
}

impl Index {
    /// Opens the records that describe the first `log_len` bytes of a segment. `log_len` must
    /// have been read before: records are written before their bytes, so none can be missing.
    pub(crate) fn new(file: Option<File>, log_len: u64) -> io::Result<Self> {
        let all = match &file {
            Some(file) => file.metadata()?.len() / RECORD_LEN,
            None => 0,
        };
        let mut index = Self {
            file,
            block: Vec::new(),
            block_first: 0,
            count: all,
        };
        index.count = index.partition_point(|record| u64::from(record.start) < log_len)?;
        Ok(index)
    }

    /// The number of usable records.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Reads record `i`; `None` past the end and for damaged records.
    pub(crate) fn get(&mut self, i: u64) -> io::Result<Option<Record>> {
        if i >= self.count {
            return Ok(None);
        }
        let cached = u64::try_from(self.block.len()).unwrap_or(0) / RECORD_LEN;
        if i < self.block_first || i >= self.block_first + cached {
            self.load(i - i % BLOCK_RECORDS)?;
        }
        let at = usize::try_from((i - self.block_first) * RECORD_LEN).unwrap_or(usize::MAX);
        let bytes = self
            .block
            .get(at..)
            .and_then(|rest| rest.first_chunk::<16>());
        Ok(bytes.and_then(Record::decode))
    }

    /// Returns the number of leading records for which `holds` is true; it must be true for a
    /// prefix only. A damaged record counts as false.
    pub(crate) fn partition_point(
        &mut self,
        mut holds: impl FnMut(&Record) -> bool,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle)?.as_ref().is_some_and(&mut holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn load(&mut self, first: u64) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let wanted = BLOCK_RECORDS.min(self.count - first) * RECORD_LEN;
        self.block.resize(usize::try_from(wanted).unwrap_or(0), 0);
        self.block_first = first;
        let mut read = 0;
        while read < self.block.len() {
            let at = first * RECORD_LEN + u64::try_from(read).unwrap_or(0);
            match file.read_at(&mut self.block[read..], at)? {
                0 => break,
                n => read += n,
            }
        }
        self.block.truncate(read);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_encoding_and_zeroes_are_no_record() {
        let record = Record {
            start: 0xdead_beef,
            at: Micros::from_wall(UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456)),
            stream: Stream::Stderr,
            continuity: Continuity::Breaks,
            order: TimeOrder::Unsorted,
        };
        assert_eq!(Record::decode(&record.encode()), Some(record));
        assert_eq!(Record::decode(&[0; 16]), None);
        let mut torn = record.encode();
        torn[9] ^= 1;
        assert_eq!(Record::decode(&torn), None);
    }

    #[test]
    fn times_outside_the_range_are_clamped() {
        let before = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(Micros::from_wall(before).to_wall(), UNIX_EPOCH);
    }
}

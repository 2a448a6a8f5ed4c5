//! A segment open for writing. Which bytes go where is decided by the
//! [capture](super::capture) of the lane.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::index::{Continuity, Index, Micros, RECORD_LEN, Record, TimeOrder};
use super::lane::FILE_MODE;
use super::segment;
use super::stream::Stream;

/// The files being written, and how far.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    log: File,
    index: File,
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) records: u64,
    pub(crate) last: Option<Record>,
}

impl OpenSegment {
    pub(crate) fn create(lane: &Path, start: u64) -> io::Result<Self> {
        // The index first: a reader that finds the segment finds its index too.
        let index = options().open(segment::index_path(lane, start))?;
        index.set_len(0)?;
        let log = options().open(segment::log_path(lane, start))?;
        Ok(Self {
            log,
            index,
            start,
            len: 0,
            records: 0,
            last: None,
        })
    }

    /// Opens a segment that may have been left by a killed writer, and repairs its index: records
    /// that point past the end are forgotten, bytes without any record get one.
    pub(crate) fn reopen(lane: &Path, start: u64) -> io::Result<Self> {
        let index = options().open(segment::index_path(lane, start))?;
        let log = options().open(segment::log_path(lane, start))?;
        let metadata = log.metadata()?;
        let len = metadata.len();
        let mut known = Index::new(Some(index.try_clone()?), len)?;
        let records = known.count();
        let last = records
            .checked_sub(1)
            .map(|i| known.get(i))
            .transpose()?
            .flatten();
        let mut segment = Self {
            log,
            index,
            start,
            len,
            records,
            last,
        };
        if records == 0 && len > 0 {
            let record = Record {
                start: 0,
                at: Micros::from_wall(metadata.modified()?),
                stream: Stream::Stdout,
                continuity: Continuity::Continues,
                order: TimeOrder::Sorted,
            };
            segment.write_record(record)?;
            segment.keep_record(Some(record));
        }
        segment.index.set_len(segment.records * RECORD_LEN)?;
        Ok(segment)
    }

    /// Makes the segment survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.log.sync_data()?;
        self.index.sync_data()
    }

    pub(crate) fn ends_line(&self) -> io::Result<bool> {
        let Some(last) = self.len.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        self.log.read_exact_at(&mut byte, last)?;
        Ok(byte[0] == b'\n')
    }

    /// Writes a record to the next place, which [`OpenSegment::keep_record`] then takes. Until
    /// then it points past the end, where readers ignore it.
    pub(crate) fn write_record(&self, record: Record) -> io::Result<()> {
        self.index
            .write_all_at(&record.encode(), self.records * RECORD_LEN)
    }

    pub(crate) fn keep_record(&mut self, record: Option<Record>) {
        if record.is_some() {
            self.records += 1;
            self.last = record;
        }
    }

    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.log.write_at(&bytes[written..], self.len) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(n) => {
                    written += n;
                    self.len += u64::try_from(n).expect("a usize fits 64 bits");
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE);
    options
}

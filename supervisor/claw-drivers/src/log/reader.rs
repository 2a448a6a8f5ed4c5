//! The reader of an agent's log: used by the daemon on a thread that may block.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::cursor::{Cursor, LanePosition};
use super::lane;
use super::lane_lines::LaneLines;
use super::lines::Lines;
use super::query::{Limits, LogQuery, Page, PageEnd, Unterminated};
use super::segment;

/// A log could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The log directory could not be listed.
    #[error("cannot list the log directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file of a lane could not be read.
    #[error("cannot read log lane {lane}")]
    Lane {
        /// The lane.
        lane: u32,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Reads the log below one directory. Holds nothing open between calls, so it costs nothing to
/// keep and never delays the deletion of old segments.
#[derive(Clone, Debug)]
pub struct LogReader {
    log_dir: PathBuf,
}

impl LogReader {
    /// Names the log to read. A log that does not exist yet reads as empty.
    #[must_use]
    pub fn open(log_dir: impl Into<PathBuf>) -> Self {
        Self {
            log_dir: log_dir.into(),
        }
    }

    /// Starts reading what `query` asks for, up to where the log ends at present.
    ///
    /// # Errors
    /// Fails when a directory cannot be listed or a file not be read.
    pub fn lines(&self, query: &LogQuery) -> Result<Lines, ReadError> {
        let mut lanes = Vec::new();
        for lane in self.lanes()? {
            if query.range.is_some_and(|range| range.lane != lane) {
                continue;
            }
            let failed = |source| ReadError::Lane { lane, source };
            lanes.push(LaneLines::open(&self.log_dir, lane, query).map_err(failed)?);
        }
        Lines::new(lanes, query)
    }

    /// Reads one page of what `query` asks for.
    ///
    /// # Errors
    /// As [`LogReader::lines`]; the items before the failure are lost with it.
    pub fn read(&self, query: &LogQuery, limits: Limits) -> Result<Page, ReadError> {
        let mut lines = self.lines(query)?;
        let mut items = Vec::new();
        let mut bytes = 0;
        let end = loop {
            if !items.is_empty() && (items.len() >= limits.lines || bytes >= limits.bytes) {
                break PageEnd::Limit;
            }
            let Some(item) = lines.next().transpose()? else {
                break PageEnd::LogEnd;
            };
            bytes += item.text_len();
            items.push(item);
        };
        Ok(Page {
            items,
            cursor: lines.cursor(),
            end,
        })
    }

    /// Reads the next page after `cursor`; a line that has not ended yet is kept for later.
    ///
    /// # Errors
    /// As [`LogReader::lines`].
    pub fn read_after(&self, cursor: &Cursor, limits: Limits) -> Result<Page, ReadError> {
        let query = LogQuery {
            after: Some(cursor.clone()),
            unterminated: Unterminated::Hold,
            ..LogQuery::default()
        };
        self.read(&query, limits)
    }

    /// Returns the place where the log ends at present.
    ///
    /// # Errors
    /// As [`LogReader::lines`].
    pub fn end(&self) -> Result<Cursor, ReadError> {
        let mut cursor = Cursor::default();
        for lane in self.lanes()? {
            cursor
                .lanes
                .insert(lane, LanePosition::at(self.lane_end(lane)?));
        }
        Ok(cursor)
    }

    /// Says whether there are bytes that a reader at `cursor` has not seen.
    ///
    /// # Errors
    /// As [`LogReader::lines`].
    pub fn changed_since(&self, cursor: &Cursor) -> Result<bool, ReadError> {
        for lane in self.lanes()? {
            let seen = cursor.lanes.get(&lane).map_or(0, |position| position.next);
            if self.lane_end(lane)? != seen {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lane_end(&self, lane: u32) -> Result<u64, ReadError> {
        let dir = lane::path(&self.log_dir, lane);
        segment::end(&dir).map_err(|source| ReadError::Lane { lane, source })
    }

    fn lanes(&self) -> Result<Vec<u32>, ReadError> {
        lane::list(&self.log_dir).map_err(|source| ReadError::Directory {
            path: self.log_dir.clone(),
            source,
        })
    }
}

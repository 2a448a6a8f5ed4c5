//! The lines of all lanes of a log, merged by time.

use std::collections::VecDeque;

use super::cursor::{Cursor, LanePosition};
use super::lane_lines::{Entry, LaneLines};
use super::query::{LogItem, LogQuery, MAX_TAIL_LINES};
use super::reader::ReadError;

/// The most text `tail` keeps in memory, in bytes; fewer lines are given when they are long.
const MAX_TAIL_BYTES: usize = 64 << 20;

/// Items of a log in time order: gaps as soon as they are found, lines by the time of their first
/// byte. Lines of one lane keep the order in which they ended. Made by
/// [`LogReader::lines`](super::LogReader::lines).
#[derive(Debug)]
pub struct Lines {
    lanes: Vec<LaneLines>,
    /// Entries of a tail, read already, each with the number of its lane in `lanes`.
    kept: VecDeque<(usize, Entry)>,
    failed: bool,
}

impl Lines {
    pub(crate) fn new(lanes: Vec<LaneLines>, query: &LogQuery) -> Result<Self, ReadError> {
        let mut lines = Self {
            lanes,
            kept: VecDeque::new(),
            failed: false,
        };
        if let Some(count) = query.tail {
            lines.keep_last(count.min(MAX_TAIL_LINES))?;
        }
        Ok(lines)
    }

    /// Returns the place after the last item that was yielded.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let mut cursor = Cursor::default();
        for (i, lane) in self.lanes.iter().enumerate() {
            let outstanding = self.kept.iter().any(|(kept, _)| *kept == i);
            let position = if outstanding {
                lane.position()
            } else {
                lane.reached()
            };
            cursor.lanes.insert(lane.lane(), position);
        }
        cursor
    }

    fn keep_last(&mut self, count: usize) -> Result<(), ReadError> {
        let mut bytes = 0;
        while let Some((i, entry)) = self.take_earliest()? {
            bytes += entry.item.text_len();
            self.kept.push_back((i, entry));
            while self.kept.len() > count || bytes > MAX_TAIL_BYTES {
                let Some((i, dropped)) = self.kept.pop_front() else {
                    break;
                };
                bytes -= dropped.item.text_len();
                self.commit(i, dropped.after);
            }
        }
        Ok(())
    }

    fn take_earliest(&mut self) -> Result<Option<(usize, Entry)>, ReadError> {
        let mut earliest = None;
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let number = lane.lane();
            let failed = |source| ReadError::Lane {
                lane: number,
                source,
            };
            // A gap has no time and comes first.
            let at = match lane.peek().map_err(failed)? {
                Some(Entry {
                    item: LogItem::Line(line),
                    ..
                }) => Some(line.at),
                Some(Entry {
                    item: LogItem::Gap(_),
                    ..
                }) => None,
                None => continue,
            };
            if earliest.is_none_or(|(other, _)| at < other) {
                earliest = Some((at, i));
            }
        }
        Ok(earliest.and_then(|(_, i)| self.lanes[i].take().map(|entry| (i, entry))))
    }

    fn commit(&mut self, lane: usize, after: LanePosition) {
        self.lanes[lane].commit(after);
    }

    fn next_entry(&mut self) -> Result<Option<(usize, Entry)>, ReadError> {
        match self.kept.pop_front() {
            Some(kept) => Ok(Some(kept)),
            None => self.take_earliest(),
        }
    }
}

impl Iterator for Lines {
    type Item = Result<LogItem, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.next_entry() {
            Ok(Some((i, entry))) => {
                self.commit(i, entry.after);
                Some(Ok(entry.item))
            }
            Ok(None) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

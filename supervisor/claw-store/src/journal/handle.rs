//! The handle that everybody holds.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use claw_core::{Record, RecordId};
use tokio::sync::oneshot;

use super::error::{CallError, CloseError, JournalError};
use super::idempotency::Remembered;
use super::limits::CLOSE_TIME;
use super::load::Opened;
use super::open::{self, Options};
use super::queue::{Answer, Job, Offer, Queue, What};
use super::reader::Reader;
use super::stats::{Meters, Stats};
use super::sync::SyncQueue;

/// One thing to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Asks for an [`Ack`].
    pub id: Option<RecordId>,
    /// What to write.
    pub record: Record,
}

/// The journal's answer to an entry with an id: exactly one for each appended before the close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which entry.
    pub id: RecordId,
    /// Recorded as durably as its class demands, or why not. After a failed sync, and only then,
    /// an entry that was refused may still be found at the next start.
    pub result: Result<(), String>,
}

/// The journal. Clones share it; when the last one is dropped, what is queued is still written.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) queue: Arc<Queue>,
    pub(super) syncs: Arc<SyncQueue>,
    pub(super) meters: Arc<Meters>,
    pub(super) reader: Reader,
    pub(super) ended: Mutex<Receiver<Result<(), CloseError>>>,
}

impl Journal {
    /// Opens the journal at `path`, or makes one where there is none, and starts its threads.
    ///
    /// Blocks while it checks the file, at most some seconds. `acks` is called from the journal's
    /// threads and must not block: while it runs, nothing is written or synced.
    ///
    /// # Errors
    ///
    /// A file that is damaged, foreign, newer, locked or cannot be written is left as it is.
    pub fn open(
        path: &Path,
        options: Options,
        acks: impl Fn(Vec<Ack>) + Send + 'static,
    ) -> Result<(Self, Opened), JournalError> {
        let (shared, opened) = open::open(path, options, Box::new(acks))?;
        let shared = Arc::new(shared);
        Ok((Self { shared }, opened))
    }

    /// Queues an entry. Never blocks; entries are written in the order of the calls.
    ///
    /// When the queue is full, an entry with an id is answered as failed. One without tells what
    /// has already happened, so it is taken all the same, up to a last bound where it is dropped
    /// and counted in [`Stats::dropped`].
    pub fn append(&self, entry: Entry) {
        let answer = entry.id.map_or(Answer::Nobody, Answer::Ack);
        self.offer(What::Record(entry.record), answer);
    }

    /// Remembers an answer under its key; it survives a power cut then. If there is one already,
    /// that one stays and is returned.
    ///
    /// # Errors
    ///
    /// The disk refused it, or the journal is closed.
    pub async fn remember(&self, new: Remembered) -> Result<Option<Remembered>, CallError> {
        let (waiter, answer) = oneshot::channel();
        self.offer(What::Remember(new), Answer::Remembered(waiter, None));
        answer.await.unwrap_or(Err(CallError::Closed))
    }

    /// Asks questions, on threads and connections of their own.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.shared.reader.clone()
    }

    /// Entries that wait or are being written.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared.queue.depth()
    }

    /// A snapshot for metrics and `status`.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.meters.read(self.depth())
    }

    /// Writes and syncs what is queued and ends the journal; clones are refused from now on.
    /// Blocks, at most [`CLOSE_TIME`].
    ///
    /// # Errors
    ///
    /// Something was not written, or the file was not left in a clean state. What was answered as
    /// recorded is recorded in any case.
    pub fn close(self) -> Result<(), CloseError> {
        let ended = self.shared.ended.lock();
        let ended = ended.unwrap_or_else(PoisonError::into_inner);
        self.shared.queue.close();
        let waiting = || self.shared.queue.depth();
        match ended.recv_timeout(CLOSE_TIME) {
            Ok(result) => result,
            // Another clone has closed it and has the answer.
            Err(RecvTimeoutError::Disconnected) if waiting() == 0 => Ok(()),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                Err(CloseError::TimedOut { waiting: waiting() })
            }
        }
    }

    fn offer(&self, what: What, answer: Answer) {
        let since = Instant::now();
        match self.shared.queue.offer(Job {
            what,
            answer,
            since,
        }) {
            Offer::Taken => {}
            Offer::Refused(answer, reason) => self.shared.syncs.refuse(answer, reason),
            Offer::Dropped => self.shared.meters.count_dropped(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

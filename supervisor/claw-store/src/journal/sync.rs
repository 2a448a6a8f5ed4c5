//! The thread that waits for the disk, so that the writer does not have to.
//!
//! It syncs the WAL for everybody who came while the last sync was under way, answers them, and
//! checkpoints when the writer asks for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claw_failpoint::Step;
use rusqlite::Connection;

use super::error::CloseError;
use super::handle::Ack;
use super::queue::{Answer, Queue};
use super::stats::Meters;
use crate::wal::move_over;

/// Receives what is answered.
pub(super) type AckFn = Box<dyn Fn(Vec<Ack>) + Send>;

/// Makes what was written to a file durable.
pub(super) type SyncFn = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

/// Where both threads deliver answers.
pub(super) struct Acks(Mutex<AckFn>);

impl Acks {
    pub(super) fn new(deliver: AckFn) -> Self {
        Self(Mutex::new(deliver))
    }

    pub(super) fn deliver(&self, acks: Vec<Ack>) {
        if acks.is_empty() {
            return;
        }
        let deliver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (*deliver)(acks);
    }
}

/// Somebody whose entry is committed and not yet synced.
pub(super) struct Waiting {
    pub(super) answer: Answer,
    pub(super) since: Instant,
}

/// What the sync thread is asked to do.
#[derive(Default)]
pub(super) struct SyncQueue {
    state: Mutex<Wishes>,
    wake: Condvar,
    /// The log is wholly checkpointed: the next commit starts it over and pays for a sync.
    restartable: AtomicBool,
}

#[derive(Default)]
struct Wishes {
    waiting: Vec<Waiting>,
    refused: Vec<(Answer, &'static str)>,
    checkpoint: bool,
    end: Option<Ending>,
    /// The thread has heard of the end and takes nothing any more.
    stage: Stage,
}

#[derive(Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Serving,
    Over,
}

/// How the journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The writer has written everything and marked the file as closed.
    Clean,
    /// It has not.
    Dirty,
}

impl SyncQueue {
    /// Asks for a sync. What is to be synced was committed before this call.
    pub(super) fn sync(&self, waiting: Vec<Waiting>) {
        self.wish(|wishes| wishes.waiting.extend(waiting));
    }

    pub(super) fn refuse(&self, answer: Answer, reason: &'static str) {
        self.wish(|wishes| wishes.refused.push((answer, reason)));
    }

    pub(super) fn checkpoint(&self) {
        self.wish(|wishes| wishes.checkpoint = true);
    }

    pub(super) fn end(&self, ending: Ending) {
        self.wish(|wishes| wishes.end = Some(ending));
    }

    /// Whether the next commit pays for a sync; asked once per round of the log.
    pub(super) fn take_restartable(&self) -> bool {
        self.restartable.swap(false, Relaxed)
    }

    /// After the end a wish is dropped, and with it whoever waits for an answer to it.
    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.lock();
        if wishes.stage == Stage::Serving {
            change(&mut wishes);
            self.wake.notify_one();
        }
    }

    /// Waits for a wish, for so long at most; for ever without a time.
    fn take(&self, patience: Option<Duration>) -> Wishes {
        let mut wishes = self.lock();
        while wishes.is_empty() {
            if let Some(patience) = patience {
                let woken = self.wake.wait_timeout(wishes, patience);
                wishes = woken.unwrap_or_else(PoisonError::into_inner).0;
                break;
            }
            let woken = self.wake.wait(wishes);
            wishes = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let taken = std::mem::take(&mut *wishes);
        if taken.end.is_some() {
            wishes.stage = Stage::Over;
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wishes {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.refused.is_empty() && !self.checkpoint && self.end.is_none()
    }
}

/// The thread's own things.
pub(super) struct Syncer {
    pub(super) wishes: Arc<SyncQueue>,
    pub(super) queue: Arc<Queue>,
    pub(super) acks: Arc<Acks>,
    pub(super) meters: Arc<Meters>,
    /// The `-wal` file, opened once: SQLite holds no locks on it.
    pub(super) wal: File,
    pub(super) fdatasync: SyncFn,
    /// How long after a failed sync, or after an attempt to mend it, there is another one.
    pub(super) mend_after: Duration,
    pub(super) tried: Instant,
    /// For checkpoints only.
    pub(super) conn: Connection,
    pub(super) ended: Sender<Result<(), CloseError>>,
}

impl Syncer {
    /// Runs until the journal ends.
    pub(super) fn run(mut self) {
        loop {
            let patience = self.meters.degraded().map(|_reason| self.mend_after);
            let wishes = self.wishes.take(patience);
            self.mend_if_due();
            self.refuse(wishes.refused);
            if !wishes.waiting.is_empty() {
                self.sync(wishes.waiting);
            }
            if let Some(ending) = wishes.end {
                let result = self.end(ending);
                // Nobody hears it when the handles were dropped instead of closed.
                drop(self.ended.send(result));
                return;
            }
            if wishes.checkpoint {
                self.checkpoint();
            }
        }
    }

    fn refuse(&self, refused: Vec<(Answer, &'static str)>) {
        let mut acks = Vec::with_capacity(refused.len());
        for (answer, reason) in refused {
            self.meters.failed.fetch_add(1, Relaxed);
            answer.give(Err(reason.to_owned()), &mut acks);
        }
        self.acks.deliver(acks);
    }

    fn sync(&mut self, waiting: Vec<Waiting>) {
        let result = self.sync_once();
        let mut acks = Vec::with_capacity(waiting.len());
        for Waiting { answer, since } in waiting {
            match &result {
                Ok(()) => self.meters.power_cut.record(since.elapsed()),
                Err(_) => {
                    self.meters.failed.fetch_add(1, Relaxed);
                }
            }
            answer.give(result.clone(), &mut acks);
        }
        self.acks.deliver(acks);
    }

    /// Makes everything that is committed durable. After a failure nothing is, until all of it has
    /// been written anew.
    fn sync_once(&mut self) -> Result<(), String> {
        if let Some(reason) = self.meters.degraded() {
            return Err(reason);
        }
        let began = Instant::now();
        claw_failpoint::before(Step::JournalSync);
        let synced = still_linked(&self.wal).and_then(|()| (self.fdatasync)(&self.wal));
        claw_failpoint::after(Step::JournalSync);
        self.meters.sync.record(began.elapsed());
        synced.map_err(|error| {
            let reason = format!("the journal could not be synced to disk: {error}");
            self.meters.degrade(reason.clone());
            reason
        })
    }

    fn mend_if_due(&mut self) {
        if self.meters.degraded().is_none() {
            self.tried = Instant::now();
            return;
        }
        if self.tried.elapsed() < self.mend_after {
            return;
        }
        self.tried = Instant::now();
        let linked = still_linked(&self.wal).map_err(|error| error.to_string());
        let moved = linked.and_then(|()| move_over(&self.wal, &self.conn, &mut self.fdatasync));
        match moved {
            Ok(()) => self.meters.mended(),
            Err(reason) => tracing::debug!(reason, "the journal is not mended yet"),
        }
    }

    /// Moves the log into the database, as far as nobody reads it, without waiting for anybody.
    fn checkpoint(&self) {
        if self.meters.degraded().is_some() {
            return;
        }
        let before = self.meters.wal_pages.load(Relaxed);
        match checkpoint(&self.conn, "PASSIVE") {
            // The writer makes one just now.
            Ok(None) => {}
            Ok(Some(found)) => {
                let left = |after| found.left(before, after);
                let pages = &self.meters.wal_pages;
                let counted = pages.fetch_update(Relaxed, Relaxed, |after| Some(left(after)));
                let empty = counted.is_ok_and(|after| left(after) == 0);
                self.wishes.restartable.store(empty, Relaxed);
                self.queue.poke();
            }
            Err(error) if is_sync_failure(&error) => {
                let reason = format!("the journal could not be synced to disk: {error}");
                self.meters.degrade(reason);
            }
            Err(error) => tracing::debug!(%error, "the journal's log could not be checkpointed"),
        }
    }

    fn end(&mut self, ending: Ending) -> Result<(), CloseError> {
        self.sync_once().map_err(CloseError::Failed)?;
        match ending {
            Ending::Clean => {}
            Ending::Dirty => {
                let reason = "its last entries could not be written";
                return Err(CloseError::Failed(reason.into()));
            }
        }
        // A reader of another process may keep the log from being emptied; it is used again then.
        checkpoint(&self.conn, "TRUNCATE")
            .map(drop)
            .map_err(|error| CloseError::Failed(error.to_string()))
    }
}

/// What a checkpoint found, in pages.
pub(crate) struct Checkpointed {
    pub(crate) in_log: u64,
    pub(crate) moved: u64,
}

impl Checkpointed {
    /// About the pages in the log that nobody has moved, of which there were so many counted before
    /// the checkpoint and so many after it. A log is begun anew only when all of it is moved, so
    /// what a writer appended meanwhile keeps the rest of it, too.
    fn left(&self, before: u64, after: u64) -> u64 {
        match after.saturating_sub(before) {
            0 if self.in_log == self.moved => 0,
            grown => self.in_log + grown,
        }
    }
}

/// Checkpoints on the given connection. Nothing is found where another connection makes a
/// checkpoint at the same time: SQLite tells of that in the first column, and leaves the others at
/// -1, which says nothing of how long the log is.
pub(crate) fn checkpoint(
    conn: &Connection,
    mode: &str,
) -> Result<Option<Checkpointed>, rusqlite::Error> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, in_log, moved): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if busy != 0 && in_log < 0 {
            return Ok(None);
        }
        // Both are -1 when there is no log.
        let pages = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(Some(Checkpointed {
            in_log: pages(in_log),
            moved: pages(moved),
        }))
    })
}

/// Whether SQLite was told by the system that a sync failed.
pub(super) fn is_sync_failure(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(
        code,
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
    )
}

/// A log that somebody deleted takes writes and syncs, and is gone at the next start.
fn still_linked(wal: &File) -> io::Result<()> {
    match wal.metadata()?.nlink() {
        0 => Err(io::Error::other("its -wal file was deleted")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn open(path: &std::path::Path) -> Connection {
        let conn = Connection::open(path).unwrap();
        let mode = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0";
        conn.execute_batch(mode).unwrap();
        conn
    }

    #[test]
    fn a_log_to_which_was_appended_during_its_checkpoint_is_not_taken_for_empty() {
        let whole = Checkpointed {
            in_log: 8_000,
            moved: 8_000,
        };
        assert_eq!(whole.left(8_100, 8_100), 0);
        assert_eq!(whole.left(8_100, 8_103), 8_003);
        let part = Checkpointed {
            in_log: 8_000,
            moved: 10,
        };
        assert_eq!(part.left(7_000, 7_000), 8_000);
    }

    /// The other one waits for a reader, and has the checkpoint for itself as long as it waits.
    #[test]
    fn a_checkpoint_beside_another_one_does_not_find_an_empty_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let own = open(&path);
        own.execute_batch("CREATE TABLE t (n)").unwrap();
        let reader = open(&path);
        let read = "BEGIN; SELECT count(*) FROM t";
        reader.execute_batch(read).unwrap();
        own.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let other = open(&path);
                other.busy_timeout(Duration::from_secs(60)).unwrap();
                while checkpoint(&other, "RESTART").unwrap().is_none() {
                    std::thread::yield_now();
                }
            });
            // Until the other one has begun, the log is found, and it is not empty.
            while let Some(found) = checkpoint(&own, "PASSIVE").unwrap() {
                assert!(found.in_log > 0);
                std::thread::yield_now();
            }
            reader.execute_batch("COMMIT").unwrap();
        });
        let found = checkpoint(&own, "PASSIVE").unwrap().unwrap();
        assert_eq!(found.in_log, found.moved);
    }
}

//! The thread that writes: everything queued, in order, one transaction at a time.
//!
//! ```text
//!   take ──► begin ──► what is due ──► each request ──► groups ──► commit ──► sync ──► answer
//!    ▲                                                     │                           wake
//!    │                                                     └─ refused ──► undo, answer
//!    └──────────────── every RETRY while the disk refuses ◄──────────────────┘
//! ```

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use claw_failpoint::Step;
use rusqlite::Connection;

use super::core::Core;
use super::error::{StoreCloseError, StoreError};
use super::handle::Signals;
use super::limits::{
    CHECKPOINT_PAGES, CHORES, GATHERING, INLINE_CHECKPOINT_PAGES, INLINE_RETRY_PAGES, RETRY,
};
use super::open::SyncFn;
use super::queue::{Answer, Expected, Job, Queue, Taken};
use crate::bus::Level;
use crate::journal::checkpoint;
use crate::wal::move_over;

/// The thread's own things.
pub(super) struct Writer {
    core: Core,
    queue: Arc<Queue>,
    signals: Arc<Signals>,
    log: Log,
    disk: Disk,
    /// Requests of the last batch.
    answered: usize,
}

/// What the disk did last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Writes,
    Refuses,
}

impl Writer {
    pub(super) fn new(core: Core, queue: Arc<Queue>, signals: Arc<Signals>, log: Log) -> Self {
        Self {
            core,
            queue,
            signals,
            log,
            disk: Disk::Writes,
            answered: 0,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) -> Result<(), StoreCloseError> {
        loop {
            match self.queue.take(self.patience(), self.expected()) {
                Taken::Batch(batch) => self.batch(batch),
                Taken::Idle => self.batch(Vec::new()),
                Taken::Closed => break,
            }
        }
        self.batch(Vec::new());
        match (self.disk, self.log.sync()) {
            (Disk::Writes, Ok(())) => {}
            (Disk::Refuses, _) => {
                return Err(StoreCloseError::Failed("the disk refuses writes".into()));
            }
            (Disk::Writes, Err(error)) => return Err(StoreCloseError::Failed(error.to_string())),
        }
        checkpoint(&self.core.conn, "TRUNCATE")
            .map(drop)
            .map_err(|error| StoreCloseError::Failed(error.to_string()))
    }

    /// Who was answered last, for a part of the time that a sync takes.
    fn expected(&self) -> Expected {
        Expected {
            jobs: self.answered,
            within: (self.log.sync_time / 4).min(GATHERING),
        }
    }

    /// How long nothing is due.
    fn patience(&self) -> Duration {
        let now = self.core.clock.now();
        let due = self.core.next_deadline();
        let wait = match self.disk {
            Disk::Refuses => RETRY,
            Disk::Writes if self.core.bus.is_dirty() => Duration::ZERO,
            Disk::Writes => due.map_or(CHORES, |due| due.since(now)),
        };
        wait.min(CHORES)
    }

    fn batch(&mut self, batch: Vec<Job>) {
        self.log.mend_if_due(&self.core.conn);
        self.core.now = self.core.clock.now();
        self.core.broken = self.core.run("BEGIN IMMEDIATE").err();
        self.core.do_what_is_due();
        let (jobs, bytes) = (batch.len(), batch.iter().map(|job| job.weight).sum());
        let (level, answers) = self.perform(batch);
        let committed = self.commit(jobs, bytes);
        match &committed {
            Ok(()) => self.disk = Disk::Writes,
            Err(error) => self.refused(error),
        }
        let durable = match (&committed, level) {
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Level::Disk) => self.log.sync(),
            (Ok(()), Level::Os) => Ok(()),
        };
        self.core.undo.clear();
        if committed.is_ok() {
            self.show();
        }
        self.answered = answers.len();
        for answer in answers {
            answer(durable.as_ref().copied());
        }
        self.signals.wake(self.core.bus.take_woken());
        self.keep_log_small();
    }

    fn perform(&mut self, batch: Vec<Job>) -> (Level, Vec<Answer>) {
        let mut level = Level::Os;
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch {
            let refusal = self.log.refusal().filter(|_| job.level == Level::Disk);
            if refusal.is_some() {
                // A log that cannot be synced concerns who needs it, and nobody else.
                let before = std::mem::replace(&mut self.core.broken, refusal);
                answers.push((job.run)(&mut self.core));
                self.core.broken = before;
                continue;
            }
            if job.level == Level::Disk {
                level = Level::Disk;
            }
            answers.push((job.run)(&mut self.core));
        }
        (level, answers)
    }

    fn commit(&mut self, jobs: usize, bytes: usize) -> Result<(), StoreError> {
        if self.core.broken.is_none()
            && let Err(error) = self.core.flush()
        {
            self.core.broken = Some(error);
        }
        if let Some(error) = self.core.broken.take() {
            return Err(error);
        }
        claw_failpoint::before(Step::StoreCommit);
        self.core.run("COMMIT")?;
        claw_failpoint::after(Step::StoreCommit);
        self.log.written(jobs, bytes);
        Ok(())
    }

    /// The transaction is lost: the file and memory are as they were before it.
    fn refused(&mut self, error: &StoreError) {
        self.disk = Disk::Refuses;
        if !self.core.conn.is_autocommit()
            && let Err(error) = self.core.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction of the store could not be undone");
        }
        tracing::warn!(%error, "the store could not write");
        self.core.undo_to(0);
        self.core.then.clear();
        self.core.bus.lost();
        self.core.spaces.lost();
        // Room in the log can be used again once its pages are in the database.
        self.log.checkpoint();
    }

    /// What is committed is shown to groups and readers.
    fn show(&mut self) {
        let now = self.core.now;
        self.core.bus.committed(now);
        self.core.spaces.committed(&self.core.cache);
        for then in std::mem::take(&mut self.core.then) {
            then(&mut self.core);
        }
        let head = self.core.bus.head();
        self.signals.head.send_if_modified(|seen| {
            let newer = *seen < head;
            *seen = head;
            newer
        });
        if self.core.bus.take_room() {
            self.signals.room.send_modify(|count| *count += 1);
        }
    }

    fn keep_log_small(&mut self) {
        if self.log.pages >= INLINE_CHECKPOINT_PAGES && self.log.failed.is_none() {
            self.log.restart(&self.core.conn);
        } else if self.log.pages >= self.log.checkpoint_at {
            self.log.checkpoint();
        }
    }
}

/// The write-ahead log: synced by the writer, moved into the database by a thread of its own.
pub(super) struct Log {
    wal: File,
    fdatasync: SyncFn,
    /// A failed sync cannot be made good by a second one: Linux has forgotten the pages. Since
    /// when, or since when it was tried last to write them anew.
    failed: Option<(String, Instant)>,
    mend_after: Duration,
    ask: SyncSender<()>,
    /// About the pages written since the log was begun anew, and how many are worth a checkpoint.
    pages: u64,
    checkpoint_at: u64,
    /// How long the last sync took.
    sync_time: Duration,
}

impl Log {
    pub(super) fn start(
        wal: File,
        (fdatasync, mend_after): (SyncFn, Duration),
        conn: Connection,
    ) -> std::io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        thread::Builder::new()
            .name("store-log".into())
            .spawn(move || {
                while asked.recv().is_ok() {
                    if let Err(error) = checkpoint(&conn, "PASSIVE") {
                        tracing::debug!(%error, "the store's log could not be checkpointed");
                    }
                }
            })?;
        Ok(Self {
            wal,
            fdatasync,
            failed: None,
            mend_after,
            ask,
            pages: 0,
            checkpoint_at: CHECKPOINT_PAGES,
            sync_time: Duration::ZERO,
        })
    }

    /// A request alone in its transaction touches some leaves, indexes and its group; many
    /// together share them.
    fn written(&mut self, jobs: usize, bytes: usize) {
        self.pages += 4 + (jobs + bytes / 4096) as u64;
    }

    /// Why nothing can be promised to survive a power cut any more.
    fn refusal(&self) -> Option<StoreError> {
        let failed = self.failed.as_ref();
        failed.map(|(reason, _)| StoreError::Unavailable(reason.clone()))
    }

    /// Makes everything that is committed durable. After a failure nothing is, until all of it has
    /// been written anew.
    fn sync(&mut self) -> Result<(), StoreError> {
        let began = Instant::now();
        claw_failpoint::before(Step::StoreSync);
        if self.failed.is_none()
            && let Err(error) = (self.fdatasync)(&self.wal)
        {
            let reason = format!("its log could not be synced to disk: {error}");
            self.failed = Some((reason, Instant::now()));
        }
        claw_failpoint::after(Step::StoreSync);
        self.sync_time = began.elapsed();
        self.refusal().map_or(Ok(()), Err)
    }

    /// Before each batch: who asks finds out whether the disk takes anything again.
    fn mend_if_due(&mut self, conn: &Connection) {
        let Some((_, tried)) = &mut self.failed else {
            return;
        };
        if tried.elapsed() < self.mend_after {
            return;
        }
        *tried = Instant::now();
        match move_over(&self.wal, conn, &mut self.fdatasync) {
            Ok(()) => {
                self.failed = None;
                tracing::warn!("the store was written anew, and promises durability again");
            }
            Err(reason) => tracing::debug!(reason, "the store is not mended yet"),
        }
    }

    /// Moves the log into the database beside the writer, as far as nobody reads it.
    fn checkpoint(&mut self) {
        self.checkpoint_at = self.pages + CHECKPOINT_PAGES;
        if self.failed.is_none() {
            let asked = self.ask.try_send(());
            tracing::trace!(
                ?asked,
                "one checkpoint that is under way or asked for will do"
            );
        }
    }

    /// Moves what is left and lets the next commit begin the log anew.
    fn restart(&mut self, conn: &Connection) {
        self.pages = match checkpoint(conn, "PASSIVE") {
            Ok(Some(_)) => 0,
            // The thread beside makes one just now, and cannot come to the end of a log that grows.
            Ok(None) => INLINE_CHECKPOINT_PAGES - INLINE_RETRY_PAGES,
            Err(error) => {
                tracing::debug!(%error, "the store's log could not be restarted");
                0
            }
        };
        self.checkpoint_at = self.pages + CHECKPOINT_PAGES;
    }
}

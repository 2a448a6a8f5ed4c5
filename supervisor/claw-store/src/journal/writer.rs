//! The thread that writes: everything queued, in order, one transaction at a time.
//!
//! ```text
//!   take ──► write ──► committed ──► answer (our death) / hand to the sync thread (power cut)
//!    ▲         │
//!    │         ├─ locked by another process ──► try again, nothing is refused
//!    │         └─ disk full or broken ──► who waits is refused; what has happened is kept
//!    │                                                          │
//!    └──────────────── every RETRY, and with each new entry ◄───┘
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use claw_core::Durability;
use rusqlite::{Connection, ErrorCode};

use super::limits::{
    BUSY_CHECKPOINT_PAGES, IDLE, IDLE_CHECKPOINT_PAGES, INLINE_CHECKPOINT_PAGES,
    INLINE_RETRY_PAGES, PRUNE_EVERY, RETRY,
};
use super::mark;
use super::queue::{Answer, Job, Queue, Taken, What};
use super::retention::Retention;
use super::statement::{self, Applied, Unwritten};
use super::stats::Meters;
use super::sync::{self, Acks, Ending, SyncQueue, Waiting};

/// The thread's own things.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) queue: Arc<Queue>,
    pub(super) syncs: Arc<SyncQueue>,
    pub(super) acks: Arc<Acks>,
    pub(super) meters: Arc<Meters>,
    pub(super) boot_id: String,
    pub(super) retention: Retention,
    /// What the disk refused and nobody waits for: written first, as soon as it can be.
    pub(super) kept: Vec<Job>,
    pub(super) disk: Disk,
    /// Pages in the log from which the next checkpoint is asked for, and from which it is not
    /// asked for but made.
    pub(super) checkpoint_at: u64,
    pub(super) inline_at: u64,
}

/// What the disk did last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Writes,
    Refuses,
}

/// What became of a transaction.
enum Written {
    /// Committed, with what became of each entry.
    Committed(Vec<Result<Applied, String>>),
    /// Another process holds the lock.
    Locked,
    /// Nothing was written.
    Failed(rusqlite::Error),
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let wait = match self.disk {
                Disk::Refuses => Some(RETRY),
                Disk::Writes => self.has_chores().then_some(IDLE),
            };
            match (self.queue.take(wait), self.disk) {
                (Taken::Batch(batch), Disk::Writes | Disk::Refuses) => self.write(batch),
                (Taken::Idle, Disk::Writes) => self.tidy(),
                (Taken::Idle, Disk::Refuses) => self.try_again(),
                (Taken::Closed, Disk::Writes | Disk::Refuses) => break,
            }
        }
        self.write(Vec::new());
        self.syncs.end(self.ending());
    }

    /// Writes a batch behind what was kept, and answers.
    fn write(&mut self, batch: Vec<Job>) {
        let mut jobs = std::mem::take(&mut self.kept);
        jobs.extend(self.refuse_unsafe(batch));
        if jobs.is_empty() {
            return;
        }
        loop {
            match self.transact(&jobs) {
                Written::Committed(results) => {
                    self.unblock();
                    let entries = jobs.len();
                    self.answer(jobs, results);
                    return self.tidy_beside_work(entries);
                }
                Written::Locked if !self.queue.is_closed() => {
                    let reason = "another process holds a lock on it";
                    self.meters.set_blocked(Some(reason.into()));
                }
                Written::Locked => return self.fail(jobs, "another process holds a lock on it"),
                Written::Failed(error) => return self.fail(jobs, &self.explain(&error)),
            }
        }
    }

    /// Writes what was kept, or something of no meaning, so that the journal says that it can be
    /// written again as soon as that is so.
    fn try_again(&mut self) {
        if !self.kept.is_empty() {
            return self.write(Vec::new());
        }
        match mark::touch(&self.conn) {
            Ok(()) => self.unblock(),
            Err(error) => tracing::debug!(%error, "the journal still cannot be written"),
        }
    }

    fn unblock(&mut self) {
        self.disk = Disk::Writes;
        self.meters.set_blocked(None);
    }

    /// After a failed sync nothing can be promised to survive a power cut; who asks for that is
    /// refused before anything is written, so that what was refused does not come back.
    fn refuse_unsafe(&self, batch: Vec<Job>) -> Vec<Job> {
        let Some(reason) = self.meters.degraded() else {
            return batch;
        };
        let promised = |job: &mut Job| {
            job.durability() == Durability::PowerCut && !matches!(job.answer, Answer::Nobody)
        };
        let mut batch = batch;
        let refused = batch.extract_if(.., promised).collect();
        self.refuse(refused, &reason);
        batch
    }

    fn transact(&self, jobs: &[Job]) -> Written {
        match self.try_transact(jobs) {
            Ok(results) => Written::Committed(results),
            Err(error) => {
                if !self.conn.is_autocommit()
                    && let Err(error) = self.conn.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "a transaction of the journal could not be undone");
                }
                if is_locked(&error) {
                    Written::Locked
                } else {
                    Written::Failed(error)
                }
            }
        }
    }

    fn try_transact(&self, jobs: &[Job]) -> Result<Vec<Result<Applied, String>>, rusqlite::Error> {
        let mut results = Vec::with_capacity(jobs.len());
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for job in jobs {
            match statement::apply(&self.conn, &self.boot_id, &job.what) {
                Ok(applied) => results.push(Ok(applied)),
                Err(Unwritten::Refused(reason)) => results.push(Err(reason)),
                Err(Unwritten::Broken(error)) => return Err(error),
            }
        }
        let steps = || jobs.iter().map(|job| job.what.step());
        steps().for_each(claw_failpoint::before);
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        steps().for_each(claw_failpoint::after);
        Ok(results)
    }

    fn answer(&mut self, jobs: Vec<Job>, results: Vec<Result<Applied, String>>) {
        self.count(&jobs);
        let mut acks = Vec::new();
        let mut waiting = Vec::new();
        for (job, result) in jobs.into_iter().zip(results) {
            self.retention.note(&job.what);
            let durability = job.durability();
            let Job {
                what,
                answer,
                since,
            } = job;
            match (self.judge(&what, answer, result), durability) {
                ((answer, Ok(())), Durability::OurDeath) => {
                    self.meters.our_death.record(since.elapsed());
                    answer.give(Ok(()), &mut acks);
                }
                ((answer, Ok(())), Durability::PowerCut) => {
                    waiting.push(Waiting { answer, since });
                }
                ((answer, Err(reason)), Durability::OurDeath | Durability::PowerCut) => {
                    answer.give(Err(reason), &mut acks);
                }
            }
        }
        self.acks.deliver(acks);
        if !waiting.is_empty() {
            self.syncs.sync(waiting);
        }
    }

    /// What the waiter of a committed entry is told.
    fn judge(
        &self,
        what: &What,
        answer: Answer,
        result: Result<Applied, String>,
    ) -> (Answer, Result<(), String>) {
        match result {
            Ok(Applied::Written) => (answer, Ok(())),
            Ok(Applied::DuplicateOutcome) => {
                self.meters.duplicate_outcomes.fetch_add(1, Relaxed);
                tracing::debug!(?what, "dropped a second outcome");
                (answer, Ok(()))
            }
            Ok(Applied::Known(before)) => match answer {
                Answer::Remembered(waiter, _) => (Answer::Remembered(waiter, Some(before)), Ok(())),
                other @ (Answer::Nobody | Answer::Ack(_)) => (other, Ok(())),
            },
            Err(reason) => {
                self.meters.failed.fetch_add(1, Relaxed);
                tracing::warn!(?what, reason, "the journal refused an entry");
                (answer, Err(reason))
            }
        }
    }

    /// Tells everybody who waits; what nobody waits for has happened and must not get lost.
    fn fail(&mut self, jobs: Vec<Job>, reason: &str) {
        self.disk = Disk::Refuses;
        self.meters.set_blocked(Some(reason.to_owned()));
        let mut jobs = jobs;
        let nobody = |job: &mut Job| matches!(job.answer, Answer::Nobody);
        self.kept = jobs.extract_if(.., nobody).collect();
        self.refuse(jobs, reason);
        // Room in the log can be used again once its pages are in the database.
        self.syncs.checkpoint();
    }

    fn refuse(&self, jobs: Vec<Job>, reason: &str) {
        self.settle(&jobs);
        let mut acks = Vec::with_capacity(jobs.len());
        for job in jobs {
            self.meters.failed.fetch_add(1, Relaxed);
            job.answer.give(Err(reason.to_owned()), &mut acks);
        }
        self.acks.deliver(acks);
    }

    fn explain(&self, error: &rusqlite::Error) -> String {
        if sync::is_sync_failure(error) {
            let reason = format!("the journal could not be synced to disk: {error}");
            self.meters.degrade(reason.clone());
            return reason;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "no space left on the journal's disk".to_owned(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                let reason = format!("the journal is damaged: {error}");
                self.meters.degrade(reason.clone());
                reason
            }
            _ => format!("the journal cannot be written: {error}"),
        }
    }

    fn count(&self, jobs: &[Job]) {
        self.settle(jobs);
        let payload: usize = jobs.iter().map(Job::weight).sum();
        let entries = jobs.len() as u64;
        // An entry alone in its transaction touches a leaf, one or two index pages and the root's
        // neighbourhood; many together share them.
        let pages = 3 + 2 * entries + (payload / 4096) as u64;
        self.meters.wal_pages.fetch_add(pages, Relaxed);
        self.meters.written.fetch_add(entries, Relaxed);
        self.meters.commits.fetch_add(1, Relaxed);
    }

    fn settle(&self, jobs: &[Job]) {
        let bytes = jobs.iter().map(Job::weight).sum();
        self.queue.settled(jobs.len(), bytes);
    }

    /// A log that cannot be started over, because somebody reads it, is not worth a checkpoint
    /// with each commit: the next one is due when it has grown again.
    fn keep_log_small(&mut self) {
        let pages = self.meters.wal_pages.load(Relaxed);
        if pages < BUSY_CHECKPOINT_PAGES {
            self.checkpoint_at = BUSY_CHECKPOINT_PAGES;
            self.inline_at = INLINE_CHECKPOINT_PAGES;
        } else if pages >= self.inline_at && self.meters.degraded().is_none() {
            self.inline_at = pages + self.checkpoint_inline();
        } else if pages >= self.checkpoint_at {
            self.checkpoint_at = pages + IDLE_CHECKPOINT_PAGES;
            self.syncs.checkpoint();
        }
    }

    /// Checkpoints, and says by how many pages the log may grow before this is done again.
    fn checkpoint_inline(&self) -> u64 {
        match sync::checkpoint(&self.conn, "PASSIVE") {
            Ok(Some(found)) if found.in_log == found.moved => {
                self.meters.wal_pages.store(0, Relaxed);
                INLINE_CHECKPOINT_PAGES
            }
            Ok(Some(_)) => INLINE_CHECKPOINT_PAGES,
            // The sync thread makes one just now, and cannot come to the end of a log that grows.
            Ok(None) => INLINE_RETRY_PAGES,
            Err(error) => {
                tracing::debug!(reason = self.explain(&error), "checkpoint failed");
                INLINE_CHECKPOINT_PAGES
            }
        }
    }

    fn has_chores(&self) -> bool {
        self.retention.is_due() || self.meters.wal_pages.load(Relaxed) >= IDLE_CHECKPOINT_PAGES
    }

    /// What must not wait until nobody appends anything, because that may never be. Who waits for
    /// the batch is answered; the next one waits for this.
    fn tidy_beside_work(&mut self, entries: usize) {
        let steps = 1 + entries / PRUNE_EVERY as usize;
        for _ in 0..steps {
            if !self.forget_some() {
                break;
            }
        }
        self.keep_log_small();
    }

    /// Small steps, as long as nobody appends anything.
    fn tidy(&mut self) {
        if self.syncs.take_restartable() {
            let began = Instant::now();
            if let Err(error) = mark::touch(&self.conn) {
                tracing::debug!(
                    reason = self.explain(&error),
                    "the log was not started over"
                );
            }
            self.meters.sync.record(began.elapsed());
        }
        while self.queue.is_empty() && self.forget_some() {}
        if self.meters.wal_pages.load(Relaxed) >= IDLE_CHECKPOINT_PAGES {
            self.syncs.checkpoint();
        }
    }

    /// One step of retention; says whether another is worth while.
    fn forget_some(&mut self) -> bool {
        if !self.retention.is_due() {
            return false;
        }
        match self.retention.step(&self.conn, jiff::Timestamp::now()) {
            Ok(rows) => {
                // A row has its leaf and those of its indexes.
                self.meters.wal_pages.fetch_add(3 * rows as u64, Relaxed);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "old entries of the journal could not be deleted");
                false
            }
        }
    }

    fn ending(&self) -> Ending {
        let lost = !self.kept.is_empty() || self.meters.degraded().is_some();
        if lost {
            return Ending::Dirty;
        }
        match mark::clear(&self.conn) {
            Ok(()) => Ending::Clean,
            Err(error) => {
                tracing::warn!(%error, "the journal could not be marked as closed");
                Ending::Dirty
            }
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::core::{Core, Kind};
use super::error::StoreError;
use super::limits::{BATCH_BYTES, BATCH_JOBS, QUEUE_BYTES, QUEUE_JOBS};
use crate::bus::Level;

/// Tells the waiter how it ended; called once the transaction is committed or lost.
pub(super) type Answer = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

/// One request.
pub(super) struct Job {
    pub(super) level: Level,
    pub(super) kind: Kind,
    pub(super) weight: usize,
    pub(super) run: Box<dyn FnOnce(&mut Core) -> Answer + Send>,
}

/// What the writer finds.
pub(super) enum Taken {
    Batch(Vec<Job>),
    /// Nothing came in time, or somebody poked.
    Idle,
    Closed,
}

/// A bounded queue that keeps the order of what it takes.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    poked: bool,
    gate: Gate,
}

#[derive(Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    Closed,
}

impl Queue {
    pub(super) fn offer(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.gate == Gate::Closed {
            return Err(StoreError::Closed);
        }
        if state.jobs.len() >= QUEUE_JOBS || state.bytes >= QUEUE_BYTES {
            return Err(StoreError::Busy);
        }
        state.bytes += job.weight;
        state.jobs.push_back(job);
        let first = state.jobs.len() == 1;
        drop(state);
        // A writer that is at work looks here before it waits.
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs, at most this long.
    pub(super) fn take(&self, wait: Duration) -> Taken {
        let deadline = Instant::now() + wait;
        let mut state = self.lock();
        while state.jobs.is_empty() && state.gate == Gate::Open && !state.poked {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Idle;
            }
            let woken = self.wake.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.poked = false;
        if !state.jobs.is_empty() {
            return Taken::Batch(state.batch());
        }
        if state.gate == Gate::Closed {
            return Taken::Closed;
        }
        Taken::Idle
    }

    /// Wakes the writer although there is nothing to write.
    pub(super) fn poke(&self) {
        self.lock().poked = true;
        self.wake.notify_one();
    }

    /// Takes nothing any more; what was taken is still done.
    pub(super) fn close(&self) {
        self.lock().gate = Gate::Closed;
        self.wake.notify_one();
    }

    pub(super) fn depth(&self) -> usize {
        self.lock().jobs.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// As many as fit in one transaction; one that must be alone is.
    fn batch(&mut self) -> Vec<Job> {
        let (mut count, mut bytes) = (0, 0);
        for job in self.jobs.iter().take(BATCH_JOBS) {
            let ends = count > 0 && (job.kind == Kind::Alone || bytes >= BATCH_BYTES);
            if ends {
                break;
            }
            count += 1;
            bytes += job.weight;
            if job.kind == Kind::Alone {
                break;
            }
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.jobs.drain(..count).collect()
    }
}

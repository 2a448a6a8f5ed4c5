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

/// What is worth waiting for before a batch is begun.
///
/// Those who were just answered often ask again at once. Without them, the first to come back
/// would have a sync of the disk for itself while all others wait for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) jobs: usize,
    pub(super) within: Duration,
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
    /// The number of jobs that the writer waits for, if it has some already.
    gathers: usize,
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
        let awaited = state.jobs.len() == 1 || state.jobs.len() == state.gathers;
        drop(state);
        // A writer that is at work looks here before it waits.
        if awaited {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs, at most this long, and with the first of them for those that are expected
    /// beside it.
    pub(super) fn take(&self, wait: Duration, expected: Expected) -> Taken {
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
            return Taken::Batch(self.gather(state, expected).batch());
        }
        if state.gate == Gate::Closed {
            return Taken::Closed;
        }
        Taken::Idle
    }

    fn gather<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        expected: Expected,
    ) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + expected.within;
        state.gathers = expected.jobs.min(BATCH_JOBS);
        while state.jobs.len() < state.gathers && state.gate == Gate::Open {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.wake.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.gathers = 0;
        state
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const NOTHING: Expected = Expected {
        jobs: 0,
        within: Duration::ZERO,
    };

    fn job() -> Job {
        Job {
            level: Level::Os,
            kind: Kind::Memory,
            weight: 1,
            run: Box::new(|_core| Box::new(|_result| {})),
        }
    }

    fn taken(queue: &Queue, expected: Expected) -> usize {
        match queue.take(Duration::from_secs(60), expected) {
            Taken::Batch(jobs) => jobs.len(),
            Taken::Idle | Taken::Closed => 0,
        }
    }

    fn until_gathering(queue: &Queue) {
        while queue.lock().gathers == 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_batch_waits_for_those_that_are_expected() {
        let queue = Arc::new(Queue::default());
        queue.offer(job()).unwrap();
        let late = Arc::clone(&queue);
        let others = thread::spawn(move || {
            until_gathering(&late);
            late.offer(job()).unwrap();
            late.offer(job()).unwrap();
        });
        let expected = Expected {
            jobs: 3,
            within: Duration::from_secs(60),
        };
        assert_eq!(taken(&queue, expected), 3);
        others.join().unwrap();
    }

    #[test]
    fn nobody_waits_longer_for_the_expected_than_allowed() {
        let queue = Queue::default();
        for _ in 0..2 {
            queue.offer(job()).unwrap();
        }
        let expected = Expected {
            jobs: 3,
            within: Duration::from_millis(5),
        };
        assert_eq!(taken(&queue, expected), 2);
        queue.offer(job()).unwrap();
        assert_eq!(taken(&queue, NOTHING), 1);
    }

    #[test]
    fn a_queue_that_closes_gives_what_it_has() {
        let queue = Arc::new(Queue::default());
        queue.offer(job()).unwrap();
        let other = Arc::clone(&queue);
        let closing = thread::spawn(move || {
            until_gathering(&other);
            other.close();
        });
        let expected = Expected {
            jobs: 2,
            within: Duration::from_secs(60),
        };
        assert_eq!(taken(&queue, expected), 1);
        assert!(matches!(
            queue.take(Duration::ZERO, expected),
            Taken::Closed
        ));
        closing.join().unwrap();
    }
}

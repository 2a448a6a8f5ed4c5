//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claw_core::{Durability, Record, RecordId, RunPhase};
use claw_failpoint::Step;
use tokio::sync::oneshot;

use super::error::CallError;
use super::handle::Ack;
use super::idempotency::Remembered;
use super::limits::{BATCH_ENTRIES, QUEUE_BYTES, QUEUE_ENTRIES, QUEUE_ENTRIES_HARD};

/// Something to write.
#[derive(Debug)]
pub(super) enum What {
    Record(Record),
    Remember(Remembered),
}

/// Who waits for it.
#[derive(Debug)]
pub(super) enum Answer {
    Nobody,
    Ack(RecordId),
    /// With what was remembered under the same key before.
    Remembered(
        oneshot::Sender<Result<Option<Remembered>, CallError>>,
        Option<Remembered>,
    ),
}

/// One entry on its way to the disk.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) what: What,
    pub(super) answer: Answer,
    pub(super) since: Instant,
}

/// What became of an entry that was offered to the queue.
pub(super) enum Offer {
    Taken,
    /// The queue is full or closed; the reason is for the waiter.
    Refused(Answer, &'static str),
    /// Nobody waits for it and the queue is beyond its last bound.
    Dropped,
}

/// What the writer finds.
pub(super) enum Taken {
    Batch(Vec<Job>),
    /// Nothing came in time, or somebody poked.
    Idle,
    Closed,
}

/// A bounded queue that keeps the order of what it takes.
///
/// An entry counts from the moment it is taken until [`Queue::settled`], so what the writer holds
/// back because the disk refuses it counts too.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    entries: usize,
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
    pub(super) fn offer(&self, job: Job) -> Offer {
        let mut state = self.lock();
        if state.gate == Gate::Closed {
            return Offer::Refused(job.answer, "the journal is closed");
        }
        let full = state.entries >= QUEUE_ENTRIES || state.bytes >= QUEUE_BYTES;
        let critical = matches!(job.answer, Answer::Nobody);
        if full && !critical {
            return Offer::Refused(job.answer, "too many entries wait for the journal");
        }
        if state.entries >= QUEUE_ENTRIES_HARD {
            return Offer::Dropped;
        }
        state.entries += 1;
        state.bytes += job.weight();
        state.jobs.push_back(job);
        drop(state);
        self.wake.notify_one();
        Offer::Taken
    }

    /// Waits for entries; without a time, until there are some.
    pub(super) fn take(&self, wait: Option<Duration>) -> Taken {
        let deadline = wait.map(|wait| Instant::now() + wait);
        let mut state = self.lock();
        while state.jobs.is_empty() && state.gate == Gate::Open && !state.poked {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                None => self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Taken::Idle,
                Some(left) => {
                    let woken = self.wake.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.poked = false;
        if !state.jobs.is_empty() {
            let count = state.jobs.len().min(BATCH_ENTRIES);
            return Taken::Batch(state.jobs.drain(..count).collect());
        }
        if state.gate == Gate::Closed {
            return Taken::Closed;
        }
        Taken::Idle
    }

    /// Entries that were taken are written or refused.
    pub(super) fn settled(&self, entries: usize, bytes: usize) {
        let mut state = self.lock();
        state.entries = state.entries.saturating_sub(entries);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Wakes the writer although there is nothing to write.
    pub(super) fn poke(&self) {
        self.lock().poked = true;
        self.wake.notify_one();
    }

    /// Takes nothing any more; what was taken is still written.
    pub(super) fn close(&self) {
        self.lock().gate = Gate::Closed;
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().gate == Gate::Closed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    pub(super) fn depth(&self) -> usize {
        self.lock().entries
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl What {
    /// What a test calls the commit of it.
    pub(super) fn step(&self) -> Step {
        let record = match self {
            Self::Record(record) => record,
            Self::Remember(new) if new.response.is_empty() => return Step::Request,
            Self::Remember(_) => return Step::Answer,
        };
        match record {
            Record::Intent { .. } => Step::Intent,
            Record::Started { .. } => Step::StartedRow,
            Record::Outcome { .. } => Step::Outcome,
            Record::Memory { synced: true, .. } => Step::Goal,
            Record::Memory { synced: false, .. } => Step::RestartWait,
            Record::Run(run) => match run.phase {
                RunPhase::Queued => Step::RunQueued,
                RunPhase::Running { .. } => Step::RunBegun,
                RunPhase::Retrying { .. } => Step::RunRetried,
                RunPhase::Finished { .. } => Step::RunFinished,
            },
            Record::Slot { .. } => Step::Slot,
            Record::Removed { .. } => Step::Removal,
        }
    }
}

impl Job {
    /// About the memory it holds, in bytes.
    pub(super) fn weight(&self) -> usize {
        const FIXED: usize = 512;
        let text = match &self.what {
            What::Record(Record::Run(run)) => run.payload.as_ref().map_or(0, String::len),
            What::Record(
                Record::Intent { .. }
                | Record::Started { .. }
                | Record::Outcome { .. }
                | Record::Memory { .. }
                | Record::Slot { .. }
                | Record::Removed { .. },
            ) => 0,
            What::Remember(remembered) => remembered.response.len(),
        };
        FIXED + text
    }

    pub(super) fn durability(&self) -> Durability {
        match &self.what {
            What::Record(record) => record.durability(),
            What::Remember(_) => Durability::PowerCut,
        }
    }
}

impl Answer {
    /// Answers, or collects the answer in `acks`. A waiter that has gone away is nobody's concern.
    pub(super) fn give(self, result: Result<(), String>, acks: &mut Vec<Ack>) {
        match self {
            Self::Nobody => {}
            Self::Ack(id) => acks.push(Ack { id, result }),
            Self::Remembered(waiter, before) => {
                drop(waiter.send(result.map(|()| before).map_err(CallError::Failed)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claw_core::Generation;

    fn job(answer: Answer) -> Job {
        let agent = "a".parse().unwrap();
        let last = Generation(1);
        Job {
            what: What::Record(Record::Removed { agent, last }),
            answer,
            since: Instant::now(),
        }
    }

    #[test]
    fn a_full_queue_refuses_who_waits_and_takes_what_has_happened() {
        let queue = Queue::default();
        for n in 0..QUEUE_ENTRIES {
            let offer = queue.offer(job(Answer::Ack(RecordId(n as u64))));
            assert!(matches!(offer, Offer::Taken));
        }
        assert!(matches!(
            queue.offer(job(Answer::Ack(RecordId(0)))),
            Offer::Refused(..)
        ));
        for _ in QUEUE_ENTRIES..QUEUE_ENTRIES_HARD {
            assert!(matches!(queue.offer(job(Answer::Nobody)), Offer::Taken));
        }
        assert!(matches!(queue.offer(job(Answer::Nobody)), Offer::Dropped));
    }

    #[test]
    fn entries_count_until_they_are_settled() {
        let queue = Queue::default();
        queue.offer(job(Answer::Nobody));
        let Taken::Batch(batch) = queue.take(None) else {
            panic!("nothing to take")
        };
        assert_eq!((batch.len(), queue.depth()), (1, 1));
        queue.settled(1, batch[0].weight());
        assert_eq!(queue.depth(), 0);
    }
}

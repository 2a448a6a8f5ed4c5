//! One unfinished run and where it stands.

use std::sync::Arc;

use crate::action::SlotFate;
use crate::clock::{Mono, Wall};
use crate::deadline::{Deadline, Why};
use crate::id::{RunId, Ticket};
use crate::order::RunContext;
use crate::record::RecordId;
use crate::run::Run;

/// What it is for a run to be at work: a process of its own, or a delivery to a worker.
pub(crate) trait AtWork {
    /// When something is due of it.
    fn deadline(&self) -> Option<Deadline>;
}

/// One unfinished run.
#[derive(Debug)]
pub(crate) struct Work<W> {
    pub run: Run,
    pub stage: Stage<W>,
    /// When its first attempt was started.
    pub started: Option<Wall>,
    /// Attempts that failed, in a row.
    pub failures: u32,
    /// Attempts made anew, for whatever; their delays grow with it.
    pub retries: u32,
    /// Those who want to hear of its end because they called it off.
    pub tickets: Vec<Ticket>,
}

/// Where a run stands.
///
/// ```text
///   Accepting ──recorded──► Queued ──its turn──► AtWork ──over──► finished, and gone
///                             ▲                     │
///                             └─ delay over ─ Retrying
/// ```
#[derive(Debug)]
pub(crate) enum Stage<W> {
    /// Not yet written down.
    Accepting(Accepting),
    /// Waits for its turn.
    Queued,
    /// Somebody works on it.
    AtWork(W),
    /// An attempt failed and the next is due.
    Retrying { next: Mono },
}

/// A run that the journal has not acknowledged.
#[derive(Debug)]
pub(crate) struct Accepting {
    pub waits: Vec<RecordId>,
    /// Who triggered it and waits.
    pub asker: Option<Ticket>,
    /// Until when the journal may answer.
    pub until: Mono,
    /// The slot it is for, and what becomes of the slot.
    pub slot: Option<(Wall, SlotFate)>,
}

/// A finished run that is announced once the journal has it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub record: RecordId,
    pub run: Arc<Run>,
    pub tickets: Vec<Ticket>,
    pub give_up: Mono,
}

impl Finished {
    pub(super) const fn deadline(&self) -> Deadline {
        (self.give_up, Why::Journal)
    }
}

impl<W> Work<W> {
    pub(crate) const fn new(run: Run, stage: Stage<W>) -> Self {
        Self {
            run,
            stage,
            started: None,
            failures: 0,
            retries: 0,
            tickets: Vec::new(),
        }
    }

    pub(crate) const fn id(&self) -> RunId {
        self.run.id
    }

    pub(crate) const fn at_work(&self) -> Option<&W> {
        match &self.stage {
            Stage::AtWork(at_work) => Some(at_work),
            Stage::Accepting(_) | Stage::Queued | Stage::Retrying { .. } => None,
        }
    }

    pub(crate) const fn is_at_work(&self) -> bool {
        self.at_work().is_some()
    }

    /// Whether it is accepted, or about to be, and still to be done, at once or after a delay.
    pub(crate) const fn is_waiting(&self) -> bool {
        !self.is_at_work()
    }

    pub(crate) const fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued)
    }

    pub(crate) const fn is_retrying(&self) -> bool {
        matches!(self.stage, Stage::Retrying { .. })
    }

    pub(super) const fn accepting(&self) -> Option<&Accepting> {
        match &self.stage {
            Stage::Accepting(accepting) => Some(accepting),
            Stage::Queued | Stage::AtWork(_) | Stage::Retrying { .. } => None,
        }
    }

    /// What whoever works on it is told about it.
    pub(crate) fn context(&self) -> RunContext {
        RunContext {
            run: self.run.id,
            trigger: self.run.trigger.clone(),
            attempt: self.run.attempts,
            payload: self.run.payload.as_deref().map(Arc::from),
        }
    }
}

impl<W: AtWork> Work<W> {
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match &self.stage {
            Stage::Accepting(accepting) => Some((accepting.until, Why::Journal)),
            Stage::Queued => None,
            Stage::AtWork(at_work) => at_work.deadline(),
            Stage::Retrying { next } => Some((*next, Why::Retry)),
        }
    }
}

//! One unfinished run and where it stands.

use std::sync::Arc;

use crate::action::SlotFate;
use crate::clock::{Mono, Wall};
use crate::deadline::{Deadline, Why};
use crate::id::{Generation, RunId, Ticket};
use crate::record::RecordId;
use crate::run::Run;

use super::super::instance::Instance;

/// One unfinished run.
#[derive(Debug)]
pub(super) struct Work {
    pub run: Run,
    pub stage: Stage,
    /// When its first attempt was started.
    pub started: Option<Wall>,
    /// Attempts that failed, in a row.
    pub failures: u32,
    /// Those who want to hear of its end because they called it off.
    pub tickets: Vec<Ticket>,
}

/// Where a run stands.
///
/// ```text
///   Accepting ──recorded──► Queued ──its turn──► Live ──over──► PostStop (if any)
///                             ▲                                    │
///                             └──── delay over ──── Retrying ◄─────┴──► finished, and gone
/// ```
#[derive(Debug)]
pub(super) enum Stage {
    /// Not yet written down.
    Accepting(Accepting),
    /// Waits for its turn.
    Queued,
    /// Its process lives.
    Live(Box<Instance>),
    /// Its process is gone and the hook runs.
    PostStop {
        generation: Generation,
        give_up: Mono,
        then: Then,
    },
    /// An attempt failed and the next is due.
    Retrying { next: Mono },
}

/// A run that the journal has not acknowledged.
#[derive(Debug)]
pub(super) struct Accepting {
    pub waits: Vec<RecordId>,
    /// Who triggered it and waits.
    pub asker: Option<Ticket>,
    /// Until when the journal may answer.
    pub until: Mono,
    /// The slot it is for, and what becomes of the slot.
    pub slot: Option<(Wall, SlotFate)>,
}

/// What comes after the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Retry { next: Mono },
    Finish,
}

/// A finished run that is announced once the journal has it.
#[derive(Debug)]
pub(super) struct Finished {
    pub record: RecordId,
    pub run: Arc<Run>,
    pub tickets: Vec<Ticket>,
    pub give_up: Mono,
}

impl Work {
    pub(super) const fn new(run: Run, stage: Stage) -> Self {
        Self {
            run,
            stage,
            started: None,
            failures: 0,
            tickets: Vec::new(),
        }
    }

    pub(super) const fn id(&self) -> RunId {
        self.run.id
    }

    pub(super) const fn instance(&self) -> Option<&Instance> {
        match &self.stage {
            Stage::Live(instance) => Some(instance),
            Stage::Accepting(_)
            | Stage::Queued
            | Stage::PostStop { .. }
            | Stage::Retrying { .. } => None,
        }
    }

    /// Whether it has a process, or a hook of one.
    pub(super) const fn is_live(&self) -> bool {
        match &self.stage {
            Stage::Live(_) | Stage::PostStop { .. } => true,
            Stage::Accepting(_) | Stage::Queued | Stage::Retrying { .. } => false,
        }
    }

    /// Whether it is accepted and still to be done, at once or after a delay.
    pub(super) const fn is_waiting(&self) -> bool {
        match &self.stage {
            Stage::Accepting(_) | Stage::Queued | Stage::Retrying { .. } => true,
            Stage::Live(_) | Stage::PostStop { .. } => false,
        }
    }

    pub(super) const fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued)
    }

    /// Whether nobody can be told of it yet but its asker.
    pub(super) fn has_asker(&self) -> bool {
        match &self.stage {
            Stage::Accepting(accepting) => accepting.asker.is_some(),
            Stage::Queued | Stage::Live(_) | Stage::PostStop { .. } | Stage::Retrying { .. } => {
                false
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        match &self.stage {
            Stage::Accepting(accepting) => Some((accepting.until, Why::Journal)),
            Stage::Queued => None,
            Stage::Live(instance) => instance.deadline(),
            Stage::PostStop { give_up, .. } => Some((*give_up, Why::Hook)),
            Stage::Retrying { next } => Some((*next, Why::Retry)),
        }
    }
}

//! The process of a run, and what comes after it.

use crate::clock::{Gap, Mono};
use crate::deadline::{Deadline, Why};
use crate::id::Generation;

use super::super::instance::Instance;
use super::super::runs;

/// What works on a run.
///
/// ```text
///   Live ──over──► PostStop (if any) ──► retried, or finished
/// ```
#[derive(Debug)]
pub(crate) enum Process {
    /// Its process lives.
    Live(Box<Instance>),
    /// Its process is gone and the hook runs.
    PostStop {
        generation: Generation,
        give_up: Mono,
        then: Then,
    },
}

/// What comes after the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Retry { next: Mono },
    Finish,
}

pub(super) type Work = runs::Work<Process>;
pub(super) type Stage = runs::Stage<Process>;

impl Process {
    pub(super) const fn instance(&self) -> Option<&Instance> {
        match self {
            Self::Live(instance) => Some(instance),
            Self::PostStop { .. } => None,
        }
    }

    /// Of which life it is.
    pub(super) const fn generation(&self) -> Generation {
        match self {
            Self::Live(instance) => instance.generation(),
            Self::PostStop { generation, .. } => *generation,
        }
    }

    pub(super) fn shift(&mut self, gap: Gap, now: Mono) {
        match self {
            Self::Live(instance) => instance.shift(gap, now),
            Self::PostStop { give_up, .. } => *give_up = *give_up + gap.late,
        }
    }
}

impl runs::AtWork for Process {
    fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Live(instance) => instance.deadline(),
            Self::PostStop { give_up, .. } => Some((*give_up, Why::Hook)),
        }
    }
}

/// The live instance of a run, if it has one.
pub(super) fn live_of(work: &mut Work) -> Option<&mut Instance> {
    match &mut work.stage {
        Stage::AtWork(Process::Live(instance)) => Some(instance),
        Stage::AtWork(Process::PostStop { .. })
        | Stage::Accepting(_)
        | Stage::Queued
        | Stage::Retrying { .. } => None,
    }
}

/// The hook that runs after the process of a run, if one does.
pub(super) fn post_stop_of(work: &Work) -> Option<(Generation, Mono, Then)> {
    match work.at_work() {
        Some(Process::PostStop {
            generation,
            give_up,
            then,
        }) => Some((*generation, *give_up, *then)),
        Some(Process::Live(_)) | None => None,
    }
}

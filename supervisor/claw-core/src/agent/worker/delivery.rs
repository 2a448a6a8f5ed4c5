//! One run in the hands of the live instance.
//!
//! ```text
//!   Recording ──recorded──► Working ──called off, time up──► Cancelling ──grace over──► Overdue
//!                             ▲                                  ▲
//!   Resuming ──Resumed────────┴──────────────────────────────────┘
//! ```
//!
//! `RunFinished`, or the end of the instance, ends it from anywhere but Recording, where nobody
//! was told of it yet.

use std::time::Duration;

use crate::clock::{Gap, Mono};
use crate::deadline::{Deadline, Why};
use crate::death::Cause;
use crate::record::RecordId;

use super::super::end::is_wish;
use super::super::runs;

/// An attempt that the journal does not acknowledge in this time is put off. As long as a start
/// waits for its intent.
const RECORD_WAIT: Duration = Duration::from_secs(30);

/// How long an adopted worker may take to say what it still works on: it tries to connect every
/// two seconds at the most, and may be in a step that does not let it.
const ADOPT_GRACE: Duration = Duration::from_secs(30);

/// A run that was given, or is being given, to the live instance.
#[derive(Debug)]
pub(crate) struct Delivery {
    phase: Phase,
    frozen_since: Option<Mono>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// The attempt is being written down; the instance was not told of it.
    Recording { record: RecordId, give_up: Mono },
    /// An earlier supervisor delivered it; whether the instance still works on it is not known.
    Resuming {
        give_up: Mono,
        limit: Option<Mono>,
        /// It was called off meanwhile.
        called_off: Option<Cause>,
    },
    /// Delivered.
    Working { limit: Option<Mono> },
    /// The instance was told to drop it.
    Cancelling { cause: Cause, give_up: Mono },
    /// The instance did not, and is ended for it.
    Overdue { cause: Cause },
}

/// What has come due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The journal has not answered.
    NotRecorded,
    /// The instance has not said what it works on.
    NotResumed,
    /// It took longer than its schedule allows.
    TimeUp,
    /// It was told to drop it, and did not in time.
    GraceOver,
}

impl Delivery {
    const fn new(phase: Phase) -> Self {
        Self {
            phase,
            frozen_since: None,
        }
    }

    pub(super) fn recording(record: RecordId, now: Mono) -> Self {
        let give_up = now + RECORD_WAIT;
        Self::new(Phase::Recording { record, give_up })
    }

    pub(super) fn resuming(limit: Option<Mono>, now: Mono) -> Self {
        Self::new(Phase::Resuming {
            give_up: now + ADOPT_GRACE,
            limit,
            called_off: None,
        })
    }

    pub(super) const fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn waits_for(&self, id: RecordId) -> bool {
        matches!(self.phase, Phase::Recording { record, .. } if record == id)
    }

    /// Whether the instance was told of it.
    pub(super) const fn is_delivered(&self) -> bool {
        match &self.phase {
            Phase::Recording { .. } => false,
            Phase::Resuming { .. }
            | Phase::Working { .. }
            | Phase::Cancelling { .. }
            | Phase::Overdue { .. } => true,
        }
    }

    /// Whether an instance that drains is given time for it.
    pub(super) const fn is_waited_for(&self) -> bool {
        match &self.phase {
            Phase::Resuming { .. } | Phase::Working { .. } | Phase::Cancelling { .. } => true,
            Phase::Recording { .. } | Phase::Overdue { .. } => false,
        }
    }

    /// Why it was called off, if it was: by somebody, or because its time was up.
    pub(super) const fn called_off(&self) -> Option<&Cause> {
        match &self.phase {
            Phase::Recording { .. } | Phase::Working { .. } => None,
            Phase::Resuming { called_off, .. } => called_off.as_ref(),
            Phase::Cancelling { cause, .. } | Phase::Overdue { cause } => Some(cause),
        }
    }

    pub(super) fn work(&mut self, limit: Option<Mono>) {
        self.phase = Phase::Working { limit };
    }

    pub(super) fn cancel(&mut self, cause: Cause, give_up: Mono) {
        self.phase = Phase::Cancelling { cause, give_up };
    }

    /// Notes that it is called off where the instance need not be told, or was already: whoever
    /// asks for its end does not want it tried again, as a run whose time is up may be.
    pub(super) fn note_called_off(&mut self, wish: &Cause) {
        match &mut self.phase {
            Phase::Recording { .. } | Phase::Working { .. } => {}
            Phase::Resuming { called_off, .. } => {
                called_off.get_or_insert_with(|| wish.clone());
            }
            Phase::Cancelling { cause, .. } | Phase::Overdue { cause } => {
                if !is_wish(cause) {
                    cause.clone_from(wish);
                }
            }
        }
    }

    pub(super) fn give_up(&mut self) {
        if let Phase::Cancelling { cause, .. } = &self.phase {
            let cause = cause.clone();
            self.phase = Phase::Overdue { cause };
        }
    }

    pub(super) fn due(&self, now: Mono) -> Due {
        let Some((at, _)) = runs::AtWork::deadline(self) else {
            return Due::Nothing;
        };
        if at > now {
            return Due::Nothing;
        }
        match &self.phase {
            Phase::Recording { .. } => Due::NotRecorded,
            Phase::Resuming { .. } => Due::NotResumed,
            Phase::Working { .. } => Due::TimeUp,
            Phase::Cancelling { .. } => Due::GraceOver,
            Phase::Overdue { .. } => Due::Nothing,
        }
    }

    /// The tree is frozen, so that no time counts against it from now on.
    pub(super) fn freeze(&mut self, now: Mono) {
        self.frozen_since.get_or_insert(now);
    }

    pub(super) const fn is_frozen(&self) -> bool {
        self.frozen_since.is_some()
    }

    /// Whether the instance was told to drop it, and has time to.
    pub(super) const fn is_cancelling(&self) -> bool {
        matches!(self.phase, Phase::Cancelling { .. })
    }

    /// It is not, or not any more.
    pub(super) fn thaw(&mut self, now: Mono) {
        if let Some(since) = self.frozen_since.take()
            && self.stands_still_when_frozen()
        {
            self.put_off(now.since(since));
        }
    }

    /// The supervisor was away; no time of that counts against the agent.
    pub(super) fn shift(&mut self, gap: Gap) {
        match &mut self.phase {
            Phase::Recording { give_up, .. } => *give_up = *give_up + gap.late,
            Phase::Resuming { .. }
            | Phase::Working { .. }
            | Phase::Cancelling { .. }
            | Phase::Overdue { .. } => self.put_off(gap.away),
        }
    }

    fn put_off(&mut self, span: Duration) {
        match &mut self.phase {
            Phase::Recording { give_up, .. } | Phase::Cancelling { give_up, .. } => {
                *give_up = *give_up + span;
            }
            Phase::Resuming { give_up, limit, .. } => {
                *give_up = *give_up + span;
                *limit = limit.map(|limit| limit + span);
            }
            Phase::Working { limit } => *limit = limit.map(|limit| limit + span),
            Phase::Overdue { .. } => {}
        }
    }

    /// Somebody who calls a run off does not wait for a frozen tree to be thawed by somebody else.
    fn stands_still_when_frozen(&self) -> bool {
        match &self.phase {
            Phase::Resuming { called_off, .. } => called_off.is_none(),
            Phase::Working { .. } => true,
            Phase::Cancelling { cause, .. } => !is_wish(cause),
            Phase::Recording { .. } | Phase::Overdue { .. } => false,
        }
    }
}

impl runs::AtWork for Delivery {
    fn deadline(&self) -> Option<Deadline> {
        if self.frozen_since.is_some() && self.stands_still_when_frozen() {
            return None;
        }
        match &self.phase {
            Phase::Recording { give_up, .. } => Some((*give_up, Why::Journal)),
            Phase::Resuming { give_up, .. } => Some((*give_up, Why::Resume)),
            Phase::Working { limit } => limit.map(|limit| (limit, Why::RunTimeout)),
            Phase::Cancelling { give_up, .. } => Some((*give_up, Why::Grace)),
            Phase::Overdue { .. } => None,
        }
    }
}

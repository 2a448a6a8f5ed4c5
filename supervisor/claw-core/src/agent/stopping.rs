//! A stop that was asked for and is on its way to the journal.
//!
//! ```text
//!   Settled ──stop──► Recording ──recorded, refused, overdue──► Settled: what runs is asked to end
//! ```
//!
//! From the command on nothing new is started. What runs is told once the goal is on record: were
//! the supervisor to die in between, the next one would take the end for the agent's own, count a
//! failure and start it again. A journal that does not answer delays a stop and does not prevent
//! it.

use std::time::Duration;

use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::memory::Hold;
use crate::record::RecordId;

use super::Agent;
use super::context::Context;
use super::waiters::JOURNAL_WAIT;

/// How far the last stop has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// The goal is in force.
    #[default]
    Settled,
    /// The goal is being written down.
    Recording {
        record: RecordId,
        until: Mono,
        /// The hold that it ends, which is in force until then.
        hold: Hold,
    },
}

impl Stopping {
    /// A stop was asked for; there is nothing to wait for when the journal knows it already. One
    /// that is asked for again waits no longer than the first.
    pub(super) fn begin(&mut self, cx: &Context<'_>, record: Option<RecordId>, hold: Hold) {
        *self = match (*self, record) {
            (_, None) => Self::Settled,
            (Self::Settled, Some(record)) => Self::Recording {
                record,
                until: cx.after(JOURNAL_WAIT),
                hold,
            },
            (Self::Recording { until, hold, .. }, Some(record)) => Self::Recording {
                record,
                until,
                hold,
            },
        };
    }

    /// The goal is up again.
    pub(super) fn call_off(&mut self) {
        *self = Self::Settled;
    }

    pub(super) const fn is_settled(self) -> bool {
        match self {
            Self::Settled => true,
            Self::Recording { .. } => false,
        }
    }

    /// The hold in force, if it is not the one that is remembered.
    pub(super) const fn hold(self) -> Option<Hold> {
        match self {
            Self::Settled => None,
            Self::Recording { hold, .. } => Some(hold),
        }
    }

    pub(crate) const fn deadline(self) -> Option<Deadline> {
        match self {
            Self::Settled => None,
            Self::Recording { until, .. } => Some((until, Why::Journal)),
        }
    }

    pub(crate) fn shift(&mut self, late: Duration) {
        if let Self::Recording { until, .. } = self {
            *until = *until + late;
        }
    }
}

impl Agent {
    /// The journal has answered, whatever it said.
    pub(super) fn stopping_recorded(&mut self, cx: &mut Context<'_>, id: RecordId) {
        if matches!(self.common.stopping, Stopping::Recording { record, .. } if record == id) {
            self.settle_stopping(cx);
        }
    }

    /// The journal has not answered in time.
    pub(super) fn tick_stopping(&mut self, cx: &mut Context<'_>) {
        let now = cx.mono();
        if matches!(self.common.stopping, Stopping::Recording { until, .. } if until <= now) {
            self.settle_stopping(cx);
        }
    }

    fn settle_stopping(&mut self, cx: &mut Context<'_>) {
        self.common.stopping = Stopping::Settled;
        self.machine.follow(&mut self.common, cx);
    }
}

//! What of the runs of an earlier supervisor does not depend on who works on them.
//!
//! Queued runs are the same runs. No slot that has a record is planned again.

use crate::clock::Wall;
use crate::memory::Goal;
use crate::run::{Run, RunPhase, Trigger};
use crate::slots::{self, Downtime};

use super::super::context::Context;
use super::super::dossier::{Common, Place};
use super::{Runs, Stage, Work};

impl<W> Runs<W> {
    /// Takes over an unfinished run; one that was at work is queued until its owner says more.
    /// Returns where it stands; `None` for one that is finished.
    pub(crate) fn take_over(
        &mut self,
        common: &Common,
        cx: &Context<'_>,
        run: &Run,
    ) -> Option<usize> {
        let before = run.attempts.saturating_sub(1);
        let (stage, failures, started) = match &run.phase {
            RunPhase::Retrying { next, .. } => {
                let next = retry_at(common, cx, *next);
                (Stage::Retrying { next }, run.attempts, None)
            }
            RunPhase::Queued => (Stage::Queued, before, None),
            RunPhase::Running { since } => (Stage::Queued, before, Some(*since)),
            RunPhase::Finished { .. } => return None,
        };
        let mut work = Work::new(run.clone(), stage);
        work.failures = failures;
        work.retries = failures;
        work.started = started;
        self.works.push(work);
        Some(self.works.len() - 1)
    }

    /// Plans slots from the last settled one on; those that fell due meanwhile get their fate.
    pub(crate) fn replan(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let slot_of = |work: &Work<W>| match work.run.trigger {
            Trigger::Schedule { slot } => Some(slot),
            Trigger::Manual | Trigger::Start => None,
        };
        // A slot that lies far ahead was planned under a clock that was wrong.
        let believed = |slot: &Wall| slots::resume_from(*slot, cx.now.wall) == *slot;
        let slots = self.works.iter().filter_map(slot_of);
        let latest = slots.chain(common.memory.last_slot).filter(believed).max();
        common.memory.last_slot = latest.or(common.memory.last_slot);
        // One that was given up is planned too: its slots are held.
        let wanted =
            common.memory.goal == Goal::Up && common.place == Place::Member && !common.is_halted();
        if let Some(armed) = common.memory.armed_since.filter(|_| wanted) {
            self.plan_from(common, cx, armed);
            self.settle_due(common, cx, Downtime::Down);
        }
    }
}

/// The next attempt, never earlier than it was said, and never later than a whole delay.
fn retry_at(common: &Common, cx: &Context<'_>, next: Wall) -> crate::Mono {
    let longest = common.longest_delay();
    cx.now.mono_at(next).min(cx.after(longest))
}

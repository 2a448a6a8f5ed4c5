//! How a oneshot is shown.

use crate::clock::Now;
use crate::memory::Goal;
use crate::run::RunPhase;
use crate::status::{PublicState, Reason, RunSummary};

use super::super::dossier::Common;
use super::super::face::{held, is_held, resting, waiting};
use super::plan::Plan;
use super::work::{Stage, Work};
use super::{Gate, Oneshot, is_given_up};

impl Oneshot {
    pub(crate) fn face(&self, common: &Common, now: Now) -> (PublicState, Reason) {
        if common.must_end() && self.has_live() {
            let cause = crate::Cause::Asked;
            return (PublicState::Stopping, Reason::Ending { cause });
        }
        if common.memory.goal == Goal::Down {
            return resting(common);
        }
        if is_held(common) {
            return held(common);
        }
        if self.has_live() {
            let working = self.works.iter().filter(|work| work.is_live());
            let runs = working.map(Work::id).collect();
            return (PublicState::Running, Reason::Working { runs });
        }
        self.idle_face(common, now)
    }

    fn idle_face(&self, common: &Common, now: Now) -> (PublicState, Reason) {
        // Runs that were accepted before wait for somebody to start it again.
        if is_given_up(common) {
            return resting(common);
        }
        if let Some(work) = self.works.first() {
            return match (&work.stage, &work.run.phase) {
                (Stage::Retrying { next }, RunPhase::Retrying { cause, .. }) => {
                    let reason = Reason::BackingOff {
                        cause: cause.clone(),
                        until: now.wall_at(*next),
                        failures: work.failures,
                    };
                    (PublicState::Error, reason)
                }
                (Stage::Queued, _) if self.gate == Gate::Shut && !common.missing.is_empty() => {
                    waiting(common)
                }
                (_, _) => (PublicState::Initializing, Reason::Queued),
            };
        }
        if common.memory.latch.is_some() || !common.belongs_up() {
            return resting(common);
        }
        (PublicState::Running, Reason::Waiting)
    }

    /// Runs in short, without the counters of memory.
    pub(crate) fn summary(&self, now: Now) -> RunSummary {
        let count = |of: fn(&Work) -> bool| {
            let counted = self.works.iter().filter(|work| of(work)).count();
            u32::try_from(counted).unwrap_or(u32::MAX)
        };
        RunSummary {
            active: count(Work::is_live),
            queued: count(Work::is_waiting),
            last: self.last_end,
            next: self.plan.as_ref().and_then(|plan: &Plan| plan.next(now)),
            ..RunSummary::default()
        }
    }
}

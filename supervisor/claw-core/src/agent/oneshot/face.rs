//! How a oneshot is shown.

use crate::clock::Now;
use crate::memory::Goal;
use crate::run::RunPhase;
use crate::status::{PublicState, Reason};

use super::super::dossier::Common;
use super::super::face::{held, is_held, queued, resting, waiting};
use super::super::instance::Standing;
use super::super::runs::is_given_up;
use super::process::{Stage, Work};
use super::{Gate, Oneshot};

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
            if let Some(detail) = self.preparing() {
                return (PublicState::Initializing, Reason::Preparing { detail });
            }
            let working = self.runs.works.iter().filter(|work| work.is_at_work());
            let runs = working.map(Work::id).collect();
            return (PublicState::Running, Reason::Working { runs });
        }
        self.idle_face(common, now)
    }

    /// What is prepared, when nothing of it runs before that is done.
    fn preparing(&self) -> Option<String> {
        let preparing = self.instances().map(|instance| match instance.standing() {
            Standing::Preparing(detail) => Some(detail),
            Standing::Recording
            | Standing::PreStart
            | Standing::Spawning
            | Standing::StartingUp
            | Standing::Up
            | Standing::Ending(_) => None,
        });
        preparing
            .collect::<Option<Vec<String>>>()?
            .into_iter()
            .next()
    }

    fn idle_face(&self, common: &Common, now: Now) -> (PublicState, Reason) {
        // Runs that were accepted before wait for somebody to start it again.
        if is_given_up(common) {
            return resting(common);
        }
        if let Some(work) = self.runs.works.first() {
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
                (_, _) => queued(common),
            };
        }
        if common.memory.latch.is_some() || !common.belongs_up() {
            return resting(common);
        }
        (PublicState::Running, Reason::Waiting)
    }
}

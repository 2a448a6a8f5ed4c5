//! One agent of an earlier supervisor, taken over.

use std::sync::Arc;

use crate::death::{Cause, ExitReport, SpawnError, SpawnStage};
use crate::event::Freeze;
use crate::halt::HaltLevel;
use crate::id::{Generation, InstanceId, RunId};
use crate::memory::{Recovered, StartProof};
use crate::run::{Run, WorkOutcome};
use crate::spec::Mode;

use super::context::Context;
use super::daemon::Daemon;
use super::dossier::Common;
use super::end::{End, EndKind};
use super::halting::Course;
use super::instance::{Adopted, HadComeUp, Instance};
use super::machine::Machine;
use super::verdict::after;
use super::{Agent, Takeover};

/// An instance without an outcome: its generation, its run, and what was found of it.
pub(crate) type Found = (Generation, Option<RunId>, Recovered);

/// What an earlier supervisor left of an agent, beside its memory.
#[derive(Debug, Default)]
pub(crate) struct Legacy {
    /// Newest first.
    pub instances: Vec<Found>,
    /// Oldest first, each with what was reported of its last attempt.
    pub runs: Vec<(Arc<Run>, Option<WorkOutcome>)>,
}

impl Agent {
    /// Takes over what was left and follows the goal. Returns live instances that belong to
    /// nothing any more.
    pub(crate) fn boot(
        &mut self,
        cx: &mut Context<'_>,
        legacy: Legacy,
        takeover: Takeover,
    ) -> Vec<InstanceId> {
        let common = &mut self.common;
        let mut instances = legacy.instances;
        match &mut self.machine {
            Machine::Daemon(daemon) => take_over(daemon, common, cx, &mut instances),
            Machine::Oneshot(oneshot) => {
                // No process of it could report anything.
                let runs = legacy.runs.into_iter().map(|(run, _)| run).collect();
                oneshot.take_over(common, cx, runs, &mut instances);
            }
            Machine::Worker(worker) => {
                worker.take_over(common, cx, legacy.runs, &mut instances);
            }
        }
        let mut homeless = Vec::new();
        for (generation, _, found) in instances {
            match found {
                Recovered::Alive { .. } => homeless.push(common.instance(generation)),
                Recovered::Ended(_)
                | Recovered::Lost
                | Recovered::Rebooted
                | Recovered::NeverStarted => {
                    common.bury(cx, generation, &end_of(common, found));
                }
            }
        }
        self.catch_up_with_file(cx, takeover);
        self.follow(cx);
        homeless
    }

    /// The fleet file may have been changed while no supervisor was there to see it: what an
    /// apply would have restarted is restarted now, or in its turn. What is halted stays as it is
    /// until that is over.
    pub(super) fn catch_up_with_file(&mut self, cx: &mut Context<'_>, takeover: Takeover) {
        if self.is_halted() || !self.common.was_reconfigured() {
            return;
        }
        self.common.forgive();
        self.common.save(cx);
        match takeover {
            Takeover::InTurn if self.is_ready() => {}
            Takeover::AtOnce | Takeover::InTurn => {
                self.machine
                    .restart(&mut self.common, cx, Cause::Reconfigured);
            }
        }
    }
}

/// A daemon has one life, and so has a worker: the newest. What is older only gets its outcome.
pub(super) fn take_over(
    daemon: &mut Daemon,
    common: &mut Common,
    cx: &mut Context<'_>,
    instances: &mut Vec<Found>,
) {
    if instances.is_empty() {
        return;
    }
    let alive = |(_, _, found): &Found| matches!(found, Recovered::Alive { .. });
    let newest = instances.iter().position(alive).unwrap_or(0);
    let (generation, _, found) = instances.remove(newest);
    if let Recovered::Alive { pid, at, image } = found {
        let id = common.instance(generation);
        let spec = Arc::clone(&common.spec);
        let frozen = common.course() == Course::Frozen;
        let adopted = Adopted {
            pid,
            at,
            image,
            frozen: if frozen { Freeze::Yes } else { Freeze::No },
        };
        let mut instance = Instance::adopt(cx, id, spec, None, adopted);
        let unproved = match common.spec.mode {
            Mode::Daemon | Mode::Oneshot => {
                common.spec.probes.startup.is_some()
                    && common.memory.start_proof == StartProof::Probed
            }
            Mode::Worker => true,
        };
        let came_up = if !unproved || common.memory.came_up == generation {
            HadComeUp::Yes
        } else {
            HadComeUp::No
        };
        instance.adopt_health(cx, came_up);
        daemon.resume_live(common, cx, instance);
        return;
    }
    let end = end_of(common, found);
    if generation > common.memory.settled && end.kind != EndKind::Unrecorded {
        after(common, cx, &end);
        common.note_death(cx, generation, &end);
        common.save(cx);
    }
    common.bury(cx, generation, &end);
}

/// How an instance ended that nobody watched.
pub(super) fn end_of(common: &Common, found: Recovered) -> End {
    match found {
        Recovered::Ended(report) if common.enforced() == Some(HaltLevel::Kill) => {
            End::ours(Cause::Halted, Some(report), &common.spec)
        }
        Recovered::Ended(report) if common.must_end() => {
            End::ours(Cause::Asked, Some(report), &common.spec)
        }
        Recovered::Ended(report) => {
            let cause = End::observed(&report);
            End::own(cause, Some(report))
        }
        Recovered::Alive { .. } | Recovered::Lost => End::own(Cause::Lost, None),
        Recovered::Rebooted => End {
            cause: Cause::HostReboot,
            kind: EndKind::Clean,
            report: None,
        },
        Recovered::NeverStarted => End {
            cause: Cause::Spawn {
                error: SpawnError {
                    stage: SpawnStage::Prepare,
                    errno: 0,
                    detail: "the supervisor ended before it was started".to_owned(),
                },
            },
            kind: EndKind::Unrecorded,
            report: None,
        },
    }
}

/// What a report alone says.
pub(crate) fn observed(report: &ExitReport) -> Cause {
    End::observed(report)
}

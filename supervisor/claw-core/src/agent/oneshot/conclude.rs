//! The end of a process, and what it means for its run.

use crate::clock::Mono;
use crate::death::Cause;
use crate::id::RunId;
use crate::memory::Goal;
use crate::run::RunOutcome;

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::end::{End, EndKind};
use super::super::instance::Instance;
use super::super::runs::{Attempt, Followed};
use super::Oneshot;
use super::process::{Process, Stage, Then, Work, live_of, post_stop_of};

impl Oneshot {
    /// Whether the work at `index` only waits for its hook.
    pub(super) fn is_over(&self, index: usize) -> bool {
        let work = self.runs.works.get(index);
        work.is_none_or(|work| matches!(post_stop_of(work), Some((_, _, Then::Finish))))
    }

    /// A life is over: its run is finished or tried again.
    pub(super) fn over(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: RunId,
        end: &End,
    ) {
        let Some(index) = self.runs.position(run) else {
            return;
        };
        let work = &mut self.runs.works[index];
        let stage = std::mem::replace(&mut work.stage, Stage::Queued);
        let Stage::AtWork(Process::Live(instance)) = stage else {
            work.stage = stage;
            return;
        };
        common.lay_to_outage(cx, &instance, end);
        self.conclude(common, cx, index, end);
        common.bury(cx, instance.generation(), end);
        self.begin_post_stop(common, cx, run, &instance);
    }

    /// Decides about a run whose attempt ended, and writes it down: retried or finished.
    pub(super) fn conclude(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        end: &End,
    ) {
        let work = &mut self.runs.works[index];
        if let Some(report) = &end.report {
            work.run.log = report.log;
        }
        if let Some(generation) = work.run.generation {
            common.note_death(cx, generation, end);
        }
        let attempt = attempt(common, end);
        match self.runs.conclude(common, cx, index, attempt) {
            Followed::Again => {
                common.memory.restarts_total = common.memory.restarts_total.saturating_add(1);
                common.save(cx);
            }
            Followed::Finished => {}
        }
    }

    /// Ends a run wherever it stands.
    pub(super) fn end_run(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: RunId,
        cause: &Cause,
    ) {
        let Some(index) = self.runs.position(run) else {
            return;
        };
        if self.is_over(index) {
            return;
        }
        let work = &mut self.runs.works[index];
        if let Some((generation, ..)) = post_stop_of(work) {
            common.post_stop_over(cx, generation);
            let cause = cause.clone();
            let outcome = RunOutcome::Cancelled { cause };
            self.runs.finish(common, cx, index, outcome);
        } else if let Some(instance) = live_of(work) {
            let life = common.end(cx, instance, cause.clone());
            self.live_on(common, cx, run, life);
        } else {
            self.runs.call_off(common, cx, index, cause.clone());
        }
    }

    fn begin_post_stop(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: RunId,
        instance: &Instance,
    ) {
        let Some(give_up) = common.run_post_stop(cx, instance) else {
            return;
        };
        let generation = instance.generation();
        let post_stop = |give_up: Mono, then: Then| {
            Stage::AtWork(Process::PostStop {
                generation,
                give_up,
                then,
            })
        };
        let found = self.runs.works.iter_mut().find(|work| work.id() == run);
        if let Some(work) = found {
            if let Stage::Retrying { next } = work.stage {
                let then = Then::Retry { next };
                work.stage = post_stop(give_up, then);
            }
            return;
        }
        let mut finished = self.runs.finished.iter();
        if let Some(finished) = finished.find(|finished| finished.run.id == run) {
            let stage = post_stop(give_up, Then::Finish);
            let work = Work::new((*finished.run).clone(), stage);
            self.runs.works.push(work);
        }
    }
}

/// What the end of a process is for its run.
fn attempt(common: &Common, end: &End) -> Attempt {
    let cause = end.cause.clone();
    match end.kind {
        EndKind::NotBegun if cause == Cause::Halted => return Attempt::NotBegun(cause),
        EndKind::NotBegun => return Attempt::CalledOff(cause),
        EndKind::Clean | EndKind::Unclean if cause != Cause::HostReboot => {
            return Attempt::CalledOff(cause);
        }
        EndKind::Unrecorded if common.memory.goal == Goal::Up => return Attempt::NotBegun(cause),
        EndKind::Clean | EndKind::Unclean | EndKind::Unrecorded | EndKind::Judged => {}
    }
    // A run that the machine's restart cut off was lost, and is tried again only by its policy.
    let judged = if cause == Cause::HostReboot {
        Cause::Lost
    } else {
        cause.clone()
    };
    Attempt::Ended { cause, judged }
}

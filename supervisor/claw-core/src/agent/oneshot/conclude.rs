//! The end of an attempt, and of a run: what is recorded, retried, announced.

use std::sync::Arc;
use std::time::Duration;

use crate::action::{Answer, Happened};
use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::death::Cause;
use crate::id::RunId;
use crate::memory::{Goal, Latch};
use crate::record::RecordId;
use crate::refusal::Refusal;
use crate::restart::{Counters, Verdict, decide, delay};
use crate::run::{RunOutcome, RunPhase, Trigger};
use crate::spec::Mode;

use super::super::context::Context;
use super::super::dossier::{Common, Place};
use super::super::end::{End, EndKind};
use super::super::instance::Instance;
use super::Oneshot;
use super::accept::ANNOUNCE_WAIT;
use super::lives::changed;
use super::work::{Finished, Stage, Then, Work};

/// What becomes of a run after an attempt.
enum Next {
    Again { after: Duration },
    Done(RunOutcome),
}

impl Finished {
    pub(super) const fn deadline(&self) -> Deadline {
        (self.give_up, Why::Journal)
    }
}

impl Oneshot {
    /// Whether the work at `index` only waits for its hook.
    pub(super) fn is_over(&self, index: usize) -> bool {
        self.works.get(index).is_none_or(|work| {
            matches!(
                work.stage,
                Stage::PostStop {
                    then: Then::Finish,
                    ..
                }
            )
        })
    }

    /// A life is over: its run is finished or tried again.
    pub(super) fn over(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: RunId,
        end: &End,
    ) {
        let Some(index) = self.works.iter().position(|work| work.id() == run) else {
            return;
        };
        let work = &mut self.works[index];
        let stage = std::mem::replace(&mut work.stage, Stage::Queued);
        let Stage::Live(instance) = stage else {
            work.stage = stage;
            return;
        };
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
        let work = &mut self.works[index];
        if let Some(report) = &end.report {
            work.run.log = report.log;
        }
        let next = next(common, cx, work, end);
        if let Some(generation) = work.run.generation {
            common.note_death(cx, generation, end);
        }
        match next {
            Next::Again { after } => {
                let next = cx.after(after);
                common.memory.restarts_total = common.memory.restarts_total.saturating_add(1);
                work.stage = Stage::Retrying { next };
                work.run.phase = RunPhase::Retrying {
                    next: cx.now.wall_at(next),
                    cause: end.cause.clone(),
                };
                common.save(cx);
                changed(common, cx, &work.run);
            }
            Next::Done(outcome) => self.finish(common, cx, index, outcome),
        }
    }

    /// Ends a run for good.
    pub(super) fn finish(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        outcome: RunOutcome,
    ) {
        let mut work = self.works.remove(index);
        count(common, &work, &outcome);
        common.save(cx);
        self.last_end = Some(cx.now.wall);
        work.run.phase = RunPhase::Finished {
            started: work.started,
            at: cx.now.wall,
            outcome,
        };
        let record = common.books.run(cx, &work.run);
        self.finished.push(Finished {
            record,
            run: Arc::new(work.run),
            tickets: work.tickets,
            give_up: cx.after(ANNOUNCE_WAIT),
        });
    }

    /// Calls off a run that has no process.
    pub(super) fn call_off(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        cause: Cause,
    ) {
        match &mut self.works[index].stage {
            Stage::Accepting(accepting) => {
                if let Some(ticket) = accepting.asker.take() {
                    let agent = common.name.clone();
                    cx.reply(ticket, Err(Refusal::Superseded { agent }));
                }
                if let Some((slot, fate)) = accepting.slot.take() {
                    let run = Some(self.works[index].id());
                    // Its record is under way, and may still be refused.
                    common.books.slot(cx, &common.name, (slot, fate, run));
                    cx.announce(&common.name, Happened::SlotSettled { slot, fate, run });
                }
            }
            Stage::PostStop { generation, .. } => common.post_stop_over(cx, *generation),
            Stage::Queued | Stage::Retrying { .. } => {}
            Stage::Live(_) => return,
        }
        self.finish(common, cx, index, RunOutcome::Cancelled { cause });
    }

    /// Ends a run wherever it stands.
    pub(super) fn end_run(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: RunId,
        cause: &Cause,
    ) {
        let Some(index) = self.works.iter().position(|work| work.id() == run) else {
            return;
        };
        if self.is_over(index) {
            return;
        }
        if let Stage::Live(instance) = &mut self.works[index].stage {
            let life = instance.stop(cx, cause.clone());
            self.live_on(common, cx, run, life);
        } else {
            self.call_off(common, cx, index, cause.clone());
        }
    }

    /// Calls off all that has no process.
    pub(super) fn cancel_waiting(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        cause: &Cause,
    ) {
        while let Some(index) = self.works.iter().position(Work::is_waiting) {
            self.call_off(common, cx, index, cause.clone());
        }
    }

    /// The journal has answered. Says whether the record was one of a finished run.
    pub(super) fn finished_recorded(
        &mut self,
        common: &Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) -> bool {
        let Some(index) = self.finished.iter().position(|run| run.record == id) else {
            return false;
        };
        let mut finished = self.finished.remove(index);
        if let Err(reason) = result {
            refuse(cx, &mut finished, reason);
        }
        Self::announce_finished(common, cx, finished);
        true
    }

    /// A finished run is announced all the same when the journal does not answer.
    pub(super) fn tick_finished(&mut self, common: &Common, cx: &mut Context<'_>) {
        let now = cx.mono();
        let late: Vec<Finished> = self
            .finished
            .extract_if(.., |run| run.give_up <= now)
            .collect();
        for mut finished in late {
            refuse(cx, &mut finished, "it has not answered in time");
            Self::announce_finished(common, cx, finished);
        }
    }

    pub(super) fn announce_finished(common: &Common, cx: &mut Context<'_>, finished: Finished) {
        for ticket in finished.tickets {
            cx.reply(ticket, Ok(Answer::Run(Box::new((*finished.run).clone()))));
        }
        let run = finished.run;
        cx.announce(&common.name, Happened::RunChanged { run });
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
        let found = self.works.iter_mut().find(|work| work.id() == run);
        if let Some(work) = found {
            if let Stage::Retrying { next } = work.stage {
                let then = Then::Retry { next };
                work.stage = post_stop(generation, give_up, then);
            }
            return;
        }
        let finished = self.finished.iter().find(|finished| finished.run.id == run);
        if let Some(finished) = finished {
            let stage = post_stop(generation, give_up, Then::Finish);
            self.works.push(Work::new((*finished.run).clone(), stage));
        }
    }
}

const fn post_stop(generation: crate::Generation, give_up: Mono, then: Then) -> Stage {
    Stage::PostStop {
        generation,
        give_up,
        then,
    }
}

fn refuse(cx: &mut Context<'_>, finished: &mut Finished, reason: &str) {
    for ticket in finished.tickets.drain(..) {
        let reason = reason.to_owned();
        cx.reply(ticket, Err(Refusal::JournalUnavailable { reason }));
    }
}

/// What follows from the end of an attempt.
fn next(common: &mut Common, cx: &mut Context<'_>, work: &mut Work, end: &End) -> Next {
    let cause = end.cause.clone();
    let restart = &common.spec.restart;
    let counters = Counters {
        failures: work.failures,
        restarts_in_a_row: work.failures,
    };
    match end.kind {
        EndKind::Clean | EndKind::Unclean if cause != Cause::HostReboot => {
            return Next::Done(RunOutcome::Cancelled { cause });
        }
        EndKind::Unrecorded if common.memory.goal == Goal::Up => {
            work.run.attempts = work.run.attempts.saturating_sub(1);
            let after = delay(restart, 1, cx.random());
            return Next::Again { after };
        }
        EndKind::Clean | EndKind::Unclean | EndKind::Unrecorded | EndKind::Judged => {}
    }
    // A run that the machine's restart cut off was lost, and is tried again only by its policy.
    let judged = if cause == Cause::HostReboot {
        Cause::Lost
    } else {
        cause.clone()
    };
    let random = cx.random();
    let wanted = common.memory.goal == Goal::Up && common.place != Place::Leaving;
    match decide(restart, Mode::Oneshot, &judged, counters, random) {
        Verdict::Complete => Next::Done(RunOutcome::Succeeded),
        Verdict::Restart { delay, counters } if wanted => {
            work.failures = counters.failures;
            Next::Again { after: delay }
        }
        Verdict::Stay { .. } => {
            if is_only_work(common, work) {
                common.memory.latch = Some(Latch::NotRestarted {
                    cause: cause.clone(),
                });
            }
            Next::Done(failed(cause))
        }
        Verdict::GiveUp { failures, .. } => {
            if is_only_work(common, work) {
                let cause = cause.clone();
                common.memory.latch = Some(Latch::GaveUp { cause, failures });
            }
            Next::Done(failed(cause))
        }
        Verdict::Restart { .. } => Next::Done(failed(cause)),
    }
}

/// Whether the agent is there for this run alone.
fn is_only_work(common: &Common, work: &Work) -> bool {
    common.spec.schedule.is_none() && work.run.trigger == Trigger::Start
}

fn failed(cause: Cause) -> RunOutcome {
    match &cause {
        Cause::Lost | Cause::HostReboot => RunOutcome::Interrupted { cause },
        Cause::Exit { .. }
        | Cause::Signal { .. }
        | Cause::Oom { .. }
        | Cause::Probe { .. }
        | Cause::Watchdog
        | Cause::StartTimeout
        | Cause::RunTimeout
        | Cause::RunFailed { .. }
        | Cause::Spawn { .. }
        | Cause::Hook { .. }
        | Cause::Asked
        | Cause::Reconfigured
        | Cause::Replaced => RunOutcome::Failed { cause },
    }
}

/// Counts a finished run; the one run of an agent without a schedule completes it.
fn count(common: &mut Common, work: &Work, outcome: &RunOutcome) {
    let (succeeded, failed) = &mut common.memory.runs;
    match outcome {
        RunOutcome::Succeeded => *succeeded = succeeded.saturating_add(1),
        RunOutcome::Failed { .. } | RunOutcome::Interrupted { .. } => {
            *failed = failed.saturating_add(1);
        }
        RunOutcome::Cancelled { .. } => {}
    }
    if !is_only_work(common, work) || common.memory.goal == Goal::Down {
        return;
    }
    match outcome {
        RunOutcome::Succeeded => common.memory.latch = Some(Latch::Completed),
        RunOutcome::Failed { .. }
        | RunOutcome::Interrupted { .. }
        | RunOutcome::Cancelled { .. } => {}
    }
}

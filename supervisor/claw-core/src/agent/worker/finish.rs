//! How a run leaves the hands of the instance: done, dropped, or interrupted by its end.

use crate::death::Cause;
use crate::id::RunId;
use crate::memory::Goal;
use crate::order::Order;
use crate::run::WorkOutcome;

use super::super::context::Context;
use super::super::dossier::{Common, Place};
use super::super::end::{End, is_wish};
use super::super::instance::{Instance, Report};
use super::super::runs::Attempt;
use super::delivery::{Delivery, Due, Phase};
use super::{Resumption, Stage, Work, Worker};

impl Worker {
    /// What the live instance says of runs.
    pub(super) fn hear(&mut self, common: &mut Common, cx: &mut Context<'_>, report: &Report) {
        match report {
            Report::RunFinished(run, attempt, outcome) => {
                self.finished(common, cx, (*run, *attempt), outcome);
            }
            Report::RunTaken(run) | Report::RunProgressed(run) => {
                if self.delivered(*run).is_none() {
                    self.stale(
                        common,
                        cx,
                        &format!("work on run {run}, which it was not given"),
                    );
                }
            }
            Report::Resumed(running) => self.resumed(common, cx, running),
            Report::Preparing(_)
            | Report::Unobserved(_)
            | Report::Observed
            | Report::NeedsRestart(_)
            | Report::Started { .. }
            | Report::SpawnFailed(_)
            | Report::MainExited(_)
            | Report::Gone(_)
            | Report::Lost
            | Report::Probed(..)
            | Report::SelfChecked(_)
            | Report::Notified(_)
            | Report::Progressed
            | Report::BrokeProtocol
            | Report::ModelCall(_)
            | Report::HookDone(..) => {}
        }
    }

    /// Ends a run wherever it stands, because somebody wants it to.
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
        match self.runs.works[index].at_work().map(Delivery::phase) {
            Some(Phase::Working { .. }) => self.order_cancel(common, cx, index, cause.clone()),
            Some(Phase::Recording { .. }) => {
                self.take_back(common, cx, index);
                self.runs.call_off(common, cx, index, cause.clone());
            }
            Some(Phase::Resuming { .. } | Phase::Cancelling { .. } | Phase::Overdue { .. }) => {
                if let Stage::AtWork(delivery) = &mut self.runs.works[index].stage {
                    delivery.note_called_off(cause);
                    let is_resuming = matches!(delivery.phase(), Phase::Resuming { .. });
                    // One that is frozen cannot say what it works on.
                    if is_resuming && delivery.is_frozen() {
                        self.order_cancel(common, cx, index, cause.clone());
                    }
                }
            }
            None => self.runs.call_off(common, cx, index, cause.clone()),
        }
    }

    /// Does what is due of the runs in the hands of the instance.
    pub(super) fn tick_deliveries(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let runs: Vec<RunId> = self.runs.works.iter().map(Work::id).collect();
        for run in runs {
            let Some(index) = self.runs.position(run) else {
                continue;
            };
            let delivery = self.runs.works[index].at_work();
            match delivery.map_or(Due::Nothing, |delivery| delivery.due(cx.mono())) {
                Due::Nothing => {}
                Due::NotRecorded => {
                    self.put_off(common, cx, index, "it has not answered in time");
                }
                Due::NotResumed => {
                    let frozen = delivery.filter(|delivery| delivery.is_frozen());
                    if let Some(cause) = frozen.and_then(Delivery::called_off).cloned() {
                        self.order_cancel(common, cx, index, cause);
                    } else {
                        self.resumption = Resumption::NotAwaited;
                        self.not_resumed(common, cx, index);
                    }
                }
                Due::TimeUp => self.order_cancel(common, cx, index, Cause::RunTimeout),
                Due::GraceOver => self.give_up(common, cx, index),
            }
        }
    }

    /// The instance is over: what it had in its hands goes on with the next one, or not.
    pub(super) fn interrupt_all(&mut self, common: &mut Common, cx: &mut Context<'_>, end: &End) {
        let runs: Vec<RunId> = self.runs.works.iter().map(Work::id).collect();
        for run in runs {
            let Some(index) = self.runs.position(run) else {
                continue;
            };
            let Some(delivery) = self.runs.works[index].at_work() else {
                continue;
            };
            if delivery.is_delivered() {
                let called_off = delivery.called_off();
                let attempt = called_off.map_or_else(|| interrupted(common, end), ended_for);
                self.runs.conclude(common, cx, index, attempt);
            }
        }
    }

    fn finished(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        (run, attempt): (RunId, u32),
        outcome: &WorkOutcome,
    ) {
        let found = self.delivered(run);
        let Some(index) = found.filter(|index| self.runs.works[*index].run.attempts == attempt)
        else {
            let what = format!("the end of attempt {attempt} of run {run}, which it was not given");
            self.stale(common, cx, &what);
            return;
        };
        let called_off = self.runs.works[index]
            .at_work()
            .and_then(Delivery::called_off);
        match ended(outcome, called_off) {
            Some(attempt) => {
                self.runs.conclude(common, cx, index, attempt);
            }
            None => self.given_back(common, cx, index),
        }
    }

    /// The instance was told of nothing before it had to finish.
    fn given_back(&mut self, common: &mut Common, cx: &mut Context<'_>, index: usize) {
        self.take_back(common, cx, index);
        if common.memory.goal == Goal::Down || common.place == Place::Leaving {
            self.runs.call_off(common, cx, index, Cause::Asked);
        }
    }

    /// An adopted instance says what it still works on. The rest of what it was given is lost;
    /// what it was not given, or is done, it is told to drop.
    fn resumed(&mut self, common: &mut Common, cx: &mut Context<'_>, running: &[(RunId, u32)]) {
        let live = self.life.instance().map(Instance::generation);
        match self.resumption {
            Resumption::Awaited(generation) if live == Some(generation) => {}
            Resumption::Awaited(_) | Resumption::NotAwaited => {
                self.stale(common, cx, "a list of its runs when none was awaited");
                return;
            }
        }
        self.resumption = Resumption::NotAwaited;
        // What it was to drop when it was frozen.
        let works = self.runs.works.iter();
        let unheard = works.filter(|work| work.at_work().is_some_and(Delivery::is_cancelling));
        let unheard: Vec<RunId> = unheard.map(Work::id).collect();
        let runs: Vec<(RunId, u32)> = self.resuming().collect();
        for (run, attempt) in runs {
            let Some(index) = self.runs.position(run) else {
                continue;
            };
            if running.contains(&(run, attempt)) {
                self.go_on(common, cx, index);
            } else {
                self.not_resumed(common, cx, index);
            }
        }
        for (run, _) in running {
            if self.delivered(*run).is_none() || unheard.contains(run) {
                self.order_drop(cx, *run);
            }
        }
    }

    fn resuming(&self) -> impl Iterator<Item = (RunId, u32)> {
        let works = self.runs.works.iter();
        works.filter_map(|work| match work.at_work().map(Delivery::phase) {
            Some(Phase::Resuming { .. }) => Some((work.id(), work.run.attempts)),
            Some(
                Phase::Recording { .. }
                | Phase::Working { .. }
                | Phase::Cancelling { .. }
                | Phase::Overdue { .. },
            )
            | None => None,
        })
    }

    /// The instance still works on it.
    fn go_on(&mut self, common: &Common, cx: &mut Context<'_>, index: usize) {
        let Stage::AtWork(delivery) = &mut self.runs.works[index].stage else {
            return;
        };
        let Phase::Resuming {
            limit, called_off, ..
        } = delivery.phase()
        else {
            return;
        };
        let (limit, called_off) = (*limit, called_off.clone());
        delivery.work(limit);
        if let Some(cause) = called_off {
            self.order_cancel(common, cx, index, cause);
        }
    }

    /// The instance does not work on it, or does not say so.
    fn not_resumed(&mut self, common: &mut Common, cx: &mut Context<'_>, index: usize) {
        let delivery = self.runs.works[index].at_work();
        let called_off = delivery.and_then(Delivery::called_off);
        let attempt = called_off.map_or_else(lost, ended_for);
        self.runs.conclude(common, cx, index, attempt);
    }

    /// Tells the instance to drop a run.
    fn order_cancel(&mut self, common: &Common, cx: &mut Context<'_>, index: usize, cause: Cause) {
        let give_up = cx.after(common.spec.shutdown.timeout);
        let work = &mut self.runs.works[index];
        let run = work.id();
        if let Stage::AtWork(delivery) = &mut work.stage {
            delivery.cancel(cause, give_up);
            self.order_drop(cx, run);
        }
    }

    fn order_drop(&self, cx: &mut Context<'_>, run: RunId) {
        if let Some(instance) = self.life.instance() {
            let instance = instance.id().clone();
            cx.order(Order::CancelRun { instance, run });
        }
    }

    /// The instance did not drop a run in time, so it is ended, and the next one takes its place.
    fn give_up(&mut self, common: &mut Common, cx: &mut Context<'_>, index: usize) {
        let Stage::AtWork(delivery) = &mut self.runs.works[index].stage else {
            return;
        };
        delivery.give_up();
        if let Some(cause) = delivery.called_off().cloned() {
            self.life.restart(common, cx, cause);
        }
    }

    /// Where a run stands that the instance was given.
    fn delivered(&self, run: RunId) -> Option<usize> {
        let index = self.runs.position(run)?;
        let delivery = self.runs.works[index].at_work()?;
        delivery.is_delivered().then_some(index)
    }

    fn stale(&self, common: &Common, cx: &mut Context<'_>, what: &str) {
        if let Some(instance) = self.life.instance() {
            let detail = format!("{} reported {what}", instance.id());
            cx.stale(&common.name, detail);
        }
    }
}

/// What the end of an instance is for a run that it worked on. Its process may have ended with
/// whatever code it likes, the run was not done.
pub(super) fn interrupted(common: &Common, end: &End) -> Attempt {
    let cause = end.cause.clone();
    if cause == Cause::HostReboot || !is_wish(&cause) {
        let judged = Cause::Lost;
        Attempt::Ended { cause, judged }
    } else if common.must_end() || cause == Cause::Halted {
        Attempt::CalledOff(cause)
    } else {
        Attempt::CutOff(cause)
    }
}

/// What a report of a run is for its attempt; `None`: it was not begun.
pub(super) fn ended(outcome: &WorkOutcome, called_off: Option<&Cause>) -> Option<Attempt> {
    match (outcome, called_off) {
        (WorkOutcome::Succeeded, _) => Some(Attempt::Succeeded),
        (WorkOutcome::Failed { .. } | WorkOutcome::NotBegun, Some(cause)) => Some(ended_for(cause)),
        (WorkOutcome::Failed { message, retryable }, None) => {
            let cause = Cause::RunFailed {
                message: message.clone(),
                retryable: *retryable,
            };
            let judged = cause.clone();
            Some(Attempt::Ended { cause, judged })
        }
        (WorkOutcome::NotBegun, None) => None,
    }
}

/// What the end of a run is that was called off.
fn ended_for(cause: &Cause) -> Attempt {
    let cause = cause.clone();
    if is_wish(&cause) {
        return Attempt::CalledOff(cause);
    }
    let judged = cause.clone();
    Attempt::Ended { cause, judged }
}

/// What an attempt is that nobody works on any more.
pub(super) fn lost() -> Attempt {
    Attempt::Ended {
        cause: Cause::RunLost,
        judged: Cause::RunLost,
    }
}

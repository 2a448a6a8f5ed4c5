//! An agent that is one long-lived process, to which runs are delivered while it is ready.
//!
//! ```text
//!   life: Daemon ──ready──────────────┐
//!                                     ▼
//!   Runs ──a queued run──► Delivery: Recording ──► Working ──► Runs: retried or finished
//!                                     ▲
//!   life: over ──── what it worked on is interrupted, and given to the next life
//! ```
//!
//! The process has everything that a daemon has and knows nothing of runs; the runs have
//! everything that those of a oneshot have. What is here ties the two together: [`Worker::settle`]
//! brings the runs after the life, and the life after the runs, at the end of each call. Called
//! by `Agent` only.

mod delivery;
mod finish;
mod offer;
mod restore;

use std::sync::Arc;

use crate::clock::{Gap, Mono, Wall};
use crate::deadline::{Deadline, earlier};
use crate::death::Cause;
use crate::id::{Generation, RunId, Ticket};
use crate::memory::{Goal, Hold, Latch};
use crate::record::RecordId;
use crate::refusal::Refusal;
use crate::slots::Downtime;
use crate::spec::AgentSpec;
use crate::status::{PublicState, Reason};

use super::context::Context;
use super::daemon::{self, Daemon};
use super::dossier::{Common, Place};
use super::face::daemon_face;
use super::instance::{Instance, Report, Standing};
use super::runs::{self, AtStart, Heard, Request, Runs};
use super::verdict::Then;
use delivery::Delivery;

type Work = runs::Work<Delivery>;
type Stage = runs::Stage<Delivery>;

/// The machine of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) life: Daemon,
    pub(super) runs: Runs<Delivery>,
    resumption: Resumption,
}

/// Whether the instance is still to say what an earlier supervisor had given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumption {
    Awaited(Generation),
    NotAwaited,
}

impl Worker {
    pub(crate) const fn new() -> Self {
        Self {
            life: Daemon::new(),
            runs: Runs::new(),
            resumption: Resumption::NotAwaited,
        }
    }

    /// Whether nothing of it runs, and nobody waits for the journal on its behalf.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.life.is_at_rest() && !self.runs.is_awaited()
    }

    /// Brings life and runs after goal, hold, latch and place.
    pub(crate) fn follow(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.take_back_undeliverable(common, cx);
        self.runs.follow(common, cx);
        self.life.follow(common, cx);
        self.settle(common, cx);
    }

    /// `start`: whatever delays the next start, or the next attempt, is called off.
    pub(crate) fn start_now(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.runs.hurry();
        self.life.start_now(common, cx);
        self.settle(common, cx);
    }

    /// Ends the instance for `cause`; what waits goes to the next one, and so does what this one
    /// does not finish in its grace.
    pub(crate) fn restart(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: Cause) {
        if cause == Cause::Asked {
            self.runs.begin_anew(common);
        }
        self.runs.retune(common, cx);
        self.life.restart(common, cx, cause);
        self.settle(common, cx);
    }

    pub(crate) fn kill(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.life.kill(common, cx);
        self.settle(common, cx);
    }

    /// Another spec is in force for runs, and what runs goes on under the old one.
    pub(crate) fn replan(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.runs.retune(common, cx);
    }

    /// Another spec is in force, and what runs goes on.
    pub(crate) fn retune(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        spec: &Arc<AgentSpec>,
    ) {
        self.life.retune(common, cx, spec);
        let unscheduled = self.runs.is_unscheduled();
        self.runs.retune(common, cx);
        // Its program has just said that it has a schedule; this is still its start.
        let starts = |instance: &Instance| instance.standing() == Standing::StartingUp;
        if unscheduled && self.life.instance().is_some_and(starts) {
            self.runs.run_at_start(common, cx);
        }
    }

    pub(crate) fn recorded(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        match self.runs.recorded(common, cx, id, result) {
            Heard::Done => {}
            Heard::Accepted(run) => {
                for other in self.runs.replaced_by(common, run) {
                    self.end_run(common, cx, other, &Cause::Replaced);
                }
            }
            Heard::NotOurs => {
                if !self.offer_recorded(common, cx, id, result) {
                    self.life.recorded(common, cx, id, result);
                }
            }
        }
        self.settle(common, cx);
    }

    /// Somebody has reported of an instance. `Err`: not of one that lives here.
    pub(crate) fn report(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        generation: Generation,
        report: Report,
    ) -> Result<(), ()> {
        let instance = self.life.instance();
        if instance.is_some_and(|instance| instance.generation() == generation) {
            self.hear(common, cx, &report);
        }
        let known = self.life.report(common, cx, generation, report);
        self.settle(common, cx);
        known
    }

    pub(crate) fn tick(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.life.tick(common, cx);
        self.settle(common, cx);
        self.runs.tick(common, cx);
        self.tick_deliveries(common, cx);
        self.runs.settle_due(common, cx, Downtime::Up);
        self.settle(common, cx);
    }

    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        self.life.shift(gap, now);
        self.runs.shift(gap);
        for delivery in self.deliveries_mut() {
            delivery.shift(gap);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        earlier(self.life.deadline(), self.runs.deadline())
    }

    /// Somebody asks for a run.
    pub(crate) fn trigger(
        &mut self,
        common: &Common,
        cx: &mut Context<'_>,
        request: Request,
    ) -> Result<(), Refusal> {
        self.admission(common, cx)?;
        self.runs.accept(common, cx, request);
        Ok(())
    }

    /// Somebody calls a run off.
    pub(crate) fn cancel(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        ticket: Ticket,
        run: RunId,
    ) -> Result<(), Refusal> {
        let index = self.runs.position(run).ok_or(Refusal::NoSuchRun { run })?;
        self.runs.works[index].tickets.push(ticket);
        self.end_run(common, cx, run, &Cause::Asked);
        self.settle(common, cx);
        Ok(())
    }

    /// Its process as that of a daemon, and beyond that whether it has work.
    pub(crate) fn face(&self, common: &Common, now: crate::clock::Now) -> (PublicState, Reason) {
        let (state, reason) = daemon_face(&self.life, common, now);
        if reason != Reason::Up {
            return (state, reason);
        }
        let at_work = self.runs.works.iter().filter(|work| work.is_at_work());
        let runs: Vec<RunId> = at_work.map(Work::id).collect();
        let reason = if runs.is_empty() {
            Reason::Waiting
        } else {
            Reason::Working { runs }
        };
        (state, reason)
    }

    /// Brings runs and life after each other.
    fn settle(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if let Some(end) = self.life.ended.take() {
            self.resumption = Resumption::NotAwaited;
            self.interrupt_all(common, cx, &end);
        }
        self.take_back_undeliverable(common, cx);
        self.freeze_deliveries(cx.mono());
        let busy = self.runs.at_work().any(Delivery::is_waited_for);
        if let Some(instance) = self.life.instance_mut()
            && instance.is_draining()
            && !busy
        {
            instance.drained(cx);
        }
        // What an ending instance is asked to begin anew begins with the next one.
        let ending = |instance: &Instance| matches!(instance.standing(), Standing::Ending(_));
        if !self.life.instance().is_some_and(ending) {
            self.runs.arm_if_wanted(common, cx, AtStart::Waits);
        }
        self.offer_next(common, cx);
    }

    fn freeze_deliveries(&mut self, now: Mono) {
        let frozen = self.life.instance().is_some_and(Instance::is_frozen);
        for delivery in self.deliveries_mut() {
            if frozen {
                delivery.freeze(now);
            } else {
                delivery.thaw(now);
            }
        }
    }

    fn deliveries_mut(&mut self) -> impl Iterator<Item = &mut Delivery> {
        let works = self.runs.works.iter_mut();
        works.filter_map(|work| match &mut work.stage {
            Stage::AtWork(delivery) => Some(delivery),
            Stage::Accepting(_) | Stage::Queued | Stage::Retrying { .. } => None,
        })
    }

    /// Whether a trigger is accepted now.
    fn admission(&self, common: &Common, cx: &Context<'_>) -> Result<(), Refusal> {
        let agent = common.name.clone();
        if common.place == Place::Closing || common.place == Place::Halting {
            return Err(Refusal::ShuttingDown);
        }
        if common.memory.goal == Goal::Down || common.place == Place::Leaving {
            return Err(if self.life.has_live() {
                Refusal::Stopping { agent }
            } else {
                Refusal::Stopped { agent }
            });
        }
        if common.memory.hold != Hold::None {
            return Err(Refusal::Paused { agent });
        }
        match &common.memory.latch {
            Some(Latch::GaveUp { .. } | Latch::Refused { .. }) => {
                return Err(Refusal::GaveUp { agent });
            }
            Some(Latch::Completed | Latch::NotRestarted { .. }) => {
                return Err(Refusal::Stopped { agent });
            }
            None => {}
        }
        if let Some(until) = self.backs_off_until(common, cx) {
            return Err(Refusal::BackingOff { agent, until });
        }
        self.runs.has_room(common)
    }

    fn backs_off_until(&self, common: &Common, cx: &Context<'_>) -> Option<Wall> {
        let until = match &self.life.phase {
            daemon::Phase::BackingOff { until, .. }
            | daemon::Phase::PostStop {
                then: Then::BackOff { until, .. },
                ..
            } => *until,
            daemon::Phase::PostStop {
                then: Then::Rest | Then::Start,
                ..
            }
            | daemon::Phase::Down
            | daemon::Phase::Waiting
            | daemon::Phase::Queued
            | daemon::Phase::Live(_) => return None,
        };
        let next = common.memory.next_start;
        Some(next.unwrap_or_else(|| cx.now.wall_at(until)))
    }
}

//! An agent that is one process per run.
//!
//! ```text
//!   Runs ──a queued run──► Process: Live ──over──► PostStop ──► Runs: retried or finished
//! ```
//!
//! The agent itself has no phase: it is what its unfinished runs are. The overlap rule says how
//! many may be live. Called by `Agent` only.

mod conclude;
mod face;
mod lives;
mod process;
mod restore;

use crate::clock::{Gap, Mono};
use crate::deadline::Deadline;
use crate::death::Cause;
use crate::id::{Generation, Ticket};
use crate::memory::{Goal, Hold};
use crate::refusal::Refusal;
use crate::spec::Overlap;

use super::context::Context;
use super::dossier::{Common, Place};
use super::instance::Instance;
use super::need::Need;
use super::runs::{AtStart, Request, Runs, is_given_up, may_run, overlap};
use process::{Process, Stage, Work};

/// The most runs that may live at once under `overlap: allow`. More would be a flood of triggers,
/// not a plan; the rest waits.
const MAX_LIVE: usize = 64;

/// The machine of a oneshot.
#[derive(Debug)]
pub(crate) struct Oneshot {
    pub(super) runs: Runs<Process>,
    gate: Gate,
}

/// Whether the dependencies have been found to be there for the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Shut,
    Open,
}

impl Oneshot {
    pub(crate) const fn new() -> Self {
        Self {
            runs: Runs::new(),
            gate: Gate::Shut,
        }
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.runs.at_work().filter_map(Process::instance)
    }

    /// Whether anything of it has a process.
    pub(crate) fn has_live(&self) -> bool {
        self.runs.has_at_work()
    }

    /// Whether nothing of it runs, and nobody waits for the journal on its behalf.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.has_live() && !self.runs.is_awaited()
    }

    /// Whether all lives up to this one are over.
    pub(crate) fn has_restarted(&self, after: Generation) -> bool {
        let mut at_work = self.runs.at_work();
        at_work.all(|process| process.generation() > after)
    }

    /// Brings runs and slots after goal, hold, latch and place.
    pub(crate) fn follow(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.runs.follow(common, cx);
        self.for_each_live(common, cx, |common, instance, cx| {
            common.steer(cx, instance)
        });
        self.arm_if_wanted(common, cx);
        self.tidy(common);
    }

    /// `start`: delayed attempts are made now, and one without a schedule runs once more.
    pub(crate) fn start_now(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.runs.hurry();
        if common.spec.schedule.is_none() && self.runs.works.is_empty() {
            common.memory.armed_since = None;
        }
        self.follow(common, cx);
    }

    /// Asked for: all is called off and begins anew. Reconfigured: what runs ends in its own
    /// time under the old spec, the next run takes the new one.
    pub(crate) fn restart(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: &Cause) {
        if *cause == Cause::Asked {
            self.runs.cancel_waiting(common, cx, cause);
            self.stop_all(common, cx, cause);
            self.runs.begin_anew(common);
        } else if common.spec.schedule.is_none() {
            common.memory.armed_since = None;
        }
        self.runs.retune(common, cx);
        self.follow(common, cx);
    }

    pub(crate) fn kill(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.for_each_live(common, cx, |_, instance, cx| {
            instance.kill(cx, Cause::Asked)
        });
    }

    /// Its dependencies are there.
    pub(crate) fn open(&mut self, common: &Common) {
        if self.next_to_start(common).is_some() {
            self.gate = Gate::Open;
        }
    }

    pub(crate) fn need(&self, common: &Common) -> Need {
        if self.instances().any(Instance::is_starting) {
            return Need::Starting;
        }
        match (self.next_to_start(common), self.gate) {
            (None, _) => Need::Nothing,
            (Some(_), Gate::Shut) => Need::Dependencies,
            (Some(_), Gate::Open) => Need::StartSlot,
        }
    }

    pub(crate) fn tick(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.runs.tick(common, cx);
        self.tick_post_stop(common, cx);
        self.for_each_live(common, cx, |_, instance, cx| instance.tick(cx));
        self.runs.settle_due(common, cx, crate::slots::Downtime::Up);
        self.tidy(common);
    }

    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        self.runs.shift(gap);
        for work in &mut self.runs.works {
            if let Stage::AtWork(process) = &mut work.stage {
                process.shift(gap, now);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.runs.deadline()
    }

    /// The run whose turn it is.
    fn next_to_start(&self, common: &Common) -> Option<usize> {
        if !may_run(common) {
            return None;
        }
        let blocked = match overlap(common) {
            Overlap::Allow => self.runs.at_work().count() >= MAX_LIVE,
            Overlap::Skip | Overlap::Queue | Overlap::Replace => {
                let mut works = self.runs.works.iter();
                works.any(|work| work.is_at_work() || work.is_retrying())
            }
        };
        if blocked {
            return None;
        }
        self.runs.works.iter().position(Work::is_queued)
    }

    /// The gate is for one start only.
    fn tidy(&mut self, common: &Common) {
        if self.next_to_start(common).is_none() {
            self.gate = Gate::Shut;
        }
    }

    fn arm_if_wanted(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if !self.has_live() {
            self.runs.arm_if_wanted(common, cx, AtStart::Runs);
        }
    }

    /// Somebody asks for a run.
    pub(crate) fn trigger(
        &mut self,
        common: &Common,
        cx: &mut Context<'_>,
        request: Request,
    ) -> Result<(), Refusal> {
        self.admission(common)?;
        self.runs.accept(common, cx, request);
        Ok(())
    }

    /// Whether a trigger is accepted now.
    fn admission(&self, common: &Common) -> Result<(), Refusal> {
        let agent = common.name.clone();
        if common.place == Place::Closing || common.place == Place::Halting {
            return Err(Refusal::ShuttingDown);
        }
        if common.memory.goal == Goal::Down || common.place == Place::Leaving {
            return Err(if self.has_live() {
                Refusal::Stopping { agent }
            } else {
                Refusal::Stopped { agent }
            });
        }
        if common.memory.hold != Hold::None {
            return Err(Refusal::Paused { agent });
        }
        if is_given_up(common) {
            return Err(Refusal::GaveUp { agent });
        }
        self.runs.has_room(common)
    }

    /// Somebody calls a run off.
    pub(crate) fn cancel(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        ticket: Ticket,
        run: crate::RunId,
    ) -> Result<(), Refusal> {
        let found = self.runs.position(run);
        let Some(index) = found.filter(|index| !self.is_over(*index)) else {
            return Err(Refusal::NoSuchRun { run });
        };
        self.runs.works[index].tickets.push(ticket);
        self.end_run(common, cx, run, &Cause::Asked);
        self.tidy(common);
        Ok(())
    }
}

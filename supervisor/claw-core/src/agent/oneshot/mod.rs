//! An agent that is one process per run.
//!
//! ```text
//!   slot, trigger, start ──► Accepting ──recorded──► Queued ──► Live ──► finished
//!                                                      ▲         │
//!                                                      └ Retrying┘
//! ```
//!
//! The agent itself has no phase: it is what its unfinished runs are. Runs stand in the order in
//! which they were accepted; the overlap rule says how many may be live. Called by `Agent` only.

mod accept;
mod conclude;
mod face;
mod lives;
mod plan;
mod restore;
mod settle;
mod work;

use crate::clock::{Gap, Mono, Wall};
use crate::deadline::{Deadline, earlier};
use crate::death::Cause;
use crate::id::{Generation, Ticket};
use crate::memory::{Goal, Hold, Latch};
use crate::refusal::Refusal;
use crate::run::Trigger;
use crate::spec::Overlap;
use crate::spec::schedule::RunOnStart;

use super::context::Context;
use super::dossier::{Common, Place};
use super::instance::Instance;
use super::need::Need;
use super::waiters::Dismiss;
use plan::Plan;
use work::{Finished, Stage, Work};

/// The most runs that may live at once under `overlap: allow`. More would be a flood of triggers,
/// not a plan; the rest waits.
const MAX_LIVE: usize = 64;

/// The machine of a oneshot.
#[derive(Debug)]
pub(crate) struct Oneshot {
    works: Vec<Work>,
    finished: Vec<Finished>,
    plan: Option<Plan>,
    gate: Gate,
    last_end: Option<Wall>,
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
            works: Vec::new(),
            finished: Vec::new(),
            plan: None,
            gate: Gate::Shut,
            last_end: None,
        }
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.works.iter().filter_map(Work::instance)
    }

    /// Whether anything of it has a process.
    pub(crate) fn has_live(&self) -> bool {
        self.works.iter().any(Work::is_live)
    }

    /// Whether nothing of it runs, and nobody waits for the journal on its behalf.
    pub(crate) fn is_at_rest(&self) -> bool {
        let awaited = self.finished.iter().any(|run| !run.tickets.is_empty());
        !self.has_live() && !awaited && !self.works.iter().any(Work::has_asker)
    }

    pub(crate) fn follows_wall_clock(&self, _common: &Common) -> bool {
        self.plan.as_ref().is_some_and(Plan::is_on_wall_clock)
    }

    /// Whether all lives up to this one are over.
    pub(crate) fn has_restarted(&self, after: Generation) -> bool {
        self.works.iter().all(|work| match &work.stage {
            Stage::Live(instance) => instance.generation() > after,
            Stage::PostStop { generation, .. } => *generation > after,
            Stage::Accepting(_) | Stage::Queued | Stage::Retrying { .. } => true,
        })
    }

    /// Brings runs and slots after goal, hold, latch and place.
    pub(crate) fn follow(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if common.place != Place::Member {
            // Slots that fall due from now on are for the next supervisor.
            self.plan = None;
        }
        if common.memory.goal == Goal::Down || common.place == Place::Leaving {
            self.disarm(common, cx);
            self.cancel_waiting(common, cx, &Cause::Asked);
        }
        if common.must_end() {
            self.stop_all(common, cx, &Cause::Asked);
        } else {
            self.freeze_all(common, cx);
        }
        self.arm_if_wanted(common, cx);
        self.tidy(common);
    }

    /// `start`: delayed attempts are made now, and one without a schedule runs once more.
    pub(crate) fn start_now(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        for work in &mut self.works {
            if let Stage::Retrying { .. } = work.stage {
                work.stage = Stage::Queued;
            }
        }
        if common.spec.schedule.is_none() && self.works.is_empty() {
            common.memory.armed_since = None;
        }
        self.follow(common, cx);
    }

    /// Asked for: all is called off and begins anew. Reconfigured: what runs ends in its own
    /// time under the old spec, the next run takes the new one.
    pub(crate) fn restart(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: &Cause) {
        if *cause == Cause::Asked {
            self.cancel_waiting(common, cx, cause);
            self.stop_all(common, cx, cause);
            common.memory.armed_since = None;
            self.plan = None;
        } else if common.spec.schedule.is_none() {
            common.memory.armed_since = None;
        }
        self.retune(common, cx);
        self.follow(common, cx);
    }

    /// Another spec is in force: slots follow it from now on.
    pub(crate) fn retune(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if common.memory.armed_since.is_none() {
            return;
        }
        let planned = self.plan.as_ref().map(Plan::schedule);
        if planned != common.spec.schedule.as_ref() {
            common.memory.armed_since = Some(cx.now.wall);
            self.plan = None;
            self.plan_from(common, cx, cx.now.wall);
            common.save(cx);
        }
    }

    pub(crate) fn kill(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.for_each_live(common, cx, |instance, cx| instance.kill(cx, Cause::Asked));
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
        let now = cx.mono();
        for work in &mut self.works {
            if let Stage::Retrying { next } = work.stage
                && next <= now
            {
                work.stage = Stage::Queued;
            }
        }
        self.tick_accepting(common, cx);
        self.tick_finished(common, cx);
        self.tick_post_stop(common, cx);
        self.for_each_live(common, cx, Instance::tick);
        self.settle_due(common, cx, crate::slots::Downtime::Up);
        self.tidy(common);
    }

    pub(crate) fn clocks_changed(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if let Some(plan) = &mut self.plan {
            plan.clock_set(&common.name, cx.now);
        }
    }

    pub(crate) fn shift(&mut self, gap: Gap, now: Mono) {
        for work in &mut self.works {
            match &mut work.stage {
                Stage::Live(instance) => instance.shift(gap, now),
                Stage::PostStop { give_up, .. } => *give_up = *give_up + gap.late,
                Stage::Accepting(accepting) => {
                    accepting.until = accepting.until + gap.late;
                }
                Stage::Queued | Stage::Retrying { .. } => {}
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let works = self.works.iter().filter_map(Work::deadline).min();
        let finished = self.finished.iter().map(Finished::deadline).min();
        let slot = self.plan.as_ref().and_then(Plan::deadline);
        earlier(earlier(works, finished), slot)
    }

    /// Tells all who wait for a run that the supervisor ends. When it ends with a stop the
    /// journal still answers, and so are they.
    pub(crate) fn dismiss(&mut self, cx: &mut Context<'_>, whom: Dismiss) {
        if whom == Dismiss::AllButStop {
            return;
        }
        for work in &mut self.works {
            if let Stage::Accepting(accepting) = &mut work.stage
                && let Some(ticket) = accepting.asker.take()
            {
                cx.reply(ticket, Err(Refusal::ShuttingDown));
            }
            for ticket in work.tickets.drain(..) {
                cx.reply(ticket, Err(Refusal::ShuttingDown));
            }
        }
        for run in &mut self.finished {
            for ticket in run.tickets.drain(..) {
                cx.reply(ticket, Err(Refusal::ShuttingDown));
            }
        }
    }

    /// A machine of the other kind takes over: what waits is called off.
    pub(crate) fn dissolve(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.disarm(common, cx);
        self.cancel_waiting(common, cx, &Cause::Reconfigured);
        for finished in std::mem::take(&mut self.finished) {
            Self::announce_finished(common, cx, finished);
        }
    }

    fn overlap(common: &Common) -> Overlap {
        let schedule = common.spec.schedule.as_ref();
        schedule.map_or(Overlap::Allow, |schedule| schedule.overlap)
    }

    /// Whether a run may be started now. One that did what it had to do still takes triggers.
    fn may_run(common: &Common) -> bool {
        common.memory.goal == Goal::Up
            && common.memory.hold == Hold::None
            && common.place == Place::Member
            && common.successor.is_none()
            && !is_given_up(common)
    }

    /// The run whose turn it is.
    fn next_to_start(&self, common: &Common) -> Option<usize> {
        if !Self::may_run(common) {
            return None;
        }
        let blocked = match Self::overlap(common) {
            Overlap::Allow => self.works.iter().filter(|work| work.is_live()).count() >= MAX_LIVE,
            Overlap::Skip | Overlap::Queue | Overlap::Replace => {
                let mut works = self.works.iter();
                works.any(|work| work.is_live() || matches!(work.stage, Stage::Retrying { .. }))
            }
        };
        if blocked {
            return None;
        }
        self.works.iter().position(Work::is_queued)
    }

    /// The gate is for one start only.
    fn tidy(&mut self, common: &Common) {
        if self.next_to_start(common).is_none() {
            self.gate = Gate::Shut;
        }
    }

    fn arm_if_wanted(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let wanted = common.belongs_up() && common.memory.armed_since.is_none();
        if !wanted || self.has_live() || common.successor.is_some() {
            return;
        }
        let now = cx.now.wall;
        common.memory.armed_since = Some(now);
        let schedule = common.spec.schedule.as_ref();
        let at_start = schedule.is_none_or(|schedule| schedule.run_on_start == RunOnStart::Yes);
        let asked_for = self
            .works
            .iter()
            .any(|work| work.run.trigger == Trigger::Start);
        if at_start && !asked_for {
            self.accept(common, cx, accept::Request::start());
        }
        common.save(cx);
        self.plan_from(common, cx, now);
    }

    fn plan_from(&mut self, common: &Common, cx: &Context<'_>, armed: Wall) {
        if let Some(schedule) = &common.spec.schedule {
            let settled = match common.memory.last_slot {
                // It was armed under a clock that was set back since.
                Some(last) if armed > cx.now.wall => last,
                Some(last) => last.max(armed),
                None => armed,
            };
            let plan = Plan::new(schedule.clone(), &common.name, settled, cx.now);
            self.plan = Some(plan);
        }
    }

    fn disarm(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.plan = None;
        if common.memory.armed_since.take().is_some() {
            common.save(cx);
        }
    }

    fn freeze_all(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let freeze = match common.memory.hold {
            Hold::Frozen => crate::event::Freeze::Yes,
            Hold::None | Hold::Paused => crate::event::Freeze::No,
        };
        for work in &mut self.works {
            if let Stage::Live(instance) = &mut work.stage {
                instance.freeze(cx, freeze);
            }
        }
    }

    /// Somebody calls a run off.
    pub(crate) fn cancel(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        ticket: Ticket,
        run: crate::RunId,
    ) -> Result<(), Refusal> {
        let found = self.works.iter().position(|work| work.id() == run);
        let Some(index) = found.filter(|index| !self.is_over(*index)) else {
            return Err(Refusal::NoSuchRun { run });
        };
        self.works[index].tickets.push(ticket);
        if let Stage::Live(instance) = &mut self.works[index].stage {
            let life = instance.stop(cx, Cause::Asked);
            self.live_on(common, cx, run, life);
        } else {
            self.call_off(common, cx, index, Cause::Asked);
        }
        self.tidy(common);
        Ok(())
    }
}

/// Whether it is not to be started before somebody says so.
fn is_given_up(common: &Common) -> bool {
    match &common.memory.latch {
        Some(Latch::GaveUp { .. } | Latch::Refused { .. }) => true,
        None | Some(Latch::Completed | Latch::NotRestarted { .. }) => false,
    }
}

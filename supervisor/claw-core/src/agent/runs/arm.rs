//! From when on slots are planned: since the goal is up, and with the schedule in force.

use crate::clock::Wall;
use crate::memory::StartRun;
use crate::run::Trigger;
use crate::spec::schedule::RunOnStart;

use super::super::context::Context;
use super::super::dossier::Common;
use super::plan::Plan;
use super::{Request, Runs};

/// What an agent without a schedule does when it is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtStart {
    /// It runs once.
    Runs,
    /// It waits for triggers.
    Waits,
}

impl<W> Runs<W> {
    pub(crate) fn follows_wall_clock(&self) -> bool {
        self.plan.as_ref().is_some_and(Plan::is_on_wall_clock)
    }

    /// The wall clock was set.
    pub(crate) fn clocks_changed(&mut self, common: &Common, cx: &Context<'_>) {
        if let Some(plan) = &mut self.plan {
            plan.clock_set(&common.name, cx.now);
        }
    }

    /// Begins to plan, and asks for the run at the start, if it belongs up and has not yet.
    pub(crate) fn arm_if_wanted(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        unscheduled: AtStart,
    ) {
        let wanted = common.belongs_up() && common.memory.armed_since.is_none();
        if !wanted || common.is_halted() || common.successor.is_some() {
            return;
        }
        let now = cx.now.wall;
        common.memory.armed_since = Some(now);
        let at_start = match (&common.spec.schedule, unscheduled) {
            (Some(schedule), _) => schedule.run_on_start == RunOnStart::Yes,
            (None, AtStart::Runs) => true,
            (None, AtStart::Waits) => false,
        };
        if at_start {
            self.accept_start(common, cx);
        }
        common.memory.start_run = match (&common.spec.schedule, unscheduled) {
            (None, AtStart::Waits) => StartRun::Undecided,
            (Some(_), _) | (None, AtStart::Runs) => StartRun::Settled,
        };
        common.save(cx);
        self.plan_from(common, cx, now);
    }

    /// Whether no slots are planned.
    pub(crate) const fn is_unscheduled(&self) -> bool {
        self.plan.is_none()
    }

    /// The schedule became known after the agent was armed: asks for the run at the start, if it
    /// has one.
    pub(crate) fn run_at_start(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let schedule = common.spec.schedule.as_ref();
        let at_start = schedule.is_some_and(|schedule| schedule.run_on_start == RunOnStart::Yes);
        if at_start && common.memory.armed_since.is_some() {
            self.accept_start(common, cx);
        }
        // After the run, so that a death in between loses neither.
        common.memory.start_run = StartRun::Settled;
        common.save(cx);
    }

    /// The supervisor before this one died when the program had said that it has a schedule, and
    /// may not have come to ask for the run at the start.
    pub(crate) fn run_at_interrupted_start(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let memory = &common.memory;
        let undecided = memory.start_run == StartRun::Undecided;
        if undecided && memory.came_up != memory.last_generation && !self.is_unscheduled() {
            self.run_at_start(common, cx);
        }
    }

    fn accept_start(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let mut works = self.works.iter();
        if !works.any(|work| work.run.trigger == Trigger::Start) {
            self.accept(common, cx, Request::start());
        }
    }

    /// Begins anew when it is armed next.
    pub(crate) fn begin_anew(&mut self, common: &mut Common) {
        common.memory.armed_since = None;
        self.plan = None;
    }

    /// Another spec is in force: slots follow it from now on.
    pub(crate) fn retune(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        // What is halted takes it over when it plans again.
        if common.memory.armed_since.is_none() || common.is_halted() {
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

    pub(super) fn plan_from(&mut self, common: &Common, cx: &Context<'_>, armed: Wall) {
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

    pub(super) fn disarm(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.plan = None;
        if common.memory.armed_since.take().is_some() {
            common.save(cx);
        }
    }
}

//! The live instances of a oneshot: how they begin, and what their reports change.

use std::sync::Arc;

use crate::action::Happened;
use crate::death::Cause;
use crate::event::Freeze;
use crate::id::{Generation, RunId};
use crate::memory::Hold;
use crate::order::{Hook, RunContext};
use crate::record::RecordId;
use crate::run::{Run, RunPhase};

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::instance::{Instance, Life, Report};
use super::work::{Stage, Then, Work};
use super::{Gate, Oneshot};

impl Oneshot {
    /// It is this agent's turn to start: the run whose turn it is begins.
    pub(crate) fn admit(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.gate = Gate::Shut;
        let Some(index) = self.next_to_start(common) else {
            return;
        };
        let id = common.next_instance();
        let work = &mut self.works[index];
        work.run.attempts = work.run.attempts.saturating_add(1);
        work.run.generation = Some(id.generation);
        let instance = Instance::begin(cx, id, common.plan(), Some(context_of(&work.run)));
        work.stage = Stage::Live(Box::new(instance));
    }

    /// The journal has answered a record of this agent.
    pub(crate) fn recorded(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        let known = self.finished_recorded(common, cx, id, result)
            || self.accepting_recorded(common, cx, id, result);
        if !known {
            self.for_each_live(common, cx, |instance, cx| instance.recorded(cx, id, result));
        }
        self.tidy(common);
    }

    /// A driver has reported. `Err`: not of an instance that lives here.
    pub(crate) fn report(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        generation: Generation,
        report: Report,
    ) -> Result<(), ()> {
        let of_life = |work: &&mut Work| match &work.stage {
            Stage::Live(instance) => instance.generation() == generation,
            Stage::PostStop {
                generation: own, ..
            } => *own == generation,
            Stage::Accepting(_) | Stage::Queued | Stage::Retrying { .. } => false,
        };
        let work = self.works.iter_mut().find(of_life).ok_or(())?;
        let run = work.id();
        match (&mut work.stage, report) {
            (Stage::Live(instance), report) => {
                let life = instance.report(cx, report);
                self.live_on(common, cx, run, life);
            }
            (Stage::PostStop { .. }, Report::HookDone(Hook::PostStop, _)) => {
                self.post_stop_over(common, cx, run);
            }
            (
                Stage::Accepting(_)
                | Stage::Queued
                | Stage::PostStop { .. }
                | Stage::Retrying { .. },
                _,
            ) => return Err(()),
        }
        self.arm_if_wanted(common, cx);
        self.tidy(common);
        Ok(())
    }

    /// Does something with each live instance; the list may shrink meanwhile.
    pub(super) fn for_each_live(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&mut Instance, &mut Context<'_>) -> Life,
    ) {
        let ids: Vec<RunId> = self.works.iter().map(Work::id).collect();
        for id in ids {
            let work = self.works.iter_mut().find(|work| work.id() == id);
            if let Some(Stage::Live(instance)) = work.map(|work| &mut work.stage) {
                let life = act(instance, cx);
                self.live_on(common, cx, id, life);
            }
        }
    }

    /// Ends every live instance, each with its grace.
    pub(super) fn stop_all(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: &Cause) {
        self.for_each_live(common, cx, |instance, cx| instance.stop(cx, cause.clone()));
    }

    /// After each change of a life: over, or started.
    pub(super) fn live_on(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: RunId,
        life: Life,
    ) {
        match life {
            Life::GoesOn => self.watch(common, cx, run),
            Life::Over(end) => self.over(common, cx, run, &end),
        }
    }

    /// Notes that the process of a run was started.
    fn watch(&mut self, common: &mut Common, cx: &mut Context<'_>, run: RunId) {
        let Some(work) = self.works.iter_mut().find(|work| work.id() == run) else {
            return;
        };
        let Stage::Live(instance) = &mut work.stage else {
            return;
        };
        if common.memory.hold == Hold::Frozen {
            instance.freeze(cx, Freeze::Yes);
        }
        let Some(since) = instance.live().started_at else {
            return;
        };
        let phase = RunPhase::Running { since };
        if work.run.phase == phase {
            return;
        }
        let limit = common.spec.schedule.as_ref();
        let limit = limit.and_then(|schedule| schedule.timeout);
        instance.limit(limit.map(|limit| cx.after(limit)));
        work.started.get_or_insert(since);
        work.run.phase = phase;
        changed(common, cx, &work.run);
    }

    pub(super) fn tick_post_stop(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let now = cx.mono();
        let overdue = |work: &Work| match &work.stage {
            Stage::PostStop { give_up, .. } => *give_up <= now,
            Stage::Accepting(_) | Stage::Queued | Stage::Live(_) | Stage::Retrying { .. } => false,
        };
        while let Some(run) = self.works.iter().find(|work| overdue(work)).map(Work::id) {
            self.post_stop_over(common, cx, run);
        }
    }

    fn post_stop_over(&mut self, common: &mut Common, cx: &mut Context<'_>, run: RunId) {
        let Some(index) = self.works.iter().position(|work| work.id() == run) else {
            return;
        };
        let Stage::PostStop {
            generation, then, ..
        } = &self.works[index].stage
        else {
            return;
        };
        let (generation, then) = (*generation, *then);
        common.post_stop_over(cx, generation);
        match then {
            Then::Retry { next } => self.works[index].stage = Stage::Retrying { next },
            Then::Finish => {
                self.works.remove(index);
            }
        }
    }
}

/// Writes down and announces a run that goes on.
pub(super) fn changed(common: &mut Common, cx: &mut Context<'_>, run: &Run) {
    common.books.run(cx, run);
    let happened = Happened::RunChanged {
        run: Arc::new(run.clone()),
    };
    cx.announce(&common.name, happened);
}

/// What the process of a run is told about it.
pub(super) fn context_of(run: &Run) -> RunContext {
    RunContext {
        run: run.id,
        trigger: run.trigger.clone(),
        attempt: run.attempts,
        payload: run.payload.as_deref().map(Arc::from),
    }
}

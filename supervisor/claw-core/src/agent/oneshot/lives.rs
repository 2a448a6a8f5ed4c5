//! The live instances of a oneshot: how they begin, and what their reports change.

use crate::death::Cause;
use crate::event::Freeze;
use crate::id::{Generation, RunId};
use crate::order::Hook;
use crate::record::RecordId;
use crate::run::RunPhase;

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::halting::Course;
use super::super::instance::{Instance, Life, Report};
use super::super::runs::{Heard, changed};
use super::process::{Process, Stage, Then, Work, live_of, post_stop_of};
use super::{Gate, Oneshot};

impl Oneshot {
    /// It is this agent's turn to start: the run whose turn it is begins.
    pub(crate) fn admit(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.gate = Gate::Shut;
        let Some(index) = self.next_to_start(common) else {
            return;
        };
        common.outage = None;
        let id = common.next_instance();
        let work = &mut self.runs.works[index];
        work.run.attempts = work.run.attempts.saturating_add(1);
        work.run.generation = Some(id.generation);
        work.run.image = None;
        let instance = Instance::begin(cx, id, common.plan(), Some(work.context()));
        work.stage = Stage::AtWork(Process::Live(Box::new(instance)));
    }

    /// The journal has answered a record of this agent.
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
                self.for_each_live(common, cx, |_, instance, cx| {
                    instance.recorded(cx, id, result)
                });
            }
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
        let of_life = |work: &&mut Work| {
            let process = work.at_work();
            process.is_some_and(|process| process.generation() == generation)
        };
        let work = self.runs.works.iter_mut().find(of_life).ok_or(())?;
        let run = work.id();
        match (live_of(work), report) {
            (Some(instance), report) => {
                let life = instance.report(cx, report);
                self.live_on(common, cx, run, life);
            }
            (None, Report::HookDone(Hook::PostStop, _)) => {
                self.post_stop_over(common, cx, run);
            }
            (None, _) => return Err(()),
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
        mut act: impl FnMut(&Common, &mut Instance, &mut Context<'_>) -> Life,
    ) {
        let ids: Vec<RunId> = self.runs.works.iter().map(Work::id).collect();
        for id in ids {
            let work = self.runs.works.iter_mut().find(|work| work.id() == id);
            if let Some(instance) = work.and_then(live_of) {
                let life = act(common, instance, cx);
                self.live_on(common, cx, id, life);
            }
        }
    }

    /// Ends every live instance, each with its grace.
    pub(super) fn stop_all(&mut self, common: &mut Common, cx: &mut Context<'_>, cause: &Cause) {
        self.for_each_live(common, cx, |common, instance, cx| {
            common.end(cx, instance, cause.clone())
        });
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
        let Some(work) = self.runs.works.iter_mut().find(|work| work.id() == run) else {
            return;
        };
        let Stage::AtWork(Process::Live(instance)) = &mut work.stage else {
            return;
        };
        if common.course() == Course::Frozen {
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
        work.run.image = instance.image().cloned();
        changed(common, cx, &work.run);
    }

    pub(super) fn tick_post_stop(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let now = cx.mono();
        let overdue = |work: &&Work| {
            let post_stop = post_stop_of(work);
            post_stop.is_some_and(|(_, give_up, _)| give_up <= now)
        };
        while let Some(run) = self.runs.works.iter().find(overdue).map(Work::id) {
            self.post_stop_over(common, cx, run);
        }
    }

    fn post_stop_over(&mut self, common: &mut Common, cx: &mut Context<'_>, run: RunId) {
        let Some(index) = self.runs.position(run) else {
            return;
        };
        let Some((generation, _, then)) = post_stop_of(&self.runs.works[index]) else {
            return;
        };
        common.post_stop_over(cx, generation);
        match then {
            Then::Retry { next } => self.runs.works[index].stage = Stage::Retrying { next },
            Then::Finish => {
                self.runs.works.remove(index);
            }
        }
    }
}

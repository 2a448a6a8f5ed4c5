//! The runs and the instance of an earlier supervisor, taken over.
//!
//! A run that was in the hands of an instance that still lives waits for it to say whether it
//! still works on it; the hands of one that is gone have dropped it.

use std::sync::Arc;

use crate::id::Generation;
use crate::memory::Recovered;
use crate::run::{Run, RunPhase, WorkOutcome};

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::instance::Instance;
use super::super::restore::{self, Found, end_of};
use super::super::runs::Attempt;
use super::delivery::Delivery;
use super::finish::{ended, interrupted, lost};
use super::{Resumption, Stage, Worker};

impl Worker {
    /// Takes over runs, with what was reported of them, and the newest instance; `instances` is left
    /// with the others.
    pub(crate) fn take_over(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        runs: Vec<(Arc<Run>, Option<WorkOutcome>)>,
        instances: &mut Vec<Found>,
    ) {
        let lives: Vec<(Generation, Recovered)> = instances
            .iter()
            .map(|(generation, _, found)| (*generation, found.clone()))
            .collect();
        restore::take_over(&mut self.life, common, cx, instances);
        if let Some(instance) = self.life.instance() {
            self.resumption = Resumption::Awaited(instance.generation());
        }
        for (run, reported) in runs {
            match reported.and_then(|outcome| ended(&outcome, None)) {
                Some(attempt) => self.take_over_reported(common, cx, &run, attempt),
                None => self.take_over_run(common, cx, &run, &lives),
            }
        }
        self.runs.replan(common, cx);
        self.runs.run_at_interrupted_start(common, cx);
    }

    /// The agent had said how it ended, and the supervisor before this one could not write that
    /// down.
    fn take_over_reported(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: &Run,
        attempt: Attempt,
    ) {
        if let Some(index) = self.runs.take_over(common, cx, run) {
            self.runs.conclude(common, cx, index, attempt);
        }
    }

    fn take_over_run(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        run: &Run,
        lives: &[(Generation, Recovered)],
    ) {
        let index = self.runs.take_over(common, cx, run);
        let (Some(index), RunPhase::Running { since }) = (index, &run.phase) else {
            return;
        };
        let adopted = self.life.instance().map(Instance::generation);
        if adopted.is_some() && adopted == run.generation {
            let schedule = common.spec.schedule.as_ref();
            let limit = schedule.and_then(|schedule| schedule.timeout);
            let limit = limit.map(|limit| {
                let until = since.checked_add(limit).unwrap_or(crate::Wall::MAX);
                cx.now.mono_at(until)
            });
            let delivery = Delivery::resuming(limit, cx.mono());
            self.runs.works[index].stage = Stage::AtWork(delivery);
            return;
        }
        let of_run = |(generation, _): &&(Generation, _)| run.generation == Some(*generation);
        let attempt = match lives.iter().find(of_run) {
            Some((_, found)) => interrupted(common, &end_of(common, found.clone())),
            None => lost(),
        };
        self.runs.conclude(common, cx, index, attempt);
    }
}

//! The runs of an earlier supervisor, taken over.
//!
//! Running ones go on with their adopted instance, or end as their report says, or are interrupted
//! and follow their retry rule.

use std::sync::Arc;

use crate::clock::Wall;
use crate::death::Cause;
use crate::event::Freeze;
use crate::id::Generation;
use crate::memory::Recovered;
use crate::run::{Run, RunPhase};

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::end::{End, EndKind};
use super::super::halting::Course;
use super::super::instance::{Adopted, HadComeUp, Instance};
use super::super::restore::{Found, end_of};
use super::Oneshot;
use super::process::{Process, Stage};

impl Oneshot {
    /// Takes over runs and instances; `instances` is left with those of no unfinished run.
    pub(crate) fn take_over(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        runs: Vec<Arc<Run>>,
        instances: &mut Vec<Found>,
    ) {
        for run in runs {
            let of_run = |(_, found, _): &Found| *found == Some(run.id);
            let mut own: Vec<Found> = instances.extract_if(.., |found| of_run(found)).collect();
            own.sort_by_key(|(generation, ..)| *generation);
            // Attempts that were begun, and their numbers not yet written down.
            let unwritten = |(generation, _, found): &Found| {
                Some(*generation) > run.generation && *found != Recovered::NeverStarted
            };
            let newest = own.iter().rposition(unwritten);
            let newest = newest.or_else(|| own.len().checked_sub(1));
            let last = newest.map(|newest| own.remove(newest));
            let earlier = own.iter().filter(|found| unwritten(found)).count();
            instances.extend(own);
            let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
            self.take_over_run(common, cx, (&run, earlier), last);
        }
        self.runs.replan(common, cx);
    }

    fn take_over_run(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        (run, earlier): (&Run, u32),
        last: Option<Found>,
    ) {
        let Some(index) = self.runs.take_over(common, cx, run) else {
            return;
        };
        let work = &mut self.runs.works[index];
        work.run.attempts = work.run.attempts.saturating_add(earlier);
        work.failures = work.failures.saturating_add(earlier);
        let retrying = matches!(run.phase, RunPhase::Retrying { .. });
        match last {
            Some((generation, _, found)) if retrying && run.generation == Some(generation) => {
                common.bury(cx, generation, &end_of(common, found));
            }
            Some((generation, _, found)) => {
                self.take_over_life(common, cx, index, (generation, found));
            }
            None if matches!(run.phase, RunPhase::Running { .. }) => {
                let end = End::own(Cause::Lost, None);
                self.conclude(common, cx, index, &end);
            }
            None => {}
        }
    }

    fn take_over_life(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        life: (Generation, Recovered),
    ) {
        let (generation, found) = life;
        let work = &mut self.runs.works[index];
        if work.run.generation != Some(generation) {
            // The attempt was begun, and its number not yet written down.
            work.run.attempts = work.run.attempts.saturating_add(1);
            work.run.generation = Some(generation);
            work.run.image = None;
        }
        if let Recovered::Alive { pid, at, image } = found {
            let frozen = common.course() == Course::Frozen;
            let adopted = Adopted {
                pid,
                at,
                image,
                frozen: if frozen { Freeze::Yes } else { Freeze::No },
            };
            self.adopt(common, cx, index, adopted);
            return;
        }
        let end = end_of(common, found);
        if end.kind == EndKind::Unrecorded {
            work.run.attempts = work.run.attempts.saturating_sub(1);
            work.stage = Stage::Queued;
        } else {
            self.conclude(common, cx, index, &end);
        }
        common.bury(cx, generation, &end);
    }

    fn adopt(&mut self, common: &Common, cx: &mut Context<'_>, index: usize, adopted: Adopted) {
        let work = &mut self.runs.works[index];
        let Some(generation) = work.run.generation else {
            return;
        };
        let at = adopted.at;
        let id = common.instance(generation);
        let spec = Arc::clone(&common.spec);
        let context = Some(work.context());
        let mut instance = Instance::adopt(cx, id, spec, context, adopted);
        instance.adopt_health(cx, HadComeUp::Yes);
        let limit = common.spec.schedule.as_ref();
        let limit = limit.and_then(|schedule| schedule.timeout);
        instance.limit(limit.map(|limit| {
            let until = at.checked_add(limit).unwrap_or(Wall::MAX);
            cx.now.mono_at(until)
        }));
        work.started.get_or_insert(at);
        work.run.phase = RunPhase::Running { since: at };
        work.run.image = instance.image().cloned();
        work.stage = Stage::AtWork(Process::Live(Box::new(instance)));
    }
}

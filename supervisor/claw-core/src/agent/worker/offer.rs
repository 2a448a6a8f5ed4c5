//! How a run comes into the hands of the instance.
//!
//! The attempt is written down first, and delivered when the journal has it: whatever dies in
//! between, no attempt is ever delivered twice.

use std::sync::Arc;

use crate::action::Happened;
use crate::death::Cause;
use crate::order::Order;
use crate::record::RecordId;
use crate::run::RunPhase;
use crate::spec::Overlap;

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::instance::{Instance, journal_error};
use super::super::runs::{Attempt, changed, may_run, overlap};
use super::delivery::Delivery;
use super::{Stage, Work, Worker};

impl Worker {
    /// Writes down an attempt of each run whose turn it is.
    pub(super) fn offer_next(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        while let Some(index) = self.next_to_offer(common) {
            let instance = self.life.instance();
            let generation = instance.map(Instance::generation);
            let image = instance.and_then(Instance::image).cloned();
            let work = &mut self.runs.works[index];
            work.run.attempts = work.run.attempts.saturating_add(1);
            work.run.generation = generation;
            work.run.image = image;
            work.run.phase = RunPhase::Running { since: cx.now.wall };
            let record = common.books.run(cx, &work.run);
            work.stage = Stage::AtWork(Delivery::recording(record, cx.mono()));
        }
    }

    /// The journal has answered. Says whether the record was one of an attempt.
    pub(super) fn offer_recorded(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) -> bool {
        let waits = |work: &Work| {
            let delivery = work.at_work();
            delivery.is_some_and(|delivery| delivery.waits_for(id))
        };
        let Some(index) = self.runs.works.iter().position(waits) else {
            return false;
        };
        match result {
            Ok(()) => self.deliver(common, cx, index),
            Err(reason) => self.put_off(common, cx, index, reason),
        }
        true
    }

    /// The journal did not take an attempt: nobody was told of it, and it is made later.
    pub(super) fn put_off(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        reason: &str,
    ) {
        let error = journal_error(reason);
        let attempt = Attempt::NotBegun(Cause::Spawn { error });
        self.runs.conclude(common, cx, index, attempt);
    }

    /// An attempt that nobody was told of is not made; the run waits for its turn again.
    pub(super) fn take_back(&mut self, common: &mut Common, cx: &mut Context<'_>, index: usize) {
        let work = &mut self.runs.works[index];
        work.run.attempts = work.run.attempts.saturating_sub(1);
        work.run.phase = RunPhase::Queued;
        work.stage = Stage::Queued;
        changed(common, cx, &work.run);
    }

    /// Attempts that were only written down so far are not made when the instance must not be
    /// given work any more.
    pub(super) fn take_back_undeliverable(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if self.may_deliver(common) {
            return;
        }
        let undelivered = |work: &Work| {
            let delivery = work.at_work();
            delivery.is_some_and(|delivery| !delivery.is_delivered())
        };
        while let Some(index) = self.runs.works.iter().position(undelivered) {
            self.take_back(common, cx, index);
        }
    }

    fn deliver(&mut self, common: &Common, cx: &mut Context<'_>, index: usize) {
        let Some(instance) = self.life.instance() else {
            return;
        };
        let schedule = common.spec.schedule.as_ref();
        let limit = schedule.and_then(|schedule| schedule.timeout);
        let limit = limit.map(|limit| cx.after(limit));
        let work = &mut self.runs.works[index];
        let Stage::AtWork(delivery) = &mut work.stage else {
            return;
        };
        delivery.work(limit);
        work.started.get_or_insert(cx.now.wall);
        cx.order(Order::Deliver {
            instance: instance.id().clone(),
            run: work.context(),
            deadline: limit.map(|limit| cx.now.wall_at(limit)),
        });
        let run = Arc::new(work.run.clone());
        cx.announce(&common.name, Happened::RunChanged { run });
    }

    /// Whether the instance may be given a run now.
    fn may_deliver(&self, common: &Common) -> bool {
        may_run(common) && self.life.instance().is_some_and(Instance::is_ready)
    }

    fn next_to_offer(&self, common: &Common) -> Option<usize> {
        if !self.may_deliver(common) {
            return None;
        }
        let blocked = match overlap(common) {
            Overlap::Allow => {
                let most = usize::try_from(common.spec.concurrency.get()).unwrap_or(usize::MAX);
                self.runs.at_work().count() >= most
            }
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
}

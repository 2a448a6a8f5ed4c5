//! The runs of an agent: asked for, planned, accepted, tried again, written down.
//!
//! ```text
//!   slot, trigger, start ──► Accepting ──recorded──► Queued ──► AtWork ──► finished
//!                                                      ▲           │
//!                                                      └─ Retrying ┘
//! ```
//!
//! Runs stand in the order in which they were accepted. What it is to be at work is for the
//! owner to say, a oneshot or a worker: it takes a queued run and brings back how that went.

mod accept;
mod arm;
mod conclude;
mod plan;
mod restore;
mod settle;
mod work;

use crate::clock::{Gap, Wall};
use crate::deadline::{Deadline, earlier};
use crate::death::Cause;
use crate::id::RunId;
use crate::memory::{Goal, Latch};
use crate::refusal::Refusal;
use crate::slots;
use crate::spec::{Mode, Overlap};
use crate::status::RunSummary;

use super::context::Context;
use super::dossier::{Common, Place};
use super::waiters::Dismiss;

pub(crate) use accept::{Heard, Request};
pub(crate) use arm::AtStart;
pub(crate) use conclude::{Attempt, Followed, changed};
use plan::Plan;
pub(crate) use work::{AtWork, Finished, Stage, Work};

/// The unfinished runs of an agent, and when new ones are due.
#[derive(Debug)]
pub(crate) struct Runs<W> {
    pub works: Vec<Work<W>>,
    pub finished: Vec<Finished>,
    plan: Option<Plan>,
    last_end: Option<Wall>,
}

impl<W> Runs<W> {
    pub(crate) const fn new() -> Self {
        Self {
            works: Vec::new(),
            finished: Vec::new(),
            plan: None,
            last_end: None,
        }
    }

    pub(crate) fn position(&self, run: RunId) -> Option<usize> {
        self.works.iter().position(|work| work.id() == run)
    }

    /// Those that are at work.
    pub(crate) fn at_work(&self) -> impl Iterator<Item = &W> {
        self.works.iter().filter_map(Work::at_work)
    }

    pub(crate) fn has_at_work(&self) -> bool {
        self.works.iter().any(Work::is_at_work)
    }

    /// Whether somebody waits for the journal to know of a run.
    pub(crate) fn is_awaited(&self) -> bool {
        let asked = |work: &Work<W>| {
            let accepting = work.accepting();
            accepting.is_some_and(|accepting| accepting.asker.is_some())
        };
        self.finished.iter().any(|run| !run.tickets.is_empty()) || self.works.iter().any(asked)
    }

    /// Runs in short, without the counters of memory.
    pub(crate) fn summary(&self, common: &Common, now: crate::clock::Now) -> RunSummary {
        let count = |of: fn(&Work<W>) -> bool| {
            let counted = self.works.iter().filter(|work| of(work)).count();
            u32::try_from(counted).unwrap_or(u32::MAX)
        };
        RunSummary {
            active: count(Work::is_at_work),
            queued: count(Work::is_waiting),
            last: self.last_end,
            next: self.plan.as_ref().and_then(|plan| plan.next(now)),
            held_slots: held_slots(common, now),
            ..RunSummary::default()
        }
    }

    /// Brings what waits after goal and place.
    pub(crate) fn follow(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        if common.place != Place::Member || common.is_halted() {
            // Slots that fall due from now on are for the next supervisor, or for the end of the
            // halt.
            self.plan = None;
        }
        if common.memory.goal == Goal::Down || common.place == Place::Leaving {
            self.disarm(common, cx);
            self.cancel_waiting(common, cx, &Cause::Asked);
        }
    }

    /// Delayed attempts are made now.
    pub(crate) fn hurry(&mut self) {
        for work in self.works.iter_mut().filter(|work| work.is_retrying()) {
            work.stage = Stage::Queued;
        }
    }

    /// Does what is due, but for what is at work.
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
    }

    /// The supervisor was away.
    pub(crate) fn shift(&mut self, gap: Gap) {
        for work in &mut self.works {
            if let Stage::Accepting(accepting) = &mut work.stage {
                accepting.until = accepting.until + gap.late;
            }
        }
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

    /// A machine of another kind takes over: what waits is called off.
    pub(crate) fn dissolve(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        self.disarm(common, cx);
        self.cancel_waiting(common, cx, &Cause::Reconfigured);
        for finished in std::mem::take(&mut self.finished) {
            Self::announce_finished(common, cx, finished);
        }
    }
}

impl<W: AtWork> Runs<W> {
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let works = self.works.iter().filter_map(Work::deadline).min();
        let finished = self.finished.iter().map(Finished::deadline).min();
        let slot = self.plan.as_ref().and_then(Plan::deadline);
        earlier(earlier(works, finished), slot)
    }
}

/// How many slots have fallen due since it was halted.
fn held_slots(common: &Common, now: crate::clock::Now) -> u64 {
    let memory = &common.memory;
    let armed = memory.armed_since.filter(|_| common.is_halted());
    let (Some(schedule), Some(armed)) = (&common.spec.schedule, armed) else {
        return 0;
    };
    let settled = memory.last_slot.map_or(armed, |last| last.max(armed));
    slots::passed(schedule, settled, now.wall)
}

/// What a new run does beside others.
pub(crate) fn overlap(common: &Common) -> Overlap {
    let schedule = common.spec.schedule.as_ref();
    schedule.map_or(Overlap::Allow, |schedule| schedule.overlap)
}

/// Whether a run may be started now, as far as the agent as a whole is concerned. A oneshot that
/// did what it had to do still takes triggers.
pub(crate) fn may_run(common: &Common) -> bool {
    common.memory.goal == Goal::Up
        && common.memory.hold == crate::memory::Hold::None
        && !common.is_halted()
        && common.place == Place::Member
        && common.successor.is_none()
        && !is_given_up(common)
}

/// Whether it is not to be started before somebody says so. A oneshot whose one run is over has
/// nothing against another; a worker whose process is not started again has nobody to do one.
pub(crate) fn is_given_up(common: &Common) -> bool {
    match (&common.memory.latch, common.spec.mode) {
        (None, _) => false,
        (Some(Latch::GaveUp { .. } | Latch::Refused { .. }), _) => true,
        (Some(Latch::Completed | Latch::NotRestarted { .. }), Mode::Worker) => true,
        (Some(Latch::Completed | Latch::NotRestarted { .. }), Mode::Daemon | Mode::Oneshot) => {
            false
        }
    }
}

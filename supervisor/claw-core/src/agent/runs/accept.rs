//! New runs: who asks, whether they are accepted, and the wait for the journal.
//!
//! A run counts as accepted, and is answered and started, only when the journal has it.

use std::sync::Arc;
use std::time::Duration;

use crate::action::{Answer, Happened, SlotFate};
use crate::clock::Wall;
use crate::death::Cause;
use crate::id::{RunId, Ticket};
use crate::record::{Record, RecordId};
use crate::refusal::Refusal;
use crate::run::{Run, RunPhase, Trigger};
use crate::spec::Overlap;

use super::super::context::Context;
use super::super::dossier::Common;
use super::super::waiters::JOURNAL_WAIT;
use super::work::Accepting;
use super::{Runs, Stage, Work, overlap};

/// The most runs that may wait for one agent. More would be hours of work nobody looks after.
const MAX_QUEUED: usize = 100;

/// A run that nobody waits for is not lost to a database that is locked for a while.
const UNASKED_WAIT: Duration = Duration::from_secs(60);

/// What asks for a run.
#[derive(Debug)]
pub(crate) struct Request {
    trigger: Trigger,
    payload: Option<String>,
    asker: Option<Ticket>,
    slot: Option<(Wall, SlotFate)>,
    /// The id that the run is to have.
    id: Option<RunId>,
}

impl Request {
    /// Somebody calls `trigger` and waits.
    pub(crate) const fn manual(ticket: Ticket, payload: Option<String>, id: Option<RunId>) -> Self {
        Self {
            id,
            trigger: Trigger::Manual,
            payload,
            asker: Some(ticket),
            slot: None,
        }
    }

    pub(super) const fn start() -> Self {
        Self {
            trigger: Trigger::Start,
            payload: None,
            id: None,
            asker: None,
            slot: None,
        }
    }

    pub(super) const fn slot(slot: Wall, fate: SlotFate) -> Self {
        Self {
            trigger: Trigger::Schedule { slot },
            payload: None,
            id: None,
            asker: None,
            slot: Some((slot, fate)),
        }
    }
}

/// What an answer of the journal was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing of these runs.
    NotOurs,
    /// One of these runs, and all is done about it.
    Done,
    /// A run is accepted now.
    Accepted(RunId),
}

impl<W> Runs<W> {
    /// Whether the overlap rule and the bound of the queue let one more in.
    pub(crate) fn has_room(&self, common: &Common) -> Result<(), Refusal> {
        let agent = common.name.clone();
        let busy = self.works.iter().map(Work::id).next();
        if let (Overlap::Skip, Some(run)) = (overlap(common), busy) {
            return Err(Refusal::Busy { agent, run });
        }
        let queued = self.works.iter().filter(|work| work.is_waiting()).count();
        if queued >= MAX_QUEUED {
            let queued = u32::try_from(queued).unwrap_or(u32::MAX);
            return Err(Refusal::QueueFull { agent, queued });
        }
        Ok(())
    }

    /// Writes down a run; it goes on when the journal has it.
    pub(crate) fn accept(&mut self, common: &Common, cx: &mut Context<'_>, request: Request) {
        let run = Run {
            id: request.id.unwrap_or_else(|| cx.run_id()),
            agent: common.name.clone(),
            trigger: request.trigger,
            payload: request.payload,
            queued_at: cx.now.wall,
            phase: RunPhase::Queued,
            attempts: 0,
            generation: None,
            image: None,
            log: None,
        };
        let mut waits: Vec<RecordId> = Vec::with_capacity(2);
        if let Some((planned, fate)) = request.slot {
            let record = Record::Slot {
                agent: common.name.clone(),
                planned,
                fate,
                run: Some(run.id),
            };
            waits.push(cx.record_for(&common.name, record));
        }
        let record = Record::Run(Box::new(run.clone()));
        waits.push(cx.record_for(&common.name, record));
        let patience = match request.asker {
            Some(_) => JOURNAL_WAIT,
            None => UNASKED_WAIT,
        };
        let accepting = Accepting {
            waits,
            asker: request.asker,
            until: cx.after(patience),
            slot: request.slot,
        };
        let work = Work::new(run, Stage::Accepting(accepting));
        self.works.push(work);
    }

    /// The journal has answered a record of this agent.
    pub(crate) fn recorded(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) -> Heard {
        if self.finished_recorded(common, cx, id, result) {
            return Heard::Done;
        }
        let waits = |work: &Work<W>| {
            let accepting = work.accepting();
            accepting.is_some_and(|accepting| accepting.waits.contains(&id))
        };
        let Some(index) = self.works.iter().position(waits) else {
            return Heard::NotOurs;
        };
        match result {
            Ok(()) => self.acknowledged(common, cx, index, id),
            Err(reason) => {
                self.not_accepted(common, cx, index, reason);
                Heard::Done
            }
        }
    }

    /// Those that were accepted before this one, and that a rule `replace` ends for it.
    pub(crate) fn replaced_by(&self, common: &Common, newest: RunId) -> Vec<RunId> {
        match overlap(common) {
            Overlap::Replace => {
                let ids = self.works.iter().map(Work::id);
                ids.take_while(|id| *id != newest).collect()
            }
            Overlap::Skip | Overlap::Queue | Overlap::Allow => Vec::new(),
        }
    }

    /// Runs that the journal lets wait too long are called off, and their askers are told.
    pub(super) fn tick_accepting(&mut self, common: &mut Common, cx: &mut Context<'_>) {
        let now = cx.mono();
        let late = |work: &Work<W>| {
            let accepting = work.accepting();
            accepting.is_some_and(|accepting| accepting.until <= now)
        };
        while let Some(index) = self.works.iter().position(late) {
            self.not_accepted(common, cx, index, "it has not answered in time");
        }
    }

    fn acknowledged(
        &mut self,
        common: &Common,
        cx: &mut Context<'_>,
        index: usize,
        id: RecordId,
    ) -> Heard {
        let work = &mut self.works[index];
        let Stage::Accepting(accepting) = &mut work.stage else {
            return Heard::NotOurs;
        };
        accepting.waits.retain(|waits| *waits != id);
        if !accepting.waits.is_empty() {
            return Heard::Done;
        }
        let asker = accepting.asker.take();
        let slot = accepting.slot.take();
        work.stage = Stage::Queued;
        let (run, id) = (work.run.clone(), work.id());
        if let Some((slot, fate)) = slot {
            announce_slot(common, cx, slot, (fate, Some(id)));
        }
        let happened = Happened::RunChanged {
            run: Arc::new(run.clone()),
        };
        cx.announce(&common.name, happened);
        if let Some(ticket) = asker {
            cx.reply(ticket, Ok(Answer::Run(Box::new(run))));
        }
        Heard::Accepted(id)
    }

    /// What was not written down is not promised: it is called off, in case it was after all.
    fn not_accepted(
        &mut self,
        common: &mut Common,
        cx: &mut Context<'_>,
        index: usize,
        reason: &str,
    ) {
        let Stage::Accepting(accepting) = &mut self.works[index].stage else {
            return;
        };
        let asker = accepting.asker.take();
        let slot = accepting.slot.take();
        if let Some(ticket) = asker {
            let reason = reason.to_owned();
            cx.reply(ticket, Err(Refusal::JournalUnavailable { reason }));
        }
        if let Some((slot, _)) = slot {
            settle_slot(common, cx, slot, SlotFate::Missed);
        }
        self.call_off(common, cx, index, Cause::Asked);
    }
}

/// Gives a slot its terminal record without a run, and tells the world.
pub(super) fn settle_slot(common: &mut Common, cx: &mut Context<'_>, slot: Wall, fate: SlotFate) {
    common.books.slot(cx, &common.name, (slot, fate, None));
    announce_slot(common, cx, slot, (fate, None));
}

fn announce_slot(
    common: &Common,
    cx: &mut Context<'_>,
    slot: Wall,
    outcome: (SlotFate, Option<RunId>),
) {
    let (fate, run) = outcome;
    cx.announce(&common.name, Happened::SlotSettled { slot, fate, run });
}

/// How long a finished run waits for the journal before it is announced all the same.
pub(super) const ANNOUNCE_WAIT: Duration = JOURNAL_WAIT;

//! Who waits for an agent: tickets of commands, each answered exactly once.

use std::time::Duration;

use crate::action::Answer;
use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::id::{Generation, Ticket};
use crate::memory::Goal;
use crate::record::RecordId;
use crate::refusal::Refusal;

use super::Agent;
use super::context::Context;
use super::daemon::successor_settled;
use super::dossier::{Common, Rest};
use super::machine::Machine;

/// How long a person waits for the journal before being told that it does not answer.
pub(crate) const JOURNAL_WAIT: Duration = Duration::from_secs(5);

/// The most who may wait for one agent; the oldest gives way. A waiter is an open request, and
/// whoever sends hundreds of them to one agent does not read the answers.
const MAX_WAITERS: usize = 256;

/// Those who wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<Waiter>);

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    wish: Wish,
    /// The record that must be acknowledged before the answer, and by when.
    record: Option<(RecordId, Mono)>,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The goal is up; it was this before.
    Start { was: Goal },
    /// Nothing of it runs any more.
    Stop,
    /// A life after this one has begun.
    Restart { after: Generation },
    /// The hold has changed.
    Hold,
    /// It is halted.
    Halt,
    /// It is halted no more.
    Lift,
}

impl Wish {
    /// Whether a newer wish makes this one pointless.
    const fn yields_to(self, newer: Self) -> bool {
        match (self, newer) {
            (Self::Stop, Self::Start { .. } | Self::Restart { .. })
            | (Self::Start { .. } | Self::Restart { .. }, Self::Stop) => true,
            (Self::Stop, Self::Stop | Self::Hold | Self::Halt | Self::Lift)
            | (Self::Hold | Self::Halt | Self::Lift, _)
            | (
                Self::Start { .. } | Self::Restart { .. },
                Self::Start { .. } | Self::Restart { .. } | Self::Hold | Self::Halt | Self::Lift,
            ) => false,
        }
    }
}

impl Waiters {
    pub(crate) fn knows(&self, id: RecordId) -> bool {
        self.0.iter().any(|waiter| waiter.waits_for(id))
    }

    pub(crate) fn shift(&mut self, gap: Duration) {
        for (_, until) in self
            .0
            .iter_mut()
            .filter_map(|waiter| waiter.record.as_mut())
        {
            *until = *until + gap;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let due = self.0.iter().filter_map(|waiter| waiter.record);
        due.map(|(_, until)| (until, Why::Journal)).min()
    }
}

impl Waiter {
    fn waits_for(&self, id: RecordId) -> bool {
        self.record.is_some_and(|(record, _)| record == id)
    }
}

impl Agent {
    /// Somebody waits from now on; those whose wish is overridden are told so.
    pub(super) fn wait(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        wish: Wish,
        record: Option<RecordId>,
    ) {
        let agent = self.common.name.clone();
        let superseded = self
            .waiters
            .0
            .extract_if(.., |waiter| waiter.wish.yields_to(wish));
        for waiter in superseded {
            let agent = agent.clone();
            cx.reply(waiter.ticket, Err(Refusal::Superseded { agent }));
        }
        if self.waiters.0.len() >= MAX_WAITERS {
            let oldest = self.waiters.0.remove(0);
            cx.reply(oldest.ticket, Err(Refusal::Superseded { agent }));
        }
        let until = cx.after(JOURNAL_WAIT);
        self.waiters.0.push(Waiter {
            ticket,
            wish,
            record: record.map(|record| (record, until)),
        });
    }

    /// The journal has answered a goal or a hold.
    pub(super) fn waiter_recorded(
        &mut self,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        match result {
            Ok(()) => {
                let waiting = self.waiters.0.iter_mut();
                for waiter in waiting.filter(|waiter| waiter.waits_for(id)) {
                    waiter.record = None;
                }
            }
            Err(reason) => {
                let failed = self.waiters.0.extract_if(.., |waiter| waiter.waits_for(id));
                let failed: Vec<Waiter> = failed.collect();
                self.disappoint(cx, failed, reason);
            }
        }
    }

    /// Those whom the journal lets wait too long are told.
    pub(super) fn tick_waiters(&mut self, cx: &mut Context<'_>) {
        let now = cx.mono();
        let overdue = |waiter: &mut Waiter| waiter.record.is_some_and(|(_, until)| until <= now);
        let late: Vec<Waiter> = self.waiters.0.extract_if(.., overdue).collect();
        self.disappoint(cx, late, "it has not answered in time");
    }

    /// Answers all whose wish has come true.
    pub(super) fn answer_waiters(&mut self, cx: &mut Context<'_>) {
        if self.waiters.0.is_empty() {
            return;
        }
        let at_rest = self.is_at_rest() && self.common.rest == Rest::Gone;
        let (machine, common) = (&self.machine, &self.common);
        let granted = |waiter: &mut Waiter| {
            waiter.record.is_none()
                && match waiter.wish {
                    Wish::Start { .. } | Wish::Hold | Wish::Halt | Wish::Lift => true,
                    Wish::Stop => at_rest,
                    Wish::Restart { after } => has_restarted(machine, common, after),
                }
        };
        let granted: Vec<Waiter> = self.waiters.0.extract_if(.., granted).collect();
        for waiter in granted {
            let status = Box::new(self.status(cx.now));
            cx.reply(waiter.ticket, Ok(Answer::Status(status)));
        }
    }

    /// Tells all who wait that nothing comes any more.
    pub(crate) fn dismiss(&mut self, cx: &mut Context<'_>, whom: Dismiss) {
        self.machine.dismiss(cx, whom);
        let leaves = |waiter: &mut Waiter| whom == Dismiss::All || waiter.wish != Wish::Stop;
        for waiter in self.waiters.0.extract_if(.., leaves) {
            cx.reply(waiter.ticket, Err(Refusal::ShuttingDown));
        }
    }

    /// What was not written down is not promised; a goal that was not promised is taken back.
    fn disappoint(&mut self, cx: &mut Context<'_>, failed: Vec<Waiter>, reason: &str) {
        for waiter in failed {
            let reason = reason.to_owned();
            let agent = self.common.name.clone();
            let refusal = match waiter.wish {
                Wish::Halt => Refusal::HaltUnrecorded { agent, reason },
                Wish::Start { .. }
                | Wish::Stop
                | Wish::Restart { .. }
                | Wish::Hold
                | Wish::Lift => Refusal::JournalUnavailable { reason },
            };
            cx.reply(waiter.ticket, Err(refusal));
            if waiter.wish == (Wish::Start { was: Goal::Down }) {
                self.common.memory.goal = Goal::Down;
                self.common.save(cx);
                self.machine.follow(&mut self.common, cx);
            }
        }
    }
}

/// Whose tickets are dismissed when the supervisor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dismiss {
    /// All.
    All,
    /// All but those who wait for a stop, because it comes.
    AllButStop,
}

fn has_restarted(machine: &Machine, common: &Common, after: Generation) -> bool {
    match machine {
        Machine::Daemon(daemon) => successor_settled(daemon, common, after),
        Machine::Oneshot(oneshot) => oneshot.has_restarted(after),
        Machine::Worker(worker) => successor_settled(&worker.life, common, after),
    }
}

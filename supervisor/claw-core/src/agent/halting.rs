//! How an agent is halted and let go.
//!
//! ```text
//!   Settled ──halt, lift──► Recording{before} ──recorded──► Settled: acts by what is remembered
//!                               │ refused, overdue
//!                               ▼
//!                           Settled: acts by the stricter of the two
//! ```
//!
//! From the command on nothing new is started. What takes more than that, and what gives
//! something back, waits for the journal: whatever dies in between, the next supervisor finds the
//! agent halted. A journal that does not answer delays a halt and does not prevent it, but a lift
//! that is not written down is taken back.

use crate::action::Happened;
use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::death::Cause;
use crate::event::Freeze;
use crate::halt::{Halt, HaltLevel, KillSwitch};
use crate::id::Ticket;
use crate::memory::Hold;
use crate::record::RecordId;
use crate::refusal::Refusal;

use super::context::Context;
use super::dossier::{Common, Place};
use super::instance::{Instance, Life, Standing};
use super::waiters::{JOURNAL_WAIT, Wish};
use super::{Agent, Takeover};

/// How far the last change of the switch has come.
#[derive(Debug, Default)]
pub(crate) enum Halting {
    /// What is remembered is in force.
    #[default]
    Settled,
    /// What is remembered is being written down; what was before is in force.
    Recording {
        record: RecordId,
        until: Mono,
        before: Box<KillSwitch>,
        /// Nothing new begins meanwhile because of this, though it may be lifted.
        held: Option<Halt>,
    },
}

/// What is to become of what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    /// It goes on.
    Runs,
    /// It stands still.
    Frozen,
    /// It ends in its own time.
    Ends,
    /// It is killed at once.
    Killed,
}

impl Halting {
    fn before(&self) -> Option<&KillSwitch> {
        match self {
            Self::Settled => None,
            Self::Recording { before, .. } => Some(before),
        }
    }

    const fn held(&self) -> Option<&Halt> {
        match self {
            Self::Settled => None,
            Self::Recording { held, .. } => held.as_ref(),
        }
    }

    fn waits_for(&self, id: RecordId) -> bool {
        matches!(self, Self::Recording { record, .. } if *record == id)
    }

    fn is_overdue(&self, now: Mono) -> bool {
        matches!(self, Self::Recording { until, .. } if *until <= now)
    }

    pub(crate) const fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Settled => None,
            Self::Recording { until, .. } => Some((*until, Why::Journal)),
        }
    }

    pub(crate) fn shift(&mut self, late: std::time::Duration) {
        if let Self::Recording { until, .. } = self {
            *until = *until + late;
        }
    }
}

impl Common {
    /// Whether nothing new may begin. So it is from the command on, and until a lift is written
    /// down.
    pub(crate) fn is_halted(&self) -> bool {
        self.shown_halt().is_some()
    }

    /// The halt as it is told.
    pub(crate) fn shown_halt(&self) -> Option<&Halt> {
        let remembered = self.memory.switch.halt.as_ref();
        remembered.or_else(|| self.halting.held())
    }

    /// The level that what runs has to obey.
    pub(crate) fn enforced(&self) -> Option<HaltLevel> {
        let switch = self.halting.before().unwrap_or(&self.memory.switch);
        switch.halt.as_ref().map(|halt| halt.level)
    }

    /// What is to become of what runs. What stands still for a halt gets no last words: it would
    /// run for them.
    pub(crate) fn course(&self) -> Course {
        let enforced = self.enforced();
        let stands_still = enforced >= Some(HaltLevel::Freeze);
        let must_end = self.must_end() && !self.awaits_word_of_stop();
        if enforced == Some(HaltLevel::Kill) || must_end && stands_still {
            Course::Killed
        } else if must_end {
            Course::Ends
        } else if stands_still || self.hold_in_force() == Hold::Frozen {
            Course::Frozen
        } else {
            Course::Runs
        }
    }

    fn hold_in_force(&self) -> Hold {
        self.stopping.hold().unwrap_or(self.memory.hold)
    }

    /// Whether it must end for a stop alone that is not on record yet.
    fn awaits_word_of_stop(&self) -> bool {
        !self.stopping.is_settled() && matches!(self.place, Place::Member | Place::Closing)
    }

    /// Whether and why a start under way is called off: nothing of it runs yet, and nothing shall.
    fn calls_off(&self, instance: &Instance) -> Option<Cause> {
        let cause = if self.is_halted() {
            Cause::Halted
        } else if self.must_end() {
            Cause::Asked
        } else {
            return None;
        };
        match instance.standing() {
            Standing::Recording | Standing::PreStart => Some(cause),
            Standing::Spawning
            | Standing::Preparing(_)
            | Standing::StartingUp
            | Standing::Up
            | Standing::Ending(_) => None,
        }
    }

    /// Brings an instance after the course.
    pub(crate) fn steer(&self, cx: &mut Context<'_>, instance: &mut Instance) -> Life {
        let called_off = self.calls_off(instance);
        match (self.course(), called_off) {
            (Course::Killed, _) => return instance.kill(cx, Cause::Halted),
            (Course::Ends, _) => return instance.stop(cx, Cause::Asked),
            (Course::Frozen | Course::Runs, Some(cause)) => return instance.stop(cx, cause),
            (Course::Frozen, None) => instance.freeze(cx, Freeze::Yes),
            (Course::Runs, None) => instance.freeze(cx, Freeze::No),
        }
        Life::GoesOn
    }

    /// Ends an instance for `cause`; one that stands still for a halt is not woken for its last
    /// words.
    pub(crate) fn end(&self, cx: &mut Context<'_>, instance: &mut Instance, cause: Cause) -> Life {
        if self.enforced() >= Some(HaltLevel::Freeze) {
            instance.kill(cx, cause)
        } else {
            instance.stop(cx, cause)
        }
    }

    /// Refuses what would begin something.
    pub(crate) fn check_not_halted(&self) -> Result<(), Refusal> {
        self.shown_halt().map_or(Ok(()), |halt| {
            Err(Refusal::Halted {
                agent: self.name.clone(),
                halt: halt.clone(),
            })
        })
    }
}

impl Agent {
    pub(crate) fn is_halted(&self) -> bool {
        self.common.is_halted()
    }

    /// What outlives it when it leaves the fleet: a halt is not lifted by a fleet file that leaves
    /// the agent out for a while.
    pub(crate) fn switch(&self) -> Option<&KillSwitch> {
        let remembered = Some(&*self.common.memory.switch);
        let both = [remembered, self.common.halting.before()];
        let mut both = both.into_iter().flatten();
        both.find(|switch| switch.halt.is_some())
    }

    /// Halts it, at whatever level it stands now.
    pub(super) fn halt(&mut self, cx: &mut Context<'_>, ticket: Ticket, wanted: Halt) {
        let was = &self.common.memory.switch.halt;
        let same = was.as_ref().filter(|halt| halt.level == wanted.level);
        let as_before = same.is_some_and(|halt| wanted.why.is_none() || wanted.why == halt.why);
        let since = same.map_or(wanted.since, |halt| halt.since);
        let turn = |switch: &mut KillSwitch| {
            if !as_before {
                switch.set(Halt { since, ..wanted });
            }
        };
        self.turn_switch(cx, (ticket, Wish::Halt), turn);
    }

    /// Lets it go on as it was.
    pub(super) fn lift(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        by: String,
    ) -> Result<(), Refusal> {
        if !self.is_halted() {
            let agent = self.common.name.clone();
            return Err(Refusal::NotHalted { agent });
        }
        let at = cx.now.wall;
        self.turn_switch(cx, (ticket, Wish::Lift), |switch| switch.lift(at, by));
        Ok(())
    }

    fn turn_switch(
        &mut self,
        cx: &mut Context<'_>,
        (ticket, wish): (Ticket, Wish),
        turn: impl FnOnce(&mut KillSwitch),
    ) {
        let held = self.common.shown_halt().cloned();
        let remembered = self.common.memory.switch.clone();
        turn(&mut self.common.memory.switch);
        let changes = remembered != self.common.memory.switch;
        let record = self.common.promise(cx, changes.into());
        if let Some(record) = record {
            let before = match std::mem::take(&mut self.common.halting) {
                Halting::Settled => remembered,
                Halting::Recording { before, .. } => before,
            };
            self.common.halting = Halting::Recording {
                record,
                until: cx.after(JOURNAL_WAIT),
                before,
                held,
            };
        }
        self.wait(cx, ticket, wish, record);
        self.machine.follow(&mut self.common, cx);
    }

    /// The journal has answered.
    pub(super) fn halting_recorded(
        &mut self,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        if self.common.halting.waits_for(id) {
            match result {
                Ok(()) => self.settle_halting(cx),
                Err(_) => self.settle_unrecorded(cx),
            }
        }
    }

    /// The journal has not answered in time.
    pub(super) fn tick_halting(&mut self, cx: &mut Context<'_>) {
        if self.common.halting.is_overdue(cx.mono()) {
            self.settle_unrecorded(cx);
        }
    }

    /// What is not written down makes nothing easier for the agent.
    fn settle_unrecorded(&mut self, cx: &mut Context<'_>) {
        let level = |switch: &KillSwitch| switch.halt.as_ref().map(|halt| halt.level);
        if let Halting::Recording { before, .. } = &self.common.halting
            && level(before) > level(&self.common.memory.switch)
        {
            self.common.memory.switch = before.clone();
            self.common.save_synced(cx);
        }
        self.settle_halting(cx);
    }

    fn settle_halting(&mut self, cx: &mut Context<'_>) {
        let halting = std::mem::take(&mut self.common.halting);
        if let Halting::Recording { before, .. } = halting
            && before != self.common.memory.switch
            && let Some(change) = self.common.memory.switch.changes.last()
        {
            let change = Box::new(change.clone());
            cx.announce(&self.common.name, Happened::SwitchTurned { change });
        }
        self.machine.follow(&mut self.common, cx);
    }

    /// Its halt is over: what was put off because of it is made up for.
    pub(crate) fn let_go(&mut self, cx: &mut Context<'_>, takeover: Takeover) {
        self.catch_up_with_file(cx, takeover);
        self.machine.replan_slots(&mut self.common, cx);
        self.follow(cx);
    }
}

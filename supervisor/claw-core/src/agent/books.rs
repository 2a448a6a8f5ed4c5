//! What an agent still owes the journal: written down, and not yet acknowledged.
//!
//! ```text
//!   enter ──► open ──Recorded──► balanced
//!              │  ▲
//!     refused, │  │ offered again
//!     silence  ▼  │
//!             waits
//! ```
//!
//! A full disk or a locked database passes; what happened to an agent meanwhile must not be
//! forgotten with it. Of each thing only the newest state is kept, so that the books stay small
//! however long the journal is away. A driver may forget an instance only when its outcome is
//! acknowledged: until then that is the only evidence a later supervisor would find.
//!
//! One per agent, and one for all instances that belong to no agent any more.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::action::SlotFate;
use crate::clock::{Mono, Wall};
use crate::deadline::{Deadline, Why};
use crate::id::{InstanceId, RunId};
use crate::memory::AgentMemory;
use crate::name::AgentName;
use crate::order::Order;
use crate::record::{Record, RecordId};
use crate::run::Run;

use super::context::Context;

use open::{Entry, Open};

mod open;

/// What the journal refused is offered again after this long.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// What the journal does not answer at all is offered again after this long: longer than a lock
/// of the database usually lasts.
const AFTER_SILENCE: Duration = Duration::from_secs(30);

/// A slot is offered so often, at growing distances: for some hours in all. The journal refuses
/// the second fate of a slot for good, and does not say so in a way that could be told from a
/// full disk.
const SLOT_OFFERS: u32 = 20;

/// The longest distance of two offers of a slot.
const SLOT_DISTANCE: Duration = Duration::from_secs(600);

/// So many things may be open at once. Only slots come without end while nothing else happens;
/// beyond this they are written once and not kept.
const MAX_OPEN: usize = 1000;

/// What is open of one agent.
#[derive(Debug, Default)]
pub(crate) struct Books {
    open: Open,
    /// A memory that must survive a power cut has not been acknowledged yet.
    owes_sync: bool,
    /// Ended instances whose `post_stop` hook runs.
    hooks: BTreeSet<InstanceId>,
    /// Records without an answer that newer ones took the place of, and until when it may come.
    superseded: VecDeque<(Mono, RecordId)>,
}

/// What a record is about; a newer one of the same key takes its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Memory(AgentName),
    Run(AgentName, RunId),
    Outcome(InstanceId),
    Slot(AgentName, Wall),
}

impl Books {
    /// Whether the newest memory that was to survive a power cut does.
    pub(crate) const fn owes_sync(&self) -> bool {
        self.owes_sync
    }

    /// The journal may hold another memory of the agent than the one it begins with.
    pub(crate) const fn begin_anew(&mut self) {
        self.owes_sync = true;
    }

    /// What is to be remembered of the agent.
    pub(crate) fn memory(&mut self, cx: &mut Context<'_>, agent: &AgentName, memory: AgentMemory) {
        let record = Record::Memory {
            agent: agent.clone(),
            memory,
            synced: self.owes_sync,
        };
        self.enter(cx, Key::Memory(agent.clone()), record);
    }

    /// What is to be remembered of the agent beyond a power cut.
    pub(crate) fn synced_memory(
        &mut self,
        cx: &mut Context<'_>,
        agent: &AgentName,
        memory: AgentMemory,
    ) -> RecordId {
        self.owes_sync = true;
        let record = Record::Memory {
            agent: agent.clone(),
            memory,
            synced: true,
        };
        self.enter(cx, Key::Memory(agent.clone()), record)
    }

    /// A run as it is now.
    pub(crate) fn run(&mut self, cx: &mut Context<'_>, run: &Run) -> RecordId {
        let key = Key::Run(run.agent.clone(), run.id);
        self.enter(cx, key, Record::Run(Box::new(run.clone())))
    }

    /// The one outcome of an instance; the driver is told to forget it afterwards.
    pub(crate) fn outcome(&mut self, cx: &mut Context<'_>, instance: &InstanceId, record: Record) {
        self.enter(cx, Key::Outcome(instance.clone()), record);
    }

    /// The fate of a slot, with the run that was made for it.
    pub(crate) fn slot(
        &mut self,
        cx: &mut Context<'_>,
        agent: &AgentName,
        (planned, fate, run): (Wall, SlotFate, Option<RunId>),
    ) {
        let record = Record::Slot {
            agent: agent.clone(),
            planned,
            fate,
            run,
        };
        if self.open.len() < MAX_OPEN {
            self.enter(cx, Key::Slot(agent.clone(), planned), record);
        } else {
            cx.record(record);
        }
    }

    pub(crate) fn hook_begins(&mut self, instance: InstanceId) {
        self.hooks.insert(instance);
    }

    pub(crate) fn hook_ends(&mut self, cx: &mut Context<'_>, instance: &InstanceId) {
        if self.hooks.remove(instance) {
            self.release_if_over(cx, instance);
        }
    }

    /// Takes over what an agent that leaves still owes; its memory is of no use any more, and
    /// must not overwrite that of a successor with its name.
    pub(crate) fn take_over(&mut self, other: Self) {
        for (key, entry) in other.open.into_entries() {
            if !matches!(key, Key::Memory(_)) {
                self.open.insert(key, entry);
            }
        }
    }

    /// Whether the record stands in these books.
    pub(crate) fn contain(&self, id: RecordId) -> bool {
        self.open.key_of(id).is_some()
    }

    /// The journal has answered; records that were superseded are nobody's any more.
    pub(crate) fn answered(
        &mut self,
        cx: &mut Context<'_>,
        id: RecordId,
        result: &Result<(), String>,
    ) {
        let Some(key) = self.open.key_of(id).cloned() else {
            self.forget_superseded(id);
            return;
        };
        if result.is_err() {
            self.refused(cx, &key);
            return;
        }
        self.open.remove(&key);
        match key {
            Key::Memory(_) => self.owes_sync = false,
            Key::Outcome(instance) => self.release_if_over(cx, &instance),
            Key::Run(..) | Key::Slot(..) => {}
        }
    }

    /// Offers again what is due, in the order in which it happened.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let now = cx.mono();
        while let Some((_, id)) = self.superseded.pop_front_if(|(until, _)| *until <= now) {
            cx.expect_no_more(id);
        }
        for id in self.open.due_by(now) {
            self.offer_again(cx, id);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.open.next_at().map(|at| (at, Why::Journal))
    }

    fn enter(&mut self, cx: &mut Context<'_>, key: Key, record: Record) -> RecordId {
        let id = cx.record_for(key.agent(), record.clone());
        let entry = Entry {
            id,
            record,
            again_at: cx.after(AFTER_SILENCE),
            offers: 1,
        };
        if let Some(old) = self.open.insert(key, entry) {
            self.superseded.push_back((old.again_at, old.id));
        }
        id
    }

    /// The journal answers in order, so it stands near the front.
    fn forget_superseded(&mut self, id: RecordId) {
        let place = self.superseded.iter().position(|(_, old)| *old == id);
        if let Some(place) = place {
            self.superseded.remove(place);
        }
    }

    fn refused(&mut self, cx: &Context<'_>, key: &Key) {
        let Some(mut entry) = self.open.remove(key) else {
            return;
        };
        let distance = match key {
            Key::Slot(..) if entry.offers >= SLOT_OFFERS => return,
            Key::Slot(..) => {
                let growth = 1_u32 << entry.offers.min(8);
                AFTER_REFUSAL.saturating_mul(growth).min(SLOT_DISTANCE)
            }
            Key::Memory(_) | Key::Run(..) | Key::Outcome(_) => AFTER_REFUSAL,
        };
        entry.again_at = cx.after(distance);
        self.open.insert(key.clone(), entry);
    }

    fn offer_again(&mut self, cx: &mut Context<'_>, silent: RecordId) {
        let Some(key) = self.open.key_of(silent).cloned() else {
            return;
        };
        let Some(mut entry) = self.open.remove(&key) else {
            return;
        };
        if !matches!(key, Key::Slot(..)) || entry.offers < SLOT_OFFERS {
            entry.id = cx.record_for(key.agent(), entry.record.clone());
            entry.offers += 1;
            entry.again_at = cx.after(AFTER_SILENCE);
            self.open.insert(key, entry);
        }
        cx.expect_no_more(silent);
    }

    fn release_if_over(&self, cx: &mut Context<'_>, instance: &InstanceId) {
        let recorded = !self.open.contains(&Key::Outcome(instance.clone()));
        if recorded && !self.hooks.contains(instance) {
            let instance = instance.clone();
            cx.order(Order::Release { instance });
        }
    }
}

impl Key {
    const fn agent(&self) -> &AgentName {
        match self {
            Self::Memory(agent) | Self::Run(agent, _) | Self::Slot(agent, _) => agent,
            Self::Outcome(instance) => &instance.agent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Source;
    use super::*;
    use crate::clock::Now;

    #[test]
    fn nothing_is_left_of_a_record_that_was_superseded_and_answered() {
        let agent: AgentName = "monitor".parse().unwrap();
        let (mut books, mut source, mut out) = (Books::default(), Source::new(1), Vec::new());
        let now = Now {
            mono: Mono::default(),
            wall: Wall::UNIX_EPOCH,
        };
        let mut cx = Context {
            now,
            out: &mut out,
            source: &mut source,
        };
        for _ in 0..1_000 {
            let first = books.synced_memory(&mut cx, &agent, AgentMemory::default());
            let second = books.synced_memory(&mut cx, &agent, AgentMemory::default());
            books.answered(&mut cx, first, &Ok(()));
            books.answered(&mut cx, second, &Ok(()));
        }
        assert_eq!((books.open.len(), books.superseded.len()), (0, 0));
    }
}

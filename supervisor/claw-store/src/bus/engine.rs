//! The groups in memory, and what is shown to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::dedup::Window;
use super::event::{Event, Seq, SharedEvent};
use super::group::{Changed, Effect, Group, Jitter, OpenEvent, Overflow, Row, Source};
use super::rate::Rates;
use crate::store::{StoreError, Undo, UnixMs};

pub(crate) type GroupId = i64;

/// Topics whose groups are remembered.
const TOPICS_REMEMBERED: usize = 10_000;

/// The groups and what they share.
pub(crate) struct Bus {
    pub(super) groups: BTreeMap<GroupId, Entry>,
    pub(super) names: BTreeMap<String, GroupId>,
    /// By topic: whose filters match it.
    interested: HashMap<String, Arc<[GroupId]>>,
    deadlines: BTreeSet<(UnixMs, GroupId)>,
    pub(super) dirty: BTreeSet<GroupId>,
    woken: BTreeSet<GroupId>,
    room: bool,
    /// The newest event that is committed.
    head: Seq,
    /// In the transaction under way, with the bounded groups that count them.
    staged: Vec<(SharedEvent, Vec<GroupId>)>,
    /// Bytes of all events: with the transaction under way, and without it.
    pub(super) bytes: u64,
    pub(super) bytes_committed: u64,
    pub(super) next_timer: Option<UnixMs>,
    pub(super) next_chores: UnixMs,
    pub(super) dedup: Window,
    pub(super) jitter: Jitter,
    pub(super) lease_names: Source,
    pub(super) rates: Rates,
}

/// A group with what belongs to it beside its state machine.
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) group: Group,
    pub(super) orphaned: Option<UnixMs>,
    /// Events of the transaction under way that it will take, if it is bounded.
    staged: u64,
    deadline: Option<UnixMs>,
}

impl Entry {
    pub(super) fn new(name: &str, group: Group) -> Self {
        Self {
            name: name.into(),
            group,
            orphaned: None,
            staged: 0,
            deadline: None,
        }
    }

    /// Everything up to here is of no concern to it.
    pub(super) fn floor(&self, head: Seq) -> Seq {
        let idle = self.group.open.is_empty() && self.group.beyond == 0;
        if idle { head } else { self.group.floor() }
    }
}

/// What a bus begins with.
pub(super) struct Beginning {
    pub(super) head: Seq,
    pub(super) bytes: u64,
    pub(super) opening: u64,
    pub(super) next_timer: Option<UnixMs>,
    pub(super) seed: u64,
    pub(super) dedup: Window,
}

impl Bus {
    pub(super) fn new(beginning: Beginning) -> Self {
        Self {
            groups: BTreeMap::new(),
            names: BTreeMap::new(),
            interested: HashMap::new(),
            deadlines: BTreeSet::new(),
            dirty: BTreeSet::new(),
            woken: BTreeSet::new(),
            room: false,
            head: beginning.head,
            staged: Vec::new(),
            bytes: beginning.bytes,
            bytes_committed: beginning.bytes,
            next_timer: beginning.next_timer,
            next_chores: UnixMs::default(),
            dedup: beginning.dedup,
            jitter: Jitter::new(beginning.seed),
            lease_names: Source::new(beginning.opening),
            rates: Rates::default(),
        }
    }

    pub(super) fn insert(&mut self, id: GroupId, entry: Entry) {
        self.names.insert(entry.name.to_string(), id);
        self.groups.insert(id, entry);
        self.interested.clear();
        self.touch(id);
    }

    pub(super) fn remove(&mut self, id: GroupId) {
        if let Some(entry) = self.groups.remove(&id) {
            self.names.remove(&*entry.name);
            if let Some(deadline) = entry.deadline {
                self.deadlines.remove(&(deadline, id));
            }
        }
        self.dirty.remove(&id);
        self.interested.clear();
    }

    pub(super) fn id(&self, name: &str) -> Result<GroupId, StoreError> {
        let id = self.names.get(name).copied();
        id.ok_or_else(|| StoreError::NotFound {
            kind: "group",
            name: name.to_owned(),
        })
    }

    pub(super) fn entry(&mut self, id: GroupId) -> Result<&mut Entry, StoreError> {
        let entry = self.groups.get_mut(&id);
        entry.ok_or_else(|| StoreError::NotFound {
            kind: "group",
            name: id.to_string(),
        })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    /// A group has changed: it is written with this transaction, and whoever waits may be woken.
    pub(super) fn touch(&mut self, id: GroupId) {
        let Some(entry) = self.groups.get_mut(&id) else {
            return;
        };
        let deadline = entry.group.deadline();
        if deadline != entry.deadline {
            if let Some(before) = entry.deadline {
                self.deadlines.remove(&(before, id));
            }
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, id));
            }
            entry.deadline = deadline;
        }
        if entry.group.has_work() {
            self.woken.insert(id);
        }
        if entry.group.config.bound.is_some() {
            self.room = true;
        }
        self.dirty.insert(id);
    }

    pub(super) fn forget_interest(&mut self) {
        self.interested.clear();
    }

    /// Whose filters match a topic.
    pub(super) fn interested(&mut self, topic: &str) -> Arc<[GroupId]> {
        if let Some(known) = self.interested.get(topic) {
            return Arc::clone(known);
        }
        let wants = |entry: &Entry| {
            let subscriptions = &entry.group.config.subscriptions;
            subscriptions.iter().any(|one| one.topic.matches(topic))
        };
        let ids: Arc<[GroupId]> = (self.groups.iter())
            .filter(|(_id, entry)| wants(entry))
            .map(|(id, _entry)| *id)
            .collect();
        if self.interested.len() >= TOPICS_REMEMBERED {
            self.interested.clear();
        }
        self.interested.insert(topic.to_owned(), Arc::clone(&ids));
        ids
    }

    /// The newest committed event.
    pub(crate) fn head(&self) -> Seq {
        self.head
    }

    /// The number of the next event.
    pub(super) fn next_seq(&self) -> Seq {
        self.head + self.staged.len() as u64 + 1
    }

    /// Keeps an event of the transaction under way until it is committed.
    pub(super) fn stage(&mut self, event: SharedEvent, undo: &mut Vec<Undo>) {
        let mut counted = Vec::new();
        for id in self.interested(&event.topic).iter() {
            if let Some(entry) = self.groups.get_mut(id)
                && entry.group.config.bound.is_some()
                && entry.group.config.takes(&event)
            {
                entry.staged += 1;
                counted.push(*id);
            }
        }
        self.bytes += stored_bytes(event.data.len());
        self.staged.push((event, counted));
        undo.push(Undo::Staged);
    }

    pub(crate) fn unstage(&mut self) {
        let Some((event, counted)) = self.staged.pop() else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(stored_bytes(event.data.len()));
        self.dedup.forget_newest(event.seq);
        for id in counted {
            if let Some(entry) = self.groups.get_mut(&id) {
                entry.staged -= 1;
            }
        }
    }

    /// How many events the transaction under way publishes.
    pub(super) fn staged(&self) -> usize {
        self.staged.len()
    }

    /// The first group that is too full for an event.
    pub(super) fn too_full(&mut self, event: &Event, more: u64) -> Option<(Arc<str>, Overflow)> {
        for id in self.interested(&event.topic).iter() {
            let Some(entry) = self.groups.get(id) else {
                continue;
            };
            let Some(bound) = entry.group.config.bound else {
                continue;
            };
            let full = entry.group.pending() + entry.staged + more >= bound.max_pending;
            match bound.policy {
                Overflow::DropOldest => {}
                Overflow::Reject | Overflow::Block(_)
                    if full && entry.group.config.takes(event) =>
                {
                    return Some((Arc::clone(&entry.name), bound.policy));
                }
                Overflow::Reject | Overflow::Block(_) => {}
            }
        }
        None
    }

    pub(super) fn has_bounds(&self) -> bool {
        let bounded = |entry: &Entry| entry.group.config.bound.is_some();
        self.groups.values().any(bounded)
    }

    /// The transaction under way is committed: its events are shown to the groups.
    pub(crate) fn committed(&mut self, now: UnixMs) {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(entry) = self.groups.get_mut(&id) {
                entry.group.unsaved.clear();
            }
        }
        self.bytes_committed = self.bytes;
        self.dedup.committed(now);
        for (event, counted) in std::mem::take(&mut self.staged) {
            self.head = event.seq;
            for id in counted {
                if let Some(entry) = self.groups.get_mut(&id) {
                    entry.staged -= 1;
                }
            }
            for id in self.interested(&event.topic).iter() {
                self.show(*id, &event, now);
            }
        }
    }

    fn show(&mut self, id: GroupId, event: &SharedEvent, now: UnixMs) {
        let Some(entry) = self.groups.get_mut(&id) else {
            return;
        };
        entry.group.offer(event, now);
        // What waits for others has a deadline, and may have taken the place of another.
        let unsaved = !entry.group.unsaved.is_empty() || entry.group.config.gathers();
        match entry.group.config.bound {
            Some(bound) if bound.policy == Overflow::DropOldest => {
                entry.group.drop_oldest(bound.max_pending);
                self.touch(id);
            }
            // A new event changes nothing that would have to be written.
            Some(_) | None if unsaved => self.touch(id),
            Some(_) | None => {
                if entry.group.has_work() {
                    self.woken.insert(id);
                }
            }
        }
    }

    /// The transaction under way is lost; who changed memory on its own account stays dirty.
    pub(crate) fn lost(&mut self) {
        self.bytes = self.bytes_committed;
        self.dedup.lost();
        // Which timers are there has to be looked up again.
        self.next_timer = Some(UnixMs::default());
    }

    /// A settling could not be stored: the delivery is in flight as before.
    pub(crate) fn restore(&mut self, id: GroupId, seq: Seq, open: OpenEvent) {
        if let Some(entry) = self.groups.get_mut(&id) {
            entry.group.unsaved.remove(&seq);
            if open.row == Row::Present {
                let wait = Effect::Wait {
                    attempts: open.attempts.saturating_sub(1),
                    due: open.at,
                    error: open.error.clone(),
                };
                entry.group.unsaved.insert(seq, wait);
            }
            // It waits to be tried again if it was not acknowledged.
            entry.group.forget_open(seq);
            entry.group.reopen(seq, open);
            self.touch(id);
        }
    }

    /// Ends leases and waits whose time has come.
    pub(super) fn expire(&mut self, now: UnixMs) {
        while let Some((due, id)) = self.deadlines.first().copied()
            && due <= now
        {
            let Some(entry) = self.groups.get_mut(&id) else {
                self.deadlines.pop_first();
                continue;
            };
            if entry.group.expire(now) == Changed::No {
                tracing::debug!(group = %entry.name, "a deadline passed without anything due");
            }
            self.touch(id);
        }
    }

    pub(super) fn deadline(&self) -> Option<UnixMs> {
        let groups = self.deadlines.first().map(|(due, _id)| *due);
        groups.into_iter().chain(self.next_timer).min()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn take_woken(&mut self) -> Vec<Arc<str>> {
        let woken = std::mem::take(&mut self.woken);
        let names = woken.iter().filter_map(|id| self.groups.get(id));
        names.map(|entry| Arc::clone(&entry.name)).collect()
    }

    pub(crate) fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.room)
    }

    pub(crate) fn set_rate(&mut self, source: String, per_minute: Option<u32>, now: UnixMs) {
        self.rates.set(source, per_minute, now);
    }

    /// What the group that is furthest behind has settled.
    pub(super) fn lowest_floor(&self) -> Seq {
        let floors = self.groups.values().map(|entry| entry.floor(self.head));
        floors.min().unwrap_or(self.head)
    }
}

/// About what an event takes in the file.
pub(super) fn stored_bytes(data: usize) -> u64 {
    const FIXED: u64 = 128;
    FIXED + data as u64
}

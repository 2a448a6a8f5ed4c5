//! The entries of books, and how they are found: an answer names a record, a tick asks what is due,
//! and there may be a thousand of them while the journal is away.

use std::collections::{BTreeMap, BTreeSet};

use super::Key;
use crate::clock::Mono;
use crate::record::{Record, RecordId};

/// A record without an answer.
#[derive(Debug)]
pub(super) struct Entry {
    /// As what it was offered last; no two entries have the same.
    pub(super) id: RecordId,
    pub(super) record: Record,
    /// When it is offered again.
    pub(super) again_at: Mono,
    /// How often it was offered.
    pub(super) offers: u32,
}

/// All records without an answer: one for each thing that they are about.
#[derive(Debug, Default)]
pub(super) struct Open {
    entries: BTreeMap<Key, Entry>,
    keys: BTreeMap<RecordId, Key>,
    due: BTreeSet<(Mono, RecordId)>,
}

impl Open {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// What a record is about, if it is the newest of that.
    pub(super) fn key_of(&self, id: RecordId) -> Option<&Key> {
        self.keys.get(&id)
    }

    /// Puts an entry in the place of what was there before, which is returned.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) -> Option<Entry> {
        let before = self.remove(&key);
        self.keys.insert(entry.id, key.clone());
        self.due.insert((entry.again_at, entry.id));
        self.entries.insert(key, entry);
        before
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.keys.remove(&entry.id);
        self.due.remove(&(entry.again_at, entry.id));
        Some(entry)
    }

    /// When the next entry is offered again.
    pub(super) fn next_at(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is to be offered again by now, in the order in which it was offered.
    pub(super) fn due_by(&self, now: Mono) -> Vec<RecordId> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let mut due: Vec<RecordId> = due.map(|(_, id)| *id).collect();
        due.sort_unstable();
        due
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (Key, Entry)> {
        self.entries.into_iter()
    }
}

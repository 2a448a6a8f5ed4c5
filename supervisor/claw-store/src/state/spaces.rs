//! Namespaces in memory: the figures that every commit needs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::cache::{Cache, Change};
use super::model::{Namespace, Version};
use crate::bus::{column, number};
use crate::store::{Core, StoreError, Undo, UnixMs};

/// What a namespace may hold as long as nobody says otherwise.
const DEFAULT_MAX_BYTES: u64 = 100 * 1024 * 1024;

/// The figures of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpaceState {
    pub(super) version: Version,
    pub(super) live_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) epoch: u64,
}

/// All namespaces.
#[derive(Default)]
pub(crate) struct Spaces {
    ids: HashMap<String, i64>,
    states: BTreeMap<i64, (Namespace, SpaceState)>,
    dirty: BTreeSet<i64>,
    /// For readers, once the transaction under way is committed.
    pub(super) changes: Vec<Change>,
    /// When the first key of any namespace expires.
    pub(super) next_expiry: Option<UnixMs>,
    /// Chunks that are used again while a sweep looks for unused ones.
    touched: HashSet<i64>,
    sweeps: u32,
}

impl Spaces {
    pub(crate) fn load(conn: &Connection) -> Result<Self, rusqlite::Error> {
        let mut spaces = Self {
            next_expiry: first_expiry(conn)?,
            ..Self::default()
        };
        let sql = "SELECT id, name, ver, live_bytes, max_bytes, epoch FROM ns";
        let mut query = conn.prepare(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
            let state = SpaceState {
                version: number(row.get(2)?),
                live_bytes: number(row.get(3)?),
                max_bytes: number(row.get(4)?),
                epoch: number(row.get(5)?),
            };
            spaces.add(id, &name, state);
        }
        Ok(spaces)
    }

    fn add(&mut self, id: i64, name: &str, state: SpaceState) {
        self.ids.insert(name.to_owned(), id);
        let namespace = Namespace::from_column(name.to_owned());
        self.states.insert(id, (namespace, state));
    }

    pub(super) fn id(&self, namespace: &Namespace) -> Option<i64> {
        self.ids.get(namespace.as_str()).copied()
    }

    pub(super) fn state(&self, id: i64) -> Option<SpaceState> {
        self.states.get(&id).map(|(_, state)| *state)
    }

    /// What a namespace may hold, used or not, in bytes.
    pub(super) fn quota(&self, namespace: &Namespace) -> u64 {
        let known = self.id(namespace).and_then(|id| self.state(id));
        known.map_or(DEFAULT_MAX_BYTES, |state| state.max_bytes)
    }

    pub(super) fn name(&self, id: i64) -> Option<Namespace> {
        self.states.get(&id).map(|(name, _)| name.clone())
    }

    /// Changes the figures; they are written with this transaction.
    pub(super) fn set(&mut self, id: i64, state: SpaceState, undo: &mut Vec<Undo>) {
        if let Some((_, known)) = self.states.get_mut(&id) {
            undo.push(Undo::Space(id, *known));
            *known = state;
            self.dirty.insert(id);
        }
    }

    pub(crate) fn put_back(&mut self, id: i64, before: SpaceState) {
        if let Some((_, known)) = self.states.get_mut(&id) {
            *known = before;
        }
    }

    pub(crate) fn forget(&mut self, name: &str) {
        if let Some(id) = self.ids.remove(name) {
            self.states.remove(&id);
            self.dirty.remove(&id);
        }
    }

    pub(crate) fn forget_changes(&mut self, count: usize) {
        self.changes.truncate(count);
    }

    pub(super) fn expires(&mut self, at: UnixMs) {
        self.next_expiry = Some(self.next_expiry.map_or(at, |next| next.min(at)));
    }

    pub(crate) fn next_expiry(&self) -> Option<UnixMs> {
        self.next_expiry
    }

    pub(super) fn touch_chunk(&mut self, id: i64) {
        if self.sweeps > 0 {
            self.touched.insert(id);
        }
    }

    pub(super) fn begin_sweep(&mut self) {
        self.sweeps += 1;
    }

    pub(super) fn was_touched(&self, chunk: i64) -> bool {
        self.touched.contains(&chunk)
    }

    pub(super) fn end_sweep(&mut self) {
        self.sweeps = self.sweeps.saturating_sub(1);
        if self.sweeps == 0 {
            self.touched.clear();
        }
    }

    /// The transaction under way is committed: readers see its values.
    pub(crate) fn committed(&mut self, cache: &Cache) {
        self.dirty.clear();
        if !self.changes.is_empty() {
            cache.change(std::mem::take(&mut self.changes));
        }
    }

    /// The transaction under way is lost; the figures were put back one by one.
    pub(crate) fn lost(&mut self) {
        self.dirty.clear();
        self.changes.clear();
        // Which keys expire has to be looked up again.
        self.next_expiry = Some(UnixMs::default());
    }
}

impl Core {
    /// The namespace, made if it does not exist.
    pub(super) fn space(&mut self, namespace: &Namespace) -> Result<(i64, SpaceState), StoreError> {
        let known = self.spaces.id(namespace);
        if let Some((id, state)) = known.and_then(|id| Some((id, self.spaces.state(id)?))) {
            return Ok((id, state));
        }
        let sql = "INSERT INTO ns (name, max_bytes) VALUES (?1, ?2)";
        let max_bytes = DEFAULT_MAX_BYTES;
        self.conn
            .prepare_cached(sql)?
            .execute(params![namespace.as_str(), column(max_bytes)])?;
        let id = self.conn.last_insert_rowid();
        let state = SpaceState {
            version: 0,
            live_bytes: 0,
            max_bytes,
            epoch: 0,
        };
        self.spaces.add(id, namespace.as_str(), state);
        self.undo
            .push(Undo::NewSpace(namespace.as_str().to_owned()));
        Ok((id, state))
    }

    /// Writes the figures of namespaces that changed in this transaction.
    pub(crate) fn flush_spaces(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE ns SET ver = ?2, live_bytes = ?3, max_bytes = ?4, epoch = ?5
            WHERE id = ?1";
        for id in &self.spaces.dirty {
            if let Some(state) = self.spaces.state(*id) {
                self.conn.prepare_cached(sql)?.execute(params![
                    id,
                    column(state.version),
                    column(state.live_bytes),
                    column(state.max_bytes),
                    column(state.epoch),
                ])?;
            }
        }
        Ok(())
    }
}

pub(super) fn first_expiry(conn: &Connection) -> Result<Option<UnixMs>, rusqlite::Error> {
    let sql = "SELECT min(expires) FROM head WHERE expires IS NOT NULL";
    let first: Option<Option<i64>> = conn
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(first.flatten().map(UnixMs))
}

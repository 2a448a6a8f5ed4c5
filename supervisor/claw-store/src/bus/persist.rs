//! How groups are written with each commit, and come back when the store is opened.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::dedup::Window;
use super::engine::{Beginning, Bus, Entry, GroupId};
use super::event::{Event, Seq};
use super::group::{Counts, Effect, Group, GroupConfig, InFlight, Phase, Ranges, Recovered, Row};
use super::row::{self, column, number};
use crate::store::limits::WINDOW;
use crate::store::{Core, EventLimits, LoadError, StoreError, UnixMs};

mod blob;
mod stored;

pub(super) use stored::{read_config, write_config};

impl Core {
    /// Writes what is known of events and groups that changed in this transaction.
    pub(crate) fn flush_bus(&mut self) -> Result<(), StoreError> {
        self.announce_dead()?;
        let published = self.bus.staged();
        if published > 0 || self.bus.bytes != self.bus.bytes_committed {
            put_meta(&self.conn, "next_seq", column(self.bus.next_seq()))?;
            put_meta(&self.conn, "event_bytes", column(self.bus.bytes))?;
            self.bus.dedup.flush(&self.conn, published, self.now)?;
        }
        let head = self.bus.head();
        for id in &self.bus.dirty {
            if let Some(entry) = self.bus.groups.get(id) {
                write_group(&self.conn, *id, entry, head)?;
            }
        }
        Ok(())
    }
}

fn write_group(conn: &Connection, id: GroupId, entry: &Entry, head: Seq) -> Result<(), StoreError> {
    for (seq, effect) in &entry.group.unsaved {
        write_effect(conn, id, *seq, effect)?;
    }
    let group = &entry.group;
    let flying: Vec<_> = group.flying().collect();
    let counts = serde_json::to_string(&group.counts)
        .map_err(|error| StoreError::Invalid(error.to_string()))?;
    let sql = "UPDATE grp SET floor = ?2, acked = ?3, inflight = ?4, counts = ?5 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![
        id,
        column(entry.floor(head)),
        blob::ranges(&group.settled),
        blob::flying(&flying),
        counts,
    ])?;
    Ok(())
}

fn write_effect(
    conn: &Connection,
    id: GroupId,
    seq: Seq,
    effect: &Effect,
) -> Result<(), StoreError> {
    let clear = "DELETE FROM pending WHERE grp = ?1 AND seq = ?2";
    let seq = column(seq);
    match effect {
        Effect::Clear => {
            conn.prepare_cached(clear)?.execute([id, seq])?;
        }
        Effect::Wait {
            attempts,
            due,
            error,
        } => {
            let sql = "INSERT OR REPLACE INTO pending (grp, seq, attempts, due, error)
                VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![id, seq, attempts, due.0, error.as_deref()];
            conn.prepare_cached(sql)?.execute(values)?;
        }
        Effect::Dead {
            at,
            attempts,
            reason,
            error,
        } => {
            conn.prepare_cached(clear)?.execute([id, seq])?;
            let sql = "INSERT OR REPLACE INTO dead (grp, died, attempts, reason, error,
                seq, id, source, topic, key, at, expires, attrs, data)
                SELECT ?1, ?3, ?4, ?5, ?6, seq, id, source, topic, key, at, expires, attrs, data
                FROM event WHERE seq = ?2";
            let values = params![id, seq, at.0, attempts, reason.as_str(), error.as_deref()];
            conn.prepare_cached(sql)?.execute(values)?;
        }
    }
    Ok(())
}

impl Bus {
    /// Brings back what was known when the store was closed, or its supervisor died.
    pub(crate) fn load(
        conn: &Connection,
        now: UnixMs,
        limits: &EventLimits,
        seed: u64,
    ) -> Result<Self, LoadError> {
        let head = match meta(conn, "next_seq")? {
            Some(next) => number(next).saturating_sub(1),
            None => 0,
        };
        let opening = meta(conn, "opening")?.unwrap_or(0) + 1;
        put_meta(conn, "opening", opening)?;
        let next_timer = conn.query_row("SELECT min(due) FROM timer", [], |row| {
            row.get::<_, Option<i64>>(0)
        })?;
        let mut bus = Self::new(Beginning {
            head,
            bytes: number(meta(conn, "event_bytes")?.unwrap_or(0)),
            opening: number(opening),
            next_timer: next_timer.map(UnixMs),
            seed,
            dedup: Window::load(conn, limits.dedup_window, now)?,
        });
        let until = now.after(limits.adopt_grace);
        let mut returning = load_groups(conn, &mut bus, until)?;
        bus.show_kept(conn, &mut returning, now)?;
        let ids: Vec<_> = bus.groups.keys().copied().collect();
        for id in ids {
            bus.recovered(id, limits.adopt_grace, now);
        }
        Ok(bus)
    }

    /// One walk over what is kept, for all groups together.
    fn show_kept(
        &mut self,
        conn: &Connection,
        returning: &mut BTreeMap<GroupId, Returning>,
        now: UnixMs,
    ) -> Result<(), rusqlite::Error> {
        let floors = self.groups.values().map(|entry| entry.group.floor());
        let Some(lowest) = floors.min() else {
            return Ok(());
        };
        let mut expected = BTreeMap::<Seq, Vec<GroupId>>::new();
        for (id, one) in returning.iter() {
            for seq in one.known.keys() {
                expected.entry(*seq).or_default().push(*id);
            }
        }
        let configs = self.groups.values().map(|entry| &entry.group.config);
        let columns = row::columns_for(configs);
        row::each(conn, columns, (lowest + 1, self.head()), |event| {
            let mut ids = self.interested(&event.topic).to_vec();
            ids.extend(expected.remove(&event.seq).into_iter().flatten());
            ids.sort_unstable();
            ids.dedup();
            for id in ids {
                if let (Some(entry), Some(one)) = (self.groups.get_mut(&id), returning.get_mut(&id))
                {
                    one.show(&mut entry.group, &event, now);
                }
            }
        })
    }

    fn recovered(&mut self, id: GroupId, grace: Duration, now: UnixMs) {
        let head = self.head();
        let Some(entry) = self.groups.get_mut(&id) else {
            return;
        };
        let group = &mut entry.group;
        if group.beyond == 0 {
            group.cursor = head;
        }
        group.settled.forget_to(group.floor());
        if grace.is_zero() {
            group.release_all(now);
        }
        self.touch(id);
    }
}

/// What is known of a group's events before they are seen again.
struct Returning {
    floor: Seq,
    settled: Ranges,
    known: BTreeMap<Seq, Recovered>,
    /// Everything above was not looked at.
    seen_to: Seq,
}

impl Returning {
    fn show(&mut self, group: &mut Group, event: &Event, now: UnixMs) {
        let seq = event.seq;
        let known = self.known.remove(&seq);
        if known.is_none() && (seq <= self.floor || !group.config.takes(event)) {
            return;
        }
        if seq <= self.seen_to {
            group.cursor = group.cursor.max(seq);
            if known.is_some() || !self.settled.contains(seq) {
                group.admit(event, None, known, now);
            }
            return;
        }
        group.cursor = group.cursor.max(self.seen_to);
        if group.beyond == 0 && group.open.len() < WINDOW {
            group.cursor = seq;
            group.admit(event, None, known, now);
        } else {
            group.supersede_by(event);
            group.beyond += 1;
        }
    }
}

fn load_groups(
    conn: &Connection,
    bus: &mut Bus,
    until: UnixMs,
) -> Result<BTreeMap<GroupId, Returning>, LoadError> {
    let mut returning = BTreeMap::new();
    let sql = "SELECT id, name, config, paused, orphaned, floor, acked, inflight, counts FROM grp";
    let mut query = conn.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (GroupId, String) = (row.get(0)?, row.get(1)?);
        let damaged = |what: &str| LoadError::Damaged(format!("{what} of group {name}"));
        let config: String = row.get(2)?;
        let config = read_config(&config).ok_or_else(|| damaged("the configuration"))?;
        let floor = number(row.get(5)?);
        let settled = blob::read_ranges(&row.get::<_, Vec<u8>>(6)?);
        let settled = settled.ok_or_else(|| damaged("what is settled"))?;
        let flying = blob::read_flying(&row.get::<_, Vec<u8>>(7)?);
        let flying = flying.ok_or_else(|| damaged("what is in flight"))?;
        let counts: String = row.get(8)?;
        let counts: Counts =
            serde_json::from_str(&counts).map_err(|_unreadable| damaged("the counts"))?;

        let known = known_events(conn, id, &flying, until)?;
        let last = known.last_key_value().map(|(seq, _)| *seq);
        let seen_to = floor
            .max(settled.last().unwrap_or(0))
            .max(last.unwrap_or(0));
        let entry = entry_of(
            &name,
            (config, floor),
            row.get(3)?,
            row.get(4)?,
            counts,
            &settled,
        );
        bus.insert(id, entry);
        let one = Returning {
            floor,
            settled,
            known,
            seen_to,
        };
        returning.insert(id, one);
    }
    Ok(returning)
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn entry_of(
    name: &str,
    (config, floor): (GroupConfig, Seq),
    paused: i64,
    orphaned: Option<i64>,
    counts: Counts,
    settled: &Ranges,
) -> Entry {
    let mut group = Group::new(config, floor);
    group.paused = paused != 0;
    group.counts = counts;
    group.settled = settled.clone();
    let mut entry = Entry::new(name, group);
    entry.orphaned = orphaned.map(UnixMs);
    entry
}

fn known_events(
    conn: &Connection,
    id: GroupId,
    flying: &[InFlight],
    until: UnixMs,
) -> Result<BTreeMap<Seq, Recovered>, rusqlite::Error> {
    let mut known = BTreeMap::new();
    let sql = "SELECT seq, attempts, due, error FROM pending WHERE grp = ?1";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        let recovered = Recovered {
            attempts: row.get(1)?,
            phase: Phase::Waiting {
                due: UnixMs(row.get(2)?),
            },
            row: Row::Present,
            error: row.get::<_, Option<String>>(3)?.map(String::into_boxed_str),
        };
        known.insert(number(row.get(0)?), recovered);
    }
    for one in flying {
        let before = known.remove(&one.seq);
        let recovered = Recovered {
            attempts: one.attempts,
            phase: Phase::InFlight {
                lease: one.lease,
                batch: one.batch,
                replica: one.replica,
                until,
            },
            row: before.as_ref().map_or(Row::Absent, |before| before.row),
            error: before.and_then(|before| before.error),
        };
        known.insert(one.seq, recovered);
    }
    Ok(known)
}

pub(super) fn meta(conn: &Connection, key: &str) -> Result<Option<i64>, rusqlite::Error> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

fn put_meta(conn: &Connection, key: &str, value: i64) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    conn.prepare_cached(sql)?
        .execute(params![key, value])
        .map(drop)
}

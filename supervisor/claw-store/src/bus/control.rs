//! How groups are made, changed, moved and dropped.

use rusqlite::{OptionalExtension, params};

use super::api::Pause;
use super::engine::{Entry, GroupId};
use super::event::{Event, Seq};
use super::group::{Counts, Group, GroupConfig, Start};
use super::persist::write_config;
use super::row::{self, column, number};
use crate::store::{Core, StoreError};

/// The longest name of a group in bytes.
const NAME_BYTES: usize = 256;

pub(super) fn upsert(
    core: &mut Core,
    name: &str,
    config: GroupConfig,
    start: Start,
) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > NAME_BYTES {
        let text = format!("the name of a group has 1 to {NAME_BYTES} bytes");
        return Err(StoreError::Invalid(text));
    }
    let stored = write_config(&config).map_err(|error| StoreError::Invalid(error.to_string()))?;
    match core.bus.id(name) {
        Ok(id) => change(core, id, config, &stored),
        Err(_new) => create(core, name, config, &stored, start),
    }
}

fn create(
    core: &mut Core,
    name: &str,
    config: GroupConfig,
    stored: &str,
    start: Start,
) -> Result<(), StoreError> {
    let floor = floor_of(core, start)?;
    let counts = serde_json::to_string(&Counts::default())
        .map_err(|error| StoreError::Invalid(error.to_string()))?;
    let sql = "INSERT INTO grp (name, config, floor, acked, inflight, counts)
        VALUES (?1, ?2, ?3, x'', x'', ?4)";
    core.conn
        .execute(sql, params![name, stored, column(floor), counts])?;
    let id = core.conn.last_insert_rowid();
    let beyond = count(core, &config, floor)?;
    let mut group = Group::new(config, floor);
    group.beyond = beyond;
    let entry = Entry::new(name, group);
    core.then
        .push(Box::new(move |core| core.bus.insert(id, entry)));
    Ok(())
}

/// A filter that is new concerns what has not been looked at; what is open stays so.
fn change(
    core: &mut Core,
    id: GroupId,
    config: GroupConfig,
    stored: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE grp SET config = ?2, orphaned = NULL WHERE id = ?1";
    core.conn.execute(sql, params![id, stored])?;
    let head = core.bus.head();
    let entry = core.bus.entry(id)?;
    let cursor = if entry.group.beyond > 0 {
        entry.group.cursor
    } else {
        head
    };
    let open: Vec<Seq> = entry.group.open.keys().copied().collect();
    let beyond = count(core, &config, cursor)?;
    let columns = row::columns_for([&config]);
    let events = briefs(core, columns, &open)?;
    core.then.push(Box::new(move |core| {
        if let Ok(entry) = core.bus.entry(id) {
            entry.orphaned = None;
            entry.group.cursor = cursor;
            entry.group.reconfigure(config, &events);
            entry.group.beyond = beyond;
        }
        core.bus.forget_interest();
        core.bus.touch(id);
    }));
    Ok(())
}

pub(super) fn orphan(core: &mut Core, name: &str) -> Result<(), StoreError> {
    let (id, now) = (core.bus.id(name)?, core.now);
    let sql = "UPDATE grp SET orphaned = ?2 WHERE id = ?1 AND orphaned IS NULL";
    core.conn.execute(sql, params![id, now.0])?;
    core.then.push(Box::new(move |core| {
        if let Ok(entry) = core.bus.entry(id) {
            entry.orphaned.get_or_insert(now);
        }
    }));
    Ok(())
}

pub(super) fn remove(core: &mut Core, name: &str) -> Result<(), StoreError> {
    let id = core.bus.id(name)?;
    remove_by_id(core, id)
}

pub(super) fn remove_by_id(core: &mut Core, id: GroupId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM pending WHERE grp = ?1",
        "DELETE FROM dead WHERE grp = ?1",
        "DELETE FROM grp WHERE id = ?1",
    ] {
        core.conn.execute(sql, [id])?;
    }
    core.then.push(Box::new(move |core| core.bus.remove(id)));
    Ok(())
}

pub(super) fn set_paused(core: &mut Core, name: &str, pause: Pause) -> Result<(), StoreError> {
    let id = core.bus.id(name)?;
    let paused = pause == Pause::Paused;
    core.conn.execute(
        "UPDATE grp SET paused = ?2 WHERE id = ?1",
        params![id, paused],
    )?;
    core.then.push(Box::new(move |core| {
        if let Ok(entry) = core.bus.entry(id) {
            entry.group.paused = paused;
        }
        core.bus.touch(id);
    }));
    Ok(())
}

pub(super) fn seek(core: &mut Core, name: &str, to: Start) -> Result<(), StoreError> {
    let id = core.bus.id(name)?;
    let floor = floor_of(core, to)?;
    core.conn
        .execute("DELETE FROM pending WHERE grp = ?1", [id])?;
    let sql = "UPDATE grp SET floor = ?2, acked = x'', inflight = x'' WHERE id = ?1";
    core.conn.execute(sql, params![id, column(floor)])?;
    let config = core.bus.entry(id)?.group.config.clone();
    let beyond = count(core, &config, floor)?;
    core.then.push(Box::new(move |core| {
        if let Ok(entry) = core.bus.entry(id) {
            entry.group.restart_at(floor, beyond);
        }
        core.bus.touch(id);
    }));
    Ok(())
}

/// Everything up to here is not delivered.
fn floor_of(core: &Core, start: Start) -> Result<Seq, StoreError> {
    let head = core.bus.head();
    let before = match start {
        Start::Now => head,
        Start::Beginning => 0,
        Start::At(seq) => seq.saturating_sub(1),
        Start::Time(at) => {
            let sql = "SELECT seq FROM event WHERE at >= ?1 ORDER BY seq LIMIT 1";
            let first: Option<i64> = core
                .conn
                .query_row(sql, [at.0], |row| row.get(0))
                .optional()?;
            first.map_or(head, |first| number(first) - 1)
        }
    };
    Ok(before.min(head))
}

/// Committed events above a number that a group takes.
pub(super) fn count(core: &Core, config: &GroupConfig, above: Seq) -> Result<u64, StoreError> {
    let mut count = 0;
    row::each_brief(&core.conn, above + 1, core.bus.head(), |event| {
        count += u64::from(config.takes(&event));
    })?;
    Ok(count)
}

fn briefs(core: &Core, columns: &str, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::with_capacity(seqs.len());
    for seq in seqs {
        row::each(&core.conn, columns, (*seq, *seq), |event| {
            events.push(event)
        })?;
    }
    Ok(events)
}

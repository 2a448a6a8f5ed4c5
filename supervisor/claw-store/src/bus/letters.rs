//! Dead letters: listed, delivered again, thrown away.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::dead::{DeadId, DeadLetter, DeadReason, Which};
use super::engine::GroupId;
use super::event::Event;
use super::row::{self, column};
use crate::store::{Core, StoreError, UnixMs};

/// Dead letters that one answer holds at most.
const LETTERS: u32 = 1_001;

/// Dead letters that are read at a time when all are meant.
const STEP: u32 = 500;

const COLUMNS: &str =
    "n, died, attempts, reason, error, seq, id, source, topic, key, at, expires, attrs, data";

pub(super) fn list(
    conn: &Connection,
    group: &str,
    before: Option<DeadId>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dead WHERE grp = (SELECT id FROM grp WHERE name = ?1) AND n < ?2
        ORDER BY n DESC LIMIT ?3"
    );
    let before = before.map_or(i64::MAX, |before| before.0);
    let mut query = conn.prepare_cached(&sql)?;
    let values = params![group, before, limit.min(LETTERS)];
    let rows = query.query_map(values, |row| letter(row, group))?;
    let letters: Result<Vec<_>, _> = rows.collect();
    Ok(letters?)
}

fn letter(row: &rusqlite::Row<'_>, group: &str) -> Result<DeadLetter, rusqlite::Error> {
    let reason: String = row.get(3)?;
    Ok(DeadLetter {
        id: DeadId(row.get(0)?),
        group: group.to_owned(),
        at: UnixMs(row.get(1)?),
        attempts: row.get(2)?,
        reason: DeadReason::parse(&reason).unwrap_or(DeadReason::MaxAttempts),
        error: row.get(4)?,
        event: Arc::new(row::event(row, 5)?),
    })
}

pub(super) fn redrive(core: &mut Core, group: &str, which: Which) -> Result<u64, StoreError> {
    let id = core.bus.id(group)?;
    core.flush_bus()?;
    let letters = chosen(core, id, which)?;
    let count = letters.len() as u64;
    let mut events = Vec::with_capacity(letters.len());
    for (dead, event) in letters {
        give_back(core, id, dead, &event)?;
        events.push(event);
    }
    core.then.push(Box::new(move |core| {
        let now = core.now;
        if let Ok(entry) = core.bus.entry(id) {
            for event in &events {
                entry.group.redrive(event, now);
            }
        }
        core.bus.touch(id);
    }));
    Ok(count)
}

/// Retention may have removed the event itself.
fn give_back(core: &Core, id: GroupId, dead: DeadId, event: &Event) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO event (seq, id, source, topic, key, at, expires, attrs, data)
        SELECT seq, id, source, topic, key, at, expires, attrs, data FROM dead WHERE n = ?1";
    core.conn.prepare_cached(sql)?.execute([dead.0])?;
    let sql = "INSERT OR REPLACE INTO pending (grp, seq, attempts, due, error)
        VALUES (?1, ?2, 0, ?3, NULL)";
    core.conn
        .prepare_cached(sql)?
        .execute(params![id, column(event.seq), core.now.0])?;
    core.conn
        .prepare_cached("DELETE FROM dead WHERE n = ?1")?
        .execute([dead.0])?;
    Ok(())
}

pub(super) fn discard(core: &mut Core, group: &str, which: Which) -> Result<u64, StoreError> {
    let id = core.bus.id(group)?;
    core.flush_bus()?;
    let count = match which {
        Which::All => core.conn.execute("DELETE FROM dead WHERE grp = ?1", [id])?,
        Which::One(dead) => {
            let sql = "DELETE FROM dead WHERE grp = ?1 AND n = ?2";
            core.conn.execute(sql, [id, dead.0])?
        }
    };
    if count == 0 && which != Which::All {
        return Err(not_found(which));
    }
    Ok(count as u64)
}

fn chosen(core: &Core, id: GroupId, which: Which) -> Result<Vec<(DeadId, Event)>, StoreError> {
    let sql = "SELECT n, seq, id, source, topic, key, at, expires, attrs, data FROM dead
        WHERE grp = ?1 AND n > ?2 AND n <= ?3 ORDER BY n LIMIT ?4";
    let (mut after, last) = match which {
        Which::One(dead) => (dead.0 - 1, dead.0),
        Which::All => (0, i64::MAX),
    };
    let mut letters = Vec::new();
    loop {
        let mut query = core.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![id, after, last, STEP], |row| {
            Ok((DeadId(row.get(0)?), row::event(row, 1)?))
        })?;
        let before = letters.len();
        for row in rows {
            letters.push(row?);
        }
        match letters.last() {
            Some((dead, _event)) if letters.len() > before => after = dead.0,
            Some(_) | None => break,
        }
    }
    if letters.is_empty() && which != Which::All {
        return Err(not_found(which));
    }
    Ok(letters)
}

fn not_found(which: Which) -> StoreError {
    let name = match which {
        Which::One(dead) => dead.0.to_string(),
        Which::All => "any".to_owned(),
    };
    StoreError::NotFound {
        kind: "dead letter",
        name,
    }
}

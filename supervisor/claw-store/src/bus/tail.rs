//! Events without a group: read, and taken over from another store.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::event::{Seq, SharedEvent};
use super::group::Subscription;
use super::publish::{append, identity};
use super::row::{self, column};
use crate::store::{Core, StoreError};

/// Events that one answer holds at most.
const READ_EVENTS: u32 = 1_000;

/// Rows that one read looks at at most, so that a rare topic does not hold up a reader.
const READ_ROWS: u32 = 100_000;

/// Data in one answer.
const READ_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn read(
    conn: &Connection,
    from: Seq,
    subscription: Option<&Subscription>,
    limit: u32,
) -> Result<Vec<SharedEvent>, StoreError> {
    let sql = format!(
        "SELECT {} FROM event WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
        row::COLUMNS
    );
    let most = usize::try_from(limit.min(READ_EVENTS)).unwrap_or(0);
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query(params![column(from), READ_ROWS])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while events.len() < most
        && bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let event = row::event(row, 0)?;
        if subscription.is_none_or(|one| one.takes(&event)) {
            bytes += event.weight();
            events.push(Arc::new(event));
        }
    }
    Ok(events)
}

/// Appends events that are not here, with new numbers and their old times.
pub(super) fn import(core: &mut Core, events: &[SharedEvent]) -> Result<u64, StoreError> {
    let mut known = HashSet::new();
    row::each_brief(&core.conn, 0, core.bus.head(), |event| {
        known.insert(identity(&event.source, &event.id));
    })?;
    // Their old times would hide those before them when the window is read back.
    core.bus.dedup.write_all(&core.conn)?;
    let mut new = 0;
    for event in events {
        let hash = identity(&event.source, &event.id);
        if !known.insert(hash) {
            continue;
        }
        let mut event = (**event).clone();
        event.seq = core.bus.next_seq();
        let until = core.now.after(core.limits.dedup_window);
        core.bus.dedup.write(&core.conn, (hash, event.seq, until))?;
        append(core, event, hash)?;
        new += 1;
    }
    Ok(new)
}

//! How a group that is behind catches up: from the file, some rows at a time.

use std::sync::Arc;

use super::engine::GroupId;
use super::event::SharedEvent;
use super::row::{self, column};
use crate::store::limits::REFILL_ROWS;
use crate::store::{Core, StoreError};

/// Whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    Yes,
    No,
}

impl Core {
    /// Shows a group that is behind the next events.
    pub(super) fn refill(&mut self, id: GroupId) -> Result<Behind, StoreError> {
        let (head, now) = (self.bus.head(), self.now);
        let entry = self.bus.entry(id)?;
        if entry.group.beyond == 0 || !entry.group.has_room() {
            return Ok(Behind::No);
        }
        let events = events_after(self, entry_cursor(self, id), head)?;
        let group = &mut self.bus.entry(id)?.group;
        let reached_head = events.len() < usize::try_from(REFILL_ROWS).unwrap_or(usize::MAX);
        for event in &events {
            if !group.has_room() {
                self.bus.touch(id);
                return Ok(Behind::No);
            }
            group.catch_up(event, now);
        }
        let gathers = group.config.gathers();
        if reached_head {
            group.cursor = head;
            // Retention may have removed some that were counted.
            group.beyond = 0;
        }
        if gathers {
            self.bus.touch(id);
        }
        Ok(if reached_head {
            Behind::No
        } else {
            Behind::Yes
        })
    }
}

fn entry_cursor(core: &Core, id: GroupId) -> u64 {
    core.bus
        .groups
        .get(&id)
        .map_or(0, |entry| entry.group.cursor)
}

fn events_after(core: &Core, cursor: u64, head: u64) -> Result<Vec<SharedEvent>, StoreError> {
    let sql = format!(
        "SELECT {} FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT {REFILL_ROWS}",
        row::COLUMNS
    );
    let mut query = core.conn.prepare_cached(&sql)?;
    let rows = query.query_map([column(cursor), column(head)], |row| row::event(row, 0))?;
    let events: Result<Vec<_>, _> = rows.map(|event| event.map(Arc::new)).collect();
    Ok(events?)
}

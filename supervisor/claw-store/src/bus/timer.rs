//! Delayed events, and everything else of the bus that becomes due.

use rusqlite::params;

use super::event::Event;
use super::publish::{append, identity};
use super::retention::{self, Left};
use crate::store::limits::{CHORE_ROWS, CHORES};
use crate::store::{Core, StoreError, UnixMs};

impl Core {
    /// Ends leases and waits, lets delayed events appear, and does chores from time to time.
    pub(crate) fn bus_due(&mut self) -> Result<(), StoreError> {
        self.bus.expire(self.now);
        if self.broken.is_some() {
            return Ok(());
        }
        if self.bus.next_timer.is_some_and(|due| due <= self.now) {
            self.fire()?;
        }
        if self.now >= self.bus.next_chores {
            // Events may come faster than one step a second removes them.
            self.bus.next_chores = match retention::chores(self)? {
                Left::Something => self.now,
                Left::Nothing => self.now.after(CHORES),
            };
        }
        Ok(())
    }

    /// When something of the bus will be due.
    pub(crate) fn bus_deadline(&self) -> Option<UnixMs> {
        self.bus.deadline()
    }

    fn fire(&mut self) -> Result<(), StoreError> {
        for (n, event) in self.due_timers()? {
            let mut event = event;
            event.seq = self.bus.next_seq();
            event.at = self.now;
            let hash = identity(&event.source, &event.id);
            self.bus.dedup.appeared(&self.conn, hash)?;
            append(self, event, hash)?;
            self.conn
                .prepare_cached("DELETE FROM timer WHERE n = ?1")?
                .execute([n])?;
        }
        let next: Option<i64> = self
            .conn
            .prepare_cached("SELECT min(due) FROM timer")?
            .query_row([], |row| row.get(0))?;
        self.bus.next_timer = next.map(UnixMs);
        Ok(())
    }

    fn due_timers(&self) -> Result<Vec<(i64, Event)>, StoreError> {
        let sql = "SELECT n, 0, id, source, topic, key, due, expires, attrs, data FROM timer
            WHERE due <= ?1 ORDER BY due, n LIMIT ?2";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![self.now.0, CHORE_ROWS], |row| {
            Ok((row.get(0)?, super::row::event(row, 1)?))
        })?;
        let timers: Result<Vec<_>, _> = rows.collect();
        Ok(timers?)
    }
}

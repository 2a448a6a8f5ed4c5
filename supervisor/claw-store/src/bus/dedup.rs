//! Which events were published within the window, by 64 bits over source and id.
//!
//! ```text
//!   table dedup                  ring and index, in memory                     newest
//!   ─────────────────────────┬───────────────────────────────────────────────────┬──►
//!    by hash: older ids of    │ leaving: written some   │ everything published    │
//!    the window, delayed      │ at a time, in order of  │ lately, never written   │
//!    and imported events      │ their hash              │                         │
//! ```
//!
//! Writing each id into a table ordered by hash would touch a page per event. The newest ids are
//! therefore in the table of events alone: when the store is opened they are read from there. Only
//! when there are more than [`IDS`] of them do the oldest go to the table, sorted, so that
//! neighbours share pages. Ids whose event goes before the window is over are written then.
//!
//! What its publisher publishes once only is not remembered: the supervisor's own news of a fleet
//! that restarts all the time would fill the memory that agents' events need.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use rusqlite::{Connection, OptionalExtension, params};

use super::event::Seq;
use super::row::{column, number};
use crate::store::limits::{DEDUP_IDS as IDS, DEDUP_SLICE as SLICE};
use crate::store::{StoreError, UnixMs};

/// The ids of the window.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// How many are kept in memory.
    most: usize,
    /// The newest events that may be published again, in order.
    ring: VecDeque<(Seq, i64)>,
    /// Until when the events up to a number count, in the order of both.
    until: VecDeque<(Seq, UnixMs)>,
    index: HashMap<i64, Seq, BuildHasherDefault<AsIs>>,
    leaving: Leaving,
    /// Rows of the table, so that nobody looks there when there are none.
    rows: u64,
    swept_to: Option<i64>,
}

/// Ids on their way to the table.
#[derive(Debug, Default)]
struct Leaving {
    /// By hash.
    ids: Vec<(i64, Seq, UnixMs)>,
    /// How many are in the file, and in it with the transaction under way.
    done: usize,
    staged: usize,
}

/// A hash is its own hash.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_i64(&mut self, hash: i64) {
        self.0 = u64::from_ne_bytes(hash.to_ne_bytes());
    }
}

impl Window {
    /// An event that goes behind all others in the table of events.
    pub(super) fn remember(&mut self, hash: i64, seq: Seq, until: UnixMs) {
        if self.ring.is_empty() {
            self.until.clear();
        }
        self.ring.push_back((seq, hash));
        match self.until.back_mut() {
            Some((last, same)) if *same == until => *last = seq,
            Some(_) | None => self.until.push_back((seq, until)),
        }
        self.index.insert(hash, seq);
    }

    /// The newest event is not published after all.
    pub(super) fn forget_newest(&mut self, seq: Seq) {
        let Some((_, hash)) = self.ring.pop_back_if(|(newest, _)| *newest == seq) else {
            return;
        };
        if self.index.get(&hash) == Some(&seq) {
            self.index.remove(&hash);
        }
        if let Some((last, _until)) = self.until.back_mut() {
            *last = seq.saturating_sub(1);
        }
    }

    /// The event with this hash, if there is one within the window; 0 while it is delayed.
    pub(super) fn find(
        &self,
        conn: &Connection,
        hash: i64,
        now: UnixMs,
    ) -> Result<Option<Seq>, StoreError> {
        if let Some(seq) = self.index.get(&hash)
            && self.until_of(*seq) > now
        {
            return Ok(Some(*seq));
        }
        if self.rows == 0 {
            return Ok(None);
        }
        let sql = "SELECT seq FROM dedup WHERE hash = ?1 AND until > ?2";
        let found = conn
            .prepare_cached(sql)?
            .query_row([hash, now.0], |row| row.get(0).map(number))
            .optional()?;
        Ok(found)
    }

    fn until_of(&self, seq: Seq) -> UnixMs {
        let place = self.until.partition_point(|(last, _)| *last < seq);
        self.until.get(place).map_or(UnixMs(0), |(_, until)| *until)
    }

    /// Writes an id that its event's row does not tell: its event is delayed, or was recorded
    /// elsewhere, or goes.
    pub(super) fn write(
        &mut self,
        conn: &Connection,
        (hash, seq, until): (i64, Seq, UnixMs),
    ) -> Result<(), StoreError> {
        insert(conn, hash, seq, until)?;
        // A row that is replaced, or rolled back, is counted once too often: that costs a look.
        self.rows += 1;
        Ok(())
    }

    /// Writes all ids that are in memory alone.
    pub(super) fn write_all(&mut self, conn: &Connection) -> Result<(), StoreError> {
        for (hash, seq, until) in self.oldest(self.ring.len()) {
            self.write(conn, (hash, seq, until))?;
        }
        Ok(())
    }

    /// A delayed event has appeared: from now on its row tells its id.
    pub(super) fn appeared(&self, conn: &Connection, hash: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM dedup WHERE hash = ?1 AND seq = 0";
        conn.prepare_cached(sql)?.execute([hash])?;
        Ok(())
    }

    /// Writes some of the ids that are too many, within the transaction under way.
    pub(super) fn flush(
        &mut self,
        conn: &Connection,
        published: usize,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        if self.leaving.ids.is_empty() && self.ring.len() > self.most {
            let over = self.ring.len() - self.most;
            self.leaving.ids = self.oldest(over.max(self.most / 4));
        }
        // Faster than new ones come, so that memory stays bounded.
        let from = self.leaving.done;
        let to = (from + SLICE.max(published * 2)).min(self.leaving.ids.len());
        for (hash, seq, until) in &self.leaving.ids[from..to] {
            if *until > now {
                insert(conn, *hash, *seq, *until)?;
                self.rows += 1;
            }
        }
        self.leaving.staged = to;
        Ok(())
    }

    fn oldest(&self, count: usize) -> Vec<(i64, Seq, UnixMs)> {
        let oldest = self.ring.iter().copied().take(count);
        let known = oldest.filter(|(seq, hash)| self.index.get(hash) == Some(seq));
        let mut ids: Vec<_> = known
            .map(|(seq, hash)| (hash, seq, self.until_of(seq)))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The transaction under way is committed.
    pub(super) fn committed(&mut self, now: UnixMs) {
        self.leaving.done = self.leaving.staged;
        if self.leaving.done < self.leaving.ids.len() {
            return;
        }
        if !self.leaving.ids.is_empty() {
            let last = self.leaving.ids.iter().map(|(_, seq, _)| *seq).max();
            self.leaving = Leaving::default();
            self.drop_to(last.unwrap_or(0));
        }
        while let Some((last, until)) = self.until.front().copied()
            && until <= now
        {
            self.drop_to(last);
        }
    }

    /// The transaction under way is lost.
    pub(super) fn lost(&mut self) {
        self.leaving.staged = self.leaving.done;
        if self.leaving.done == 0 {
            // They may have been chosen among events that are not published now.
            self.leaving = Leaving::default();
        }
    }

    fn drop_to(&mut self, last: Seq) {
        while let Some((seq, hash)) = self.ring.pop_front_if(|(seq, _)| *seq <= last) {
            if self.index.get(&hash) == Some(&seq) {
                self.index.remove(&hash);
            }
        }
        while self.until.front().is_some_and(|(end, _)| *end <= last) {
            self.until.pop_front();
        }
    }

    /// Reads the window back: the newest events, and behind them what the table knows.
    pub(super) fn load(
        conn: &Connection,
        window: std::time::Duration,
        now: UnixMs,
    ) -> Result<Self, rusqlite::Error> {
        let transaction = conn.unchecked_transaction()?;
        let mut found: Vec<(i64, Seq, UnixMs)> = Vec::new();
        let sql = "SELECT seq, source, id, at FROM event ORDER BY seq DESC";
        let mut query = transaction.prepare(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let until = UnixMs(row.get(3)?).after(window);
            if until <= now {
                break;
            }
            let (source, id): (String, String) = (row.get(1)?, row.get(2)?);
            let hash = super::publish::identity(&source, &id);
            let seq = number(row.get(0)?);
            if found.len() < IDS {
                found.push((hash, seq, until));
            } else {
                insert(&transaction, hash, seq, until)?;
            }
        }
        drop(rows);
        drop(query);
        transaction.commit()?;
        let mut loaded = Self {
            most: IDS,
            ..Self::default()
        };
        for (hash, seq, until) in found.into_iter().rev() {
            loaded.remember(hash, seq, until);
        }
        let rows: i64 = conn.query_row("SELECT count(*) FROM dedup", [], |row| row.get(0))?;
        loaded.rows = number(rows);
        Ok(loaded)
    }

    /// Goes round through the table, some rows at a time, and deletes what is over; an index by
    /// time would cost every id.
    pub(super) fn sweep(
        &mut self,
        conn: &Connection,
        rows: u32,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        if self.rows == 0 {
            return Ok(());
        }
        let sql = "SELECT max(hash) FROM
            (SELECT hash FROM dedup WHERE hash >= ?1 ORDER BY hash LIMIT ?2)";
        let from = self.swept_to.unwrap_or(i64::MIN);
        let last: Option<i64> = conn
            .prepare_cached(sql)?
            .query_row(params![from, rows], |row| row.get(0))?;
        let Some(last) = last else {
            if self.swept_to.take().is_none() {
                self.rows = 0;
            }
            return Ok(());
        };
        let sql = "DELETE FROM dedup WHERE hash BETWEEN ?1 AND ?2 AND until <= ?3";
        conn.prepare_cached(sql)?.execute([from, last, now.0])?;
        self.swept_to = last.checked_add(1);
        Ok(())
    }
}

fn insert(conn: &Connection, hash: i64, seq: Seq, until: UnixMs) -> Result<(), rusqlite::Error> {
    let sql = "INSERT OR REPLACE INTO dedup (hash, seq, until) VALUES (?1, ?2, ?3)";
    conn.prepare_cached(sql)?
        .execute([hash, column(seq), until.0])
        .map(drop)
}

#[cfg(test)]
mod tests;

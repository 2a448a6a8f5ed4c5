//! Keys whose time has passed: hidden at once by reads, removed here as a version of their own.

use rusqlite::params;

use super::commit::HeadRow;
use super::model::{CommitCause, VersionKind, WriterId};
use super::spaces::first_expiry;
use crate::bus::number;
use crate::store::limits::CHORE_ROWS;
use crate::store::{Core, StoreError, UnixMs};

impl Core {
    /// Removes keys that have expired, some at a time, within the transaction under way.
    pub(crate) fn state_due(&mut self) -> Result<(), StoreError> {
        let due = self.spaces.next_expiry.is_some_and(|at| at <= self.now);
        if !due || self.broken.is_some() {
            return Ok(());
        }
        let expired = self.expired_keys()?;
        for of_one in expired.chunk_by(|one, other| one.0 == other.0) {
            self.remove_expired(of_one)?;
        }
        self.spaces.next_expiry = first_expiry(&self.conn)?;
        Ok(())
    }

    fn remove_expired(&mut self, keys: &[(i64, String, HeadRow)]) -> Result<(), StoreError> {
        let Some((id, _, _)) = keys.first() else {
            return Ok(());
        };
        let named = self.spaces.name(*id).zip(self.spaces.state(*id));
        let Some((namespace, state)) = named else {
            return Ok(());
        };
        let writer = WriterId {
            name: "ttl".to_owned(),
            epoch: state.epoch,
        };
        let mut draft = self.draft(&namespace, &writer)?;
        for (_id, key, head) in keys {
            self.unpoint(&mut draft, key, *head)?;
        }
        self.finish(draft, VersionKind::Ttl, &writer, &CommitCause::default())?;
        Ok(())
    }

    fn expired_keys(&self) -> Result<Vec<(i64, String, HeadRow)>, StoreError> {
        let sql = "SELECT ns, key, ver, val, size, expires FROM head
            WHERE expires <= ?1 ORDER BY expires LIMIT ?2";
        let mut query = self.conn.prepare_cached(sql)?;
        let rows = query.query_map(params![self.now.0, CHORE_ROWS], |row| {
            let head = HeadRow {
                version: number(row.get(2)?),
                val: row.get(3)?,
                size: number(row.get(4)?),
                expires: row.get::<_, Option<i64>>(5)?.map(UnixMs),
            };
            Ok((row.get(0)?, row.get(1)?, head))
        })?;
        let expired: Result<Vec<_>, _> = rows.collect();
        let mut expired = expired?;
        expired.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        Ok(expired)
    }
}

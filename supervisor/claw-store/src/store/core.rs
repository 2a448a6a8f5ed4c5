//! What the writer thread owns: the connection and the memory that goes with it.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};

use super::clock::{Clock, UnixMs};
use super::error::StoreError;
use super::open::EventLimits;
use super::undo::Undo;
use crate::bus::Bus;
use crate::state::{Cache, KeepPolicy, Spaces};

/// How a request takes part in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It changes memory first; a lost transaction does not undo it.
    Memory,
    /// It is checked before it writes anything.
    Checked,
    /// It may be refused half-way, so it has a savepoint.
    Guarded,
    /// It changes memory after its own transaction.
    Alone,
}

/// What is done once the transaction is committed.
type Then = Box<dyn FnOnce(&mut Core) + Send>;

/// The writer's things.
pub(crate) struct Core {
    pub(crate) conn: Connection,
    pub(crate) clock: Arc<dyn Clock>,
    /// The time of this batch.
    pub(crate) now: UnixMs,
    pub(crate) bus: Bus,
    pub(crate) spaces: Spaces,
    pub(crate) cache: Arc<Cache>,
    pub(crate) limits: EventLimits,
    pub(crate) keep: KeepPolicy,
    pub(crate) undo: Vec<Undo>,
    pub(crate) then: Vec<Then>,
    /// Why the transaction under way cannot be committed.
    pub(crate) broken: Option<StoreError>,
}

impl Core {
    /// Does one request inside the transaction under way.
    pub(super) fn perform<T>(
        &mut self,
        kind: Kind,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(broken) = &self.broken
            && kind != Kind::Memory
        {
            return Err(broken.clone());
        }
        let (mark, thens) = (self.mark(), self.then.len());
        let result = match kind {
            Kind::Memory => return work(self),
            Kind::Checked => work(self),
            Kind::Guarded | Kind::Alone => self.in_savepoint(work),
        };
        if let Err(error) = &result {
            self.undo_to(mark);
            self.then.truncate(thens);
            if matches!(error, StoreError::NoSpace | StoreError::Unavailable(_)) {
                self.broken = Some(error.clone());
            }
        }
        result
    }

    fn in_savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run("SAVEPOINT request")?;
        let result = work(self);
        if result.is_err() {
            // A disk that is full has undone the whole transaction, savepoints and all.
            if self.conn.is_autocommit() {
                return result;
            }
            self.run("ROLLBACK TO request")?;
        }
        self.run("RELEASE request")?;
        result
    }

    /// Runs a statement without values or rows.
    pub(crate) fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoSpace,
            Some(ErrorCode::TooBig) => Self::Invalid(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

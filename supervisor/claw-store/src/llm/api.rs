//! What a host can do with the money of calls.

use jiff::civil::Date;

use super::model::{
    Admitted, CallFilter, CallRow, Correction, EndedCall, Restored, Settlement, Settling, Told,
    TotalRow, UsageBy, UsageRow, WindowCorrection, WindowKey,
};
use super::{read, total, write};
use crate::bus::Level;
use crate::store::limits::CHORE_ROWS;
use crate::store::{Kind, Store, StoreError, UnixMs};

/// Money of calls to language models.
///
/// Everything is as durable as its level says when it is answered.
impl Store {
    /// Writes a call before it leaves.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the call must not leave then. An id that was used before is
    /// [`StoreError::Invalid`].
    pub async fn reserve_llm_call(&self, call: Admitted, level: Level) -> Result<(), StoreError> {
        let weight = call.rates.len() + call.request_hash.len();
        self.write(level, Kind::Checked, weight, move |core| {
            write::reserve(&core.conn, &call)
        })
        .await
    }

    /// Writes that a call in flight may cost no more than this. One that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; it may cost as much as before then.
    pub async fn shrink_llm_call(
        &self,
        id: u64,
        held: i64,
        level: Level,
    ) -> Result<(), StoreError> {
        self.write(level, Kind::Guarded, 0, move |core| {
            write::shrink(&core.conn, id, held)
        })
        .await
    }

    /// Writes how calls ended, and their money in their windows; answers for each in that order.
    /// All of them or none.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the calls are still in flight then, and lost at the next start.
    pub async fn settle_llm_calls(
        &self,
        calls: Vec<Settling>,
        level: Level,
    ) -> Result<Vec<Settlement>, StoreError> {
        let weights = calls.iter().map(|call| call.ended.attempts.as_ref());
        let weight = weights.flatten().map(String::len).sum();
        self.write(level, Kind::Guarded, weight, move |core| {
            write::settle(&core.conn, &calls)
        })
        .await
    }

    /// Writes a call that is over already and has cost nothing: it is in no window.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. An id that was used before is [`StoreError::Invalid`].
    pub async fn note_llm_call(&self, call: Admitted, ended: EndedCall) -> Result<(), StoreError> {
        let weight = call.rates.len() + call.request_hash.len();
        self.write(Level::Os, Kind::Guarded, weight, move |core| {
            write::note(&core.conn, &call, &ended)
        })
        .await
    }

    /// Writes that an alert of a window was given. What was given before stays given.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn tell_llm_window(&self, key: WindowKey, told: Told) -> Result<(), StoreError> {
        self.write(Level::Os, Kind::Guarded, 0, move |core| {
            write::tell(&core.conn, &key, told)
        })
        .await
    }

    /// Writes what a call of uncertain cost has cost, in all its windows that were not corrected
    /// as a whole since.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn reconcile_llm_call(&self, id: u64, actual: i64) -> Result<Correction, StoreError> {
        self.write(Level::Disk, Kind::Guarded, 0, move |core| {
            write::reconcile_call(&core.conn, id, actual)
        })
        .await
    }

    /// Writes by how much a window is corrected. Calls that end before or after it are added all
    /// the same, so it does not matter when that is written.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn reconcile_llm_window(
        &self,
        correction: WindowCorrection,
    ) -> Result<(), StoreError> {
        let weight = correction.calls.len() * size_of::<u64>();
        self.write(Level::Disk, Kind::Guarded, weight, move |core| {
            write::reconcile_window(&core.conn, &correction)
        })
        .await
    }

    /// What is there when the supervisor starts.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn restore_llm(&self) -> Result<Restored, StoreError> {
        self.read(|conn| Ok(read::restore(conn)?)).await
    }

    /// A page of calls, the newest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn llm_calls(&self, filter: CallFilter) -> Result<Vec<CallRow>, StoreError> {
        self.read(move |conn| Ok(read::calls(conn, &filter)?)).await
    }

    /// What calls that were admitted since then have used, by name, and never of more than
    /// [`USAGE_ROWS`](super::USAGE_ROWS) of them.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn llm_usage(&self, since: UnixMs, by: UsageBy) -> Result<Vec<UsageRow>, StoreError> {
        self.read(move |conn| Ok(read::usage(conn, since, by)?))
            .await
    }

    /// What all calls have used, by agent, provider and model. None of it ever falls, except that a
    /// power cut may take back what was not written to the disk.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn llm_totals(&self) -> Result<Vec<TotalRow>, StoreError> {
        self.read(|conn| Ok(total::totals(conn)?)).await
    }

    /// Writes from which day on windows are kept, whatever was written of it before, and forgets
    /// none: the day that is there came from a clock that was wrong.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn keep_llm_since(&self, day: Date) -> Result<(), StoreError> {
        self.write(Level::Os, Kind::Guarded, 0, move |core| {
            write::keep_since(&core.conn, day)
        })
        .await
    }

    /// Forgets windows before this day or its month, and calls before it. Calls in flight stay,
    /// with their windows, and calls of uncertain cost as long as the windows of their month.
    /// Answers how many calls were forgotten.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; some may be forgotten already.
    pub async fn prune_llm(&self, before: Date) -> Result<u64, StoreError> {
        self.write(Level::Os, Kind::Guarded, 0, move |core| {
            write::prune_windows(&core.conn, before)
        })
        .await?;
        let mut forgotten = 0;
        loop {
            let some = self.write(Level::Os, Kind::Guarded, 0, move |core| {
                write::prune_calls(&core.conn, before)
            });
            let some = some.await?;
            forgotten += some;
            if some < u64::from(CHORE_ROWS) {
                return Ok(forgotten);
            }
        }
    }
}

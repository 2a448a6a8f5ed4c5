//! Keeps calls and their money across the supervisor's own death.

use std::sync::{PoisonError, RwLock};

use claw_gateway::llm::serve::{CachedCall, CallRecord, Journal, JournalError, Written};
use claw_store::bus::Level;
use claw_store::llm::Settlement;
use claw_store::{Store, StoreError};

use super::{restore, rows};

/// A store of its own: what a call waits for before it leaves must not be the events and states of
/// agents, which are synced to the disk.
pub(super) struct StoreJournal {
    store: Store,
    durability: RwLock<Level>,
}

impl StoreJournal {
    pub(super) const fn new(store: Store, durability: Level) -> Self {
        Self {
            store,
            durability: RwLock::new(durability),
        }
    }

    /// Calls survive this from now on, as soon as they leave.
    pub(super) fn set_durability(&self, level: Level) {
        let durability = self.durability.write();
        *durability.unwrap_or_else(PoisonError::into_inner) = level;
    }

    fn durability(&self) -> Level {
        let durability = self.durability.read();
        *durability.unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_end(&self, call: &CallRecord) -> Result<(), StoreError> {
        let Some(end) = &call.end else {
            let detail = format!("call {} has not ended", call.id);
            return Err(StoreError::Invalid(detail));
        };
        let (ended, told) = (rows::ended(call, end), restore::told(&end.settled));
        // A settlement that a power cut takes is made up for at the next start: the call is lost
        // then, and all that was held for it counts.
        let settled = self
            .store
            .settle_llm_call(call.id.0, ended, told, Level::Os)
            .await?;
        match settled {
            Settlement::Written | Settlement::Already => Ok(()),
            Settlement::Unknown => Err(StoreError::Invalid(format!(
                "call {} was never recorded",
                call.id
            ))),
        }
    }
}

impl Journal for StoreJournal {
    fn reserve<'a>(&'a self, call: &'a CallRecord) -> Written<'a> {
        let level = self.durability();
        Box::pin(async move {
            let written = self.store.reserve_llm_call(rows::admitted(call), level);
            written.await.map_err(failed)
        })
    }

    fn settle<'a>(&'a self, call: &'a CallRecord) -> Written<'a> {
        Box::pin(async move { self.write_end(call).await.map_err(failed) })
    }

    fn cached<'a>(&'a self, call: &'a CachedCall) -> Written<'a> {
        Box::pin(async move {
            let (admitted, ended) = rows::cached(call);
            let noted = self.store.note_llm_call(admitted, ended);
            noted.await.map_err(failed)
        })
    }
}

fn failed(error: StoreError) -> JournalError {
    JournalError(Box::new(error))
}

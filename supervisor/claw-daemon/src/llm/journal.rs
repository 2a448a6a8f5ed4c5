//! Keeps calls and their money across the supervisor's own death.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use claw_failpoint::Step;
use claw_gateway::llm::budget::CallId;
use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::{CachedCall, CallRecord, Journal, JournalError, Written};
use claw_store::bus::Level;
use claw_store::llm::{Settlement, Settling};
use claw_store::{Store, StoreError};
use tokio::sync::oneshot;

use super::rows;

/// How long the end of a call waits for others, to be written with them: its agent has the answer
/// already. A supervisor that dies meanwhile takes it for a call under way.
const GATHERING: Duration = Duration::from_millis(10);

/// A store of its own: what a call waits for before it leaves must not be the events and states of
/// agents, which are synced to the disk.
pub(super) struct StoreJournal {
    store: Store,
    durability: RwLock<Level>,
    ends: Arc<Mutex<Ends>>,
}

/// Calls that have ended since the last were written.
#[derive(Default)]
struct Ends {
    calls: Vec<Settling>,
    waiting: Vec<oneshot::Sender<Result<Settlement, StoreError>>>,
}

impl StoreJournal {
    pub(super) fn new(store: Store, durability: Level) -> Self {
        Self {
            store,
            durability: RwLock::new(durability),
            ends: Arc::default(),
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

    /// Writes what has ended, without waiting for more.
    pub(super) async fn write_ends(&self) {
        write_ends(&self.store, &self.ends).await;
    }

    async fn write_end(&self, call: &CallRecord) -> Result<(), StoreError> {
        let Some(end) = &call.end else {
            let detail = format!("call {} has not ended", call.id);
            return Err(StoreError::Invalid(detail));
        };
        let settling = Settling {
            id: call.id.0,
            ended: rows::ended(call, end),
        };
        let (sender, written) = oneshot::channel();
        let first = {
            let mut ends = lock(&self.ends);
            ends.calls.push(settling);
            ends.waiting.push(sender);
            ends.calls.len() == 1
        };
        if first {
            let (store, ends) = (self.store.clone(), Arc::clone(&self.ends));
            tokio::spawn(async move {
                tokio::time::sleep(GATHERING).await;
                write_ends(&store, &ends).await;
            });
        }
        match written.await.map_err(|_ending| StoreError::Closed)?? {
            Settlement::Written | Settlement::Already => Ok(()),
            Settlement::Unknown => Err(StoreError::Invalid(format!(
                "call {} was never recorded",
                call.id
            ))),
        }
    }
}

/// Writes what has ended until then in one transaction.
async fn write_ends(store: &Store, ends: &Mutex<Ends>) {
    let Ends { calls, waiting } = mem::take(&mut *lock(ends));
    if calls.is_empty() {
        return;
    }
    // A settlement that a power cut takes is made up for at the next start: the call is lost
    // then, and all that was held for it counts.
    claw_failpoint::before(Step::Settlement);
    let settled = store.settle_llm_calls(calls, Level::Os).await;
    claw_failpoint::after(Step::Settlement);
    for (place, waiting) in waiting.into_iter().enumerate() {
        let own = match &settled {
            Ok(settled) => settled.get(place).copied().ok_or(StoreError::Closed),
            Err(error) => Err(error.clone()),
        };
        // A call whose task has ended is written all the same.
        drop(waiting.send(own));
    }
}

fn lock(ends: &Mutex<Ends>) -> MutexGuard<'_, Ends> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal for StoreJournal {
    fn reserve<'a>(&'a self, call: &'a CallRecord) -> Written<'a> {
        let level = self.durability();
        Box::pin(async move {
            claw_failpoint::before(Step::Reservation);
            let written = self.store.reserve_llm_call(rows::admitted(call), level);
            written.await.map_err(failed)?;
            claw_failpoint::after(Step::Reservation);
            Ok(())
        })
    }

    fn shrink(&self, call: CallId, held: Money) -> Written<'_> {
        let level = self.durability();
        Box::pin(async move {
            let shrunk = self.store.shrink_llm_call(call.0, held.pico(), level);
            shrunk.await.map_err(failed)
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

//! The handle that everybody holds. What it can do with state is in `state/api.rs`, with events in
//! `bus/api.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::clock::{Clock, UnixMs};
use super::core::{Core, Kind};
use super::error::{OpenError, StoreCloseError, StoreError};
use super::files::DirectoryLock;
use super::limits::CLOSE_TIME;
use super::open::{self, StoreOptions};
use super::queue::{Answer, Job, Queue};
use super::reader::Readers;
use crate::bus::{Level, Seq};
use crate::state::Cache;

/// State and events. Clones share them; when the last one is dropped, what is queued is still
/// written.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(super) queue: Arc<Queue>,
    pub(super) readers: Readers,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) signals: Arc<Signals>,
    pub(super) cache: Arc<Cache>,
    pub(super) ended: Mutex<Receiver<Result<(), StoreCloseError>>>,
    pub(super) _lock: DirectoryLock,
}

/// Who is woken after a commit.
pub(crate) struct Signals {
    /// By group: there may be something to pull.
    work: Mutex<BTreeMap<String, watch::Sender<u64>>>,
    /// Some group may have room again.
    pub(crate) room: watch::Sender<u64>,
    /// The newest event.
    pub(crate) head: watch::Sender<Seq>,
}

impl Store {
    /// Opens the store at `path`, or makes one where there is none, and starts its threads.
    /// Blocks while it checks the file, at most some seconds.
    ///
    /// # Errors
    ///
    /// A file that is damaged, foreign, newer or in use is left as it is.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let shared = Arc::new(open::open(path, options)?);
        let queue = Arc::clone(&shared.queue);
        shared.clock.on_jump(Box::new(move || queue.poke()));
        Ok(Self { shared })
    }

    /// Does now what is due now. Needed only by who moved the clock by hand and wants to see its
    /// effects when the call returns.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn tick(&self) -> Result<(), StoreError> {
        self.write(Level::Os, Kind::Memory, 0, |_core| Ok(())).await
    }

    /// Requests that wait for the writer.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared.queue.depth()
    }

    /// Does and syncs what is queued and ends the store; clones are refused from now on. Blocks,
    /// at most [`CLOSE_TIME`].
    ///
    /// # Errors
    ///
    /// See [`StoreCloseError`].
    pub fn close(self) -> Result<(), StoreCloseError> {
        let ended = self.shared.ended.lock();
        let ended = ended.unwrap_or_else(PoisonError::into_inner);
        self.shared.queue.close();
        match ended.recv_timeout(CLOSE_TIME) {
            Ok(result) => result,
            // Another clone has closed it and has the answer.
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(StoreCloseError::TimedOut),
        }
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.shared.clock.now()
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.shared.signals
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.shared.cache
    }

    /// Has the writer do something and answers when it is as durable as its level demands.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        level: Level,
        kind: Kind,
        weight: usize,
        work: impl FnOnce(&mut Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (waiter, answer) = oneshot::channel();
        let run = move |core: &mut Core| -> Answer {
            let result = core.perform(kind, work);
            Box::new(move |committed| {
                let result = match committed {
                    Err(error) if kind != Kind::Memory => result.and(Err(error.clone())),
                    Ok(()) | Err(_) => result,
                };
                // A waiter that has gone away is nobody's concern.
                drop(waiter.send(result));
            })
        };
        self.shared.queue.offer(Job {
            level,
            kind,
            weight,
            run: Box::new(run),
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Asks something on a connection that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shared.readers.ask(question).await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Signals {
    pub(super) fn new(head: Seq) -> Self {
        Self {
            work: Mutex::default(),
            room: watch::Sender::new(0),
            head: watch::Sender::new(head),
        }
    }

    /// Changes whenever there may be something to pull for a group.
    pub(crate) fn of(&self, group: &str) -> watch::Receiver<u64> {
        let mut work = self.lock();
        if let Some(found) = work.get(group) {
            return found.subscribe();
        }
        let sender = work.entry(group.to_owned()).or_default();
        sender.subscribe()
    }

    pub(super) fn wake(&self, groups: impl IntoIterator<Item = impl AsRef<str>>) {
        let work = self.lock();
        for group in groups {
            if let Some(sender) = work.get(group.as_ref()) {
                sender.send_modify(|count| *count += 1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<u64>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

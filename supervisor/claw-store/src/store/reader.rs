//! Questions, on connections and threads of their own, so that a slow one never stands before a
//! write, nor on a thread that serves agents.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::StoreError;
use super::limits::READS_WAITING;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The reading threads.
pub(crate) struct Readers {
    questions: SyncSender<Question>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (questions, waiting) = sync_channel(READS_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for conn in connections {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name("store-read".into())
                .spawn(move || serve(&conn, &waiting))?;
        }
        Ok(Self { questions })
    }

    /// Answers with one state of the file: everything that was answered before is in it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (waiter, answer) = oneshot::channel();
        let asked = self.questions.try_send(Box::new(move |conn| {
            // A waiter that has gone away is nobody's concern.
            drop(waiter.send(in_one_state(conn, question)));
        }));
        match asked {
            Ok(()) => answer.await.unwrap_or(Err(StoreError::Closed)),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }
}

fn in_one_state<T>(
    conn: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = conn.unchecked_transaction()?;
    let answer = question(&transaction);
    // It has read only; there is nothing to lose.
    drop(transaction);
    answer
}

fn serve(conn: &Connection, waiting: &Mutex<Receiver<Question>>) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match next {
            Ok(question) => question(conn),
            Err(_closed) => return,
        }
    }
}

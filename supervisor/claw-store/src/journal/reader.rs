//! Questions to the journal, on connections and threads of their own, so that a slow one never
//! stands before a write.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use claw_core::{AgentName, Run, RunId};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use tokio::sync::oneshot;

use super::error::ReadError;
use super::idempotency::{self, IdempotencyKey, Remembered};
use super::limits::{READ_ROWS, READS_WAITING};
use super::row::{self, Counts, INSTANCE_COLUMNS, InstanceRow, SlotRow};

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// Answers questions about what is recorded. What was acknowledged before a question is in its
/// answer. Lists are newest first and no longer than [`READ_ROWS`].
#[derive(Clone)]
pub struct Reader {
    questions: SyncSender<Question>,
}

impl Reader {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (questions, waiting) = sync_channel(READS_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for conn in connections {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name("journal-read".into())
                .spawn(move || serve(&conn, &waiting))?;
        }
        Ok(Self { questions })
    }

    /// Runs of an agent, or those accepted before a given one.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn runs(
        &self,
        agent: AgentName,
        limit: u32,
        before: Option<RunId>,
    ) -> Result<Vec<Run>, ReadError> {
        self.ask(move |conn| {
            let sql = "SELECT body FROM run WHERE agent = ?1 AND (?2 IS NULL OR seq <
                (SELECT seq FROM run WHERE id = ?2)) ORDER BY seq DESC LIMIT ?3";
            let before = before.map(|run| run.to_string());
            let values = params![agent.as_str(), before, limit.min(READ_ROWS)];
            rows(conn, sql, values, |row| row::json(row, 0))
        })
        .await
    }

    /// One run.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, ReadError> {
        self.ask(move |conn| {
            conn.prepare_cached("SELECT body FROM run WHERE id = ?1")?
                .query_row([id.to_string()], |row| row::json(row, 0))
                .optional()
        })
        .await
    }

    /// Instances of an agent with how they came up and ended, for `why`.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn outcomes(
        &self,
        agent: AgentName,
        limit: u32,
    ) -> Result<Vec<InstanceRow>, ReadError> {
        self.ask(move |conn| {
            let sql = format!(
                "SELECT {INSTANCE_COLUMNS} FROM instance WHERE agent = ?1
                ORDER BY generation DESC LIMIT ?2"
            );
            let values = params![agent.as_str(), limit.min(READ_ROWS)];
            rows(conn, &sql, values, row::instance)
        })
        .await
    }

    /// Settled slots of an agent's schedule.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn slots(&self, agent: AgentName, limit: u32) -> Result<Vec<SlotRow>, ReadError> {
        self.ask(move |conn| {
            let sql = "SELECT planned, fate, run FROM slot WHERE agent = ?1
                ORDER BY planned DESC LIMIT ?2";
            let values = params![agent.as_str(), limit.min(READ_ROWS)];
            rows(conn, sql, values, row::slot)
        })
        .await
    }

    /// The answer given under an idempotency key.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn remembered(&self, key: IdempotencyKey) -> Result<Option<Remembered>, ReadError> {
        self.ask(move |conn| idempotency::get(conn, &key)).await
    }

    /// How much the journal holds.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn counts(&self) -> Result<Counts, ReadError> {
        self.ask(|conn| {
            let sql = "SELECT (SELECT count(*) FROM agent_memory),
                (SELECT count(*) FROM instance),
                (SELECT count(*) FROM instance WHERE ended_at IS NULL),
                (SELECT count(*) FROM run), (SELECT count(*) FROM run WHERE open = 1),
                (SELECT count(*) FROM slot)";
            let read = |row: &Row<'_>| {
                let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(Counts {
                    agents: count(0)?,
                    instances: count(1)?,
                    open_instances: count(2)?,
                    runs: count(3)?,
                    open_runs: count(4)?,
                    slots: count(5)?,
                })
            };
            conn.prepare_cached(sql)?.query_row([], read)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (waiter, answer) = oneshot::channel();
        let question: Question = Box::new(move |conn| {
            // Whoever asked may have gone away.
            drop(waiter.send(question(conn)));
        });
        match self.questions.try_send(question) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(ReadError::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(ReadError::Closed),
        }
        let answer = answer.await.map_err(|_gone| ReadError::Closed)?;
        answer.map_err(ReadError::from_sqlite)
    }
}

impl ReadError {
    fn from_sqlite(error: rusqlite::Error) -> Self {
        if super::error::is_unreadable(&error) {
            Self::Row(error.to_string())
        } else {
            Self::Sqlite(error)
        }
    }
}

fn serve(conn: &Connection, waiting: &Mutex<Receiver<Question>>) {
    loop {
        let next = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv()
        };
        match next {
            Ok(question) => question(conn),
            Err(_no_reader_left) => return,
        }
    }
}

fn rows<T>(
    conn: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T, rusqlite::Error>,
) -> Result<Vec<T>, rusqlite::Error> {
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map(values, read)?;
    rows.collect()
}

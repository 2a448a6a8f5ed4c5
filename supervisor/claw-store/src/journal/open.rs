//! Opening: look, check, bring up to date, read, and only then start to write.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::JournalError;
use super::files::{self, Found, Log};
use super::handle::Shared;
use super::limits::{
    BUSY_CHECKPOINT_PAGES, BUSY_TIMEOUT, CHECK_TIME, INLINE_CHECKPOINT_PAGES, MEND_AFTER,
    OPEN_BUSY_TIMEOUT, READERS,
};
use super::load::{self, Opened};
use super::mark::{self, Mark};
use super::queue::Queue;
use super::reader::Reader;
use super::retention::Retention;
use super::schema::SCHEMA;
use super::stats::Meters;
use super::sync::{self, AckFn, Acks, SyncFn, SyncQueue, Syncer};
use super::writer::{Disk, Writer};
use crate::database;

/// How to open a journal.
pub struct Options {
    /// Stored with each intent: the boot of the machine, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    fdatasync: SyncFn,
    mend_after: Duration,
}

impl Options {
    /// For the given boot of the machine.
    #[must_use]
    pub fn new(boot_id: impl Into<String>) -> Self {
        Self {
            boot_id: boot_id.into(),
            fdatasync: Box::new(|file| Ok(rustix::fs::fdatasync(file)?)),
            mend_after: MEND_AFTER,
        }
    }

    /// With another time between a failed sync and the attempt to make it good.
    #[must_use]
    pub fn with_mend_after(self, mend_after: Duration) -> Self {
        Self { mend_after, ..self }
    }

    /// With another way to sync, so that a slow or failing disk can be shown.
    #[must_use]
    pub fn with_fdatasync(
        self,
        fdatasync: impl FnMut(&File) -> std::io::Result<()> + Send + 'static,
    ) -> Self {
        Self {
            fdatasync: Box::new(fdatasync),
            ..self
        }
    }
}

pub(super) fn open(
    path: &Path,
    options: Options,
    acks: AckFn,
) -> Result<(Shared, Opened), JournalError> {
    let mut notes = Vec::new();
    let (file, log) = match files::inspect(path)? {
        Found::Journal { file, log } => (file, log),
        Found::Nothing => {
            notes.push(format!("{} is new", path.display()));
            (files::create(path)?, Log::Empty)
        }
    };
    let identity = mark::identity(&file);
    let failed = |doing| move |error| JournalError::from_sqlite(path, doing, error);

    let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    identify(path, &conn)?;
    match (mark::read(&conn, &identity).map_err(failed("read"))?, log) {
        (Mark::Open, Log::Empty) => {
            return Err(JournalError::WalMissing {
                path: path.to_owned(),
                wal: files::wal_of(path),
            });
        }
        (Mark::Copy, Log::Empty) => notes.push(format!(
            "{} is a copy that was made while a supervisor ran; what was recorded later is not in it",
            path.display()
        )),
        (Mark::Closed, Log::Empty | Log::Filled) | (Mark::Open | Mark::Copy, Log::Filled) => {}
    }
    check(path, &conn, &mut notes)?;
    database::use_log(&conn).map_err(failed("write"))?;
    notes.extend(SCHEMA.keep_older(&conn, path));
    SCHEMA
        .migrate(&mut conn)
        .map_err(failed("bring up to date"))?;

    let mut opened = load::load(&conn)
        .map_err(|(doing, error)| JournalError::from_sqlite(path, doing, error))?;
    opened.last_boot_id = mark::last_boot_id(&conn).map_err(failed("read"))?;
    opened.notes = notes;

    mark::set(&mut conn, &identity, &options.boot_id).map_err(failed("write"))?;
    files::sync_directory(path)?;
    sync::checkpoint(&conn, "PASSIVE").map_err(failed("write"))?;
    let retention = Retention::all(opened.memory.keys().cloned());
    let shared = start(path, conn, retention, options, acks)?;
    Ok((shared, opened))
}

pub(super) fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, JournalError> {
    let conn = database::connect(path, mode, OPEN_BUSY_TIMEOUT)
        .map_err(|error| JournalError::from_sqlite(path, "open", error))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Refuses what is not ours or newer than we are, before anything is written.
pub(super) fn identify(path: &Path, conn: &Connection) -> Result<(), JournalError> {
    let failed = |error| JournalError::from_sqlite(path, "read", error);
    let application: i64 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    if application != SCHEMA.application_id {
        return Err(JournalError::NotAJournal {
            path: path.to_owned(),
            detail: "it is an SQLite database of another program".to_owned(),
        });
    }
    let found = database::version_of(conn).map_err(failed)?;
    if found > SCHEMA.known() {
        return Err(JournalError::TooNew {
            path: path.to_owned(),
            found,
            known: SCHEMA.known(),
        });
    }
    Ok(())
}

/// Checks the structure of the database, for a bounded time.
pub(super) fn check(
    path: &Path,
    conn: &Connection,
    notes: &mut Vec<String>,
) -> Result<(), JournalError> {
    match database::quick_check(conn, CHECK_TIME) {
        Ok(problems) if problems.is_empty() => Ok(()),
        Ok(problems) => Err(JournalError::Damaged {
            path: path.to_owned(),
            detail: problems.join("; "),
        }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            notes.push(format!(
                "{} is too big to be checked at start; `PRAGMA quick_check` checks it",
                path.display()
            ));
            Ok(())
        }
        Err(error) => Err(JournalError::from_sqlite(path, "check", error)),
    }
}

fn start(
    path: &Path,
    conn: Connection,
    retention: Retention,
    options: Options,
    acks: AckFn,
) -> Result<Shared, JournalError> {
    let wal_path = files::wal_of(path);
    let wal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&wal_path)
        .map_err(|error| JournalError::from_io(&wal_path, "open", error))?;
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        readers.push(connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
    }
    let sync_conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    for conn in readers.iter().chain([&conn, &sync_conn]) {
        conn.busy_timeout(BUSY_TIMEOUT)
            .map_err(|error| JournalError::from_sqlite(path, "open", error))?;
    }

    let (queue, syncs) = (Arc::new(Queue::default()), Arc::new(SyncQueue::default()));
    let (acks, meters) = (Arc::new(Acks::new(acks)), Arc::new(Meters::default()));
    let (ended, hear_end) = mpsc::channel();
    let syncer = Syncer {
        wishes: Arc::clone(&syncs),
        queue: Arc::clone(&queue),
        acks: Arc::clone(&acks),
        meters: Arc::clone(&meters),
        wal,
        fdatasync: options.fdatasync,
        mend_after: options.mend_after,
        tried: Instant::now(),
        conn: sync_conn,
        ended,
    };
    let writer = Writer {
        conn,
        queue: Arc::clone(&queue),
        syncs: Arc::clone(&syncs),
        acks,
        meters: Arc::clone(&meters),
        boot_id: options.boot_id,
        retention,
        kept: Vec::new(),
        disk: Disk::Writes,
        checkpoint_at: BUSY_CHECKPOINT_PAGES,
        inline_at: INLINE_CHECKPOINT_PAGES,
    };
    let no_thread = |error| JournalError::from_io(path, "start a thread for", error);
    let reader = Reader::start(readers).map_err(no_thread)?;
    spawn("journal-sync", move || syncer.run()).map_err(no_thread)?;
    spawn("journal-write", move || writer.run()).map_err(no_thread)?;
    Ok(Shared {
        queue,
        syncs,
        meters,
        reader,
        ended: Mutex::new(hear_end),
    })
}

/// The threads end with the queue, so nobody joins them.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map(drop)
}

//! Opening: lock, look, check, bring up to date, read, and only then start to write.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::clock::{Clock, SystemClock, UnixMs};
use super::core::Core;
use super::error::OpenError;
use super::files::{self, DirectoryLock};
use super::handle::{Shared, Signals};
use super::limits::{CHECK_TIME, OPEN_BUSY_TIMEOUT, PAGE_CACHE, READERS};
use super::queue::Queue;
use super::reader::Readers;
use super::schema::SCHEMA;
use super::writer::{Log, Writer};
use crate::bus::Bus;
use crate::database;
use crate::journal::limits::MEND_AFTER;
use crate::state::{Cache, KeepPolicy, Spaces};

/// How to open a store.
pub struct StoreOptions {
    /// Tells the time.
    clock: Arc<dyn Clock>,
    /// Begins the sequence of jitter; any number.
    seed: u64,
    events: EventLimits,
    keep: KeepPolicy,
    /// Bytes of pages that each connection keeps in memory.
    page_cache: u32,
    fdatasync: SyncFn,
    mend_after: Duration,
}

/// Bounds of events.
#[derive(Debug, Clone)]
pub struct EventLimits {
    /// The largest event in bytes of data; bigger ones go by `dataref`.
    pub max_bytes: usize,
    /// How long a second event of the same source and id is a duplicate.
    pub dedup_window: Duration,
    /// Settled events are kept this long.
    pub retention_age: Duration,
    /// Settled events are kept up to this many bytes.
    pub retention_bytes: u64,
    /// How long a group without an agent is kept.
    pub orphan_retention: Duration,
    /// How long replicas may take to say what they still do after the store was opened; until
    /// then they keep their leases. Nothing by default: what was in flight is delivered again.
    pub adopt_grace: Duration,
}

impl Default for EventLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            max_bytes: 1024 * 1024,
            dedup_window: Duration::from_secs(600),
            retention_age: 7 * DAY,
            retention_bytes: 2 * 1024 * 1024 * 1024,
            orphan_retention: 7 * DAY,
            adopt_grace: Duration::ZERO,
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            seed: u64::from(std::process::id()),
            events: EventLimits::default(),
            keep: KeepPolicy::default(),
            page_cache: PAGE_CACHE,
            fdatasync: Box::new(|file| Ok(rustix::fs::fdatasync(file)?)),
            mend_after: MEND_AFTER,
        }
    }
}

/// Makes what was written to a file durable.
pub(super) type SyncFn = Box<dyn FnMut(&File) -> std::io::Result<()> + Send>;

impl StoreOptions {
    /// With another clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            ..self
        }
    }

    /// With other bounds of events.
    #[must_use]
    pub fn with_events(self, events: EventLimits) -> Self {
        Self { events, ..self }
    }

    /// With another rule for which versions are kept.
    #[must_use]
    pub fn with_keep(self, keep: KeepPolicy) -> Self {
        Self { keep, ..self }
    }

    /// With another beginning of the sequence of jitter.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// With another bound of the pages that each connection keeps in memory, in bytes.
    #[must_use]
    pub fn with_page_cache(self, page_cache: u32) -> Self {
        Self { page_cache, ..self }
    }

    /// With another time between a failed sync and the attempt to make it good.
    #[must_use]
    pub fn with_mend_after(self, mend_after: Duration) -> Self {
        Self { mend_after, ..self }
    }

    /// With another way to sync, so that a slow or failing disk and a power cut can be shown.
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

pub(super) fn open(path: &Path, options: StoreOptions) -> Result<Shared, OpenError> {
    let lock = DirectoryLock::take(path)?;
    let fresh = !path.exists();
    let mut conn = connect(path, WRITES | CREATE, options.page_cache)?;
    if !fresh {
        identify(path, &conn)?;
        check(path, &conn)?;
    }
    let failed = |doing| move |error: rusqlite::Error| from_sqlite(path, doing, error);
    database::use_log(&conn).map_err(failed("write"))?;
    if let Some(note) = SCHEMA.keep_older(&conn, path) {
        tracing::info!("{note}");
    }
    SCHEMA
        .migrate(&mut conn)
        .map_err(failed("bring up to date"))?;
    files::sync_directory(path).map_err(|error| failed_io(path, "sync the directory of", error))?;

    let now = options.clock.now();
    let core = load(conn, now, &options).map_err(|error| match error {
        LoadError::Sqlite(error) => from_sqlite(path, "read", error),
        LoadError::Damaged(detail) => OpenError::Damaged {
            path: path.to_owned(),
            detail,
        },
    })?;
    start(path, core, options, lock)
}

/// Looks whether the store at `path` could be opened, and changes nothing; `false`: there is none.
/// Blocks while it checks the file, at most some seconds.
///
/// # Errors
///
/// It could not be opened, with the reason that opening it would give.
pub fn verify(path: &Path) -> Result<bool, OpenError> {
    if !path.exists() {
        return Ok(false);
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, PAGE_CACHE)?;
    identify(path, &conn)?;
    check(path, &conn)?;
    Ok(true)
}

const WRITES: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE;
const CREATE: OpenFlags = OpenFlags::SQLITE_OPEN_CREATE;

/// Why what is in the tables could not be taken over.
pub(crate) enum LoadError {
    Sqlite(rusqlite::Error),
    Damaged(String),
}

impl From<rusqlite::Error> for LoadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn load(conn: Connection, now: UnixMs, options: &StoreOptions) -> Result<Core, LoadError> {
    let bus = Bus::load(&conn, now, &options.events, options.seed)?;
    let spaces = Spaces::load(&conn)?;
    Ok(Core {
        conn,
        clock: Arc::clone(&options.clock),
        now,
        bus,
        spaces,
        cache: Arc::new(Cache::default()),
        limits: options.events.clone(),
        keep: options.keep.clone(),
        undo: Vec::new(),
        then: Vec::new(),
        broken: None,
    })
}

fn connect(path: &Path, mode: OpenFlags, page_cache: u32) -> Result<Connection, OpenError> {
    let open = || {
        let conn = database::connect(path, mode, OPEN_BUSY_TIMEOUT)?;
        conn.pragma_update(None, "cache_size", -i64::from(page_cache / 1024))?;
        conn.set_prepared_statement_cache_capacity(128);
        Ok(conn)
    };
    open().map_err(|error| from_sqlite(path, "open", error))
}

/// Refuses what is not ours or newer than we are, before anything is written.
fn identify(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let failed = |error| from_sqlite(path, "read", error);
    let application: i64 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    let found = database::version_of(conn).map_err(failed)?;
    // Both are 0 in a file whose creation was cut short.
    if application != SCHEMA.application_id && (application, found) != (0, 0) {
        return Err(OpenError::NotAStore {
            path: path.to_owned(),
        });
    }
    if found > SCHEMA.known() {
        return Err(OpenError::TooNew {
            path: path.to_owned(),
            found,
            known: SCHEMA.known(),
        });
    }
    Ok(())
}

/// Checks the structure of the database, for a bounded time.
fn check(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    match database::quick_check(conn, CHECK_TIME) {
        Ok(problems) if problems.is_empty() => Ok(()),
        Ok(problems) => Err(OpenError::Damaged {
            path: path.to_owned(),
            detail: problems.join("; "),
        }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::info!(path = %path.display(), "the store is too big to be checked at start");
            Ok(())
        }
        Err(error) => Err(from_sqlite(path, "check", error)),
    }
}

fn start(
    path: &Path,
    core: Core,
    options: StoreOptions,
    lock: DirectoryLock,
) -> Result<Shared, OpenError> {
    let no_thread = |error| failed_io(path, "start a thread for", error);
    let wal_path = files::wal_of(path);
    let wal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&wal_path)
        .map_err(|error| failed_io(&wal_path, "open", error))?;
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        let mode = OpenFlags::SQLITE_OPEN_READ_ONLY;
        readers.push(connect(path, mode, options.page_cache)?);
    }
    let beside = connect(path, WRITES, options.page_cache)?;

    let queue = Arc::new(Queue::default());
    let signals = Arc::new(Signals::new(core.bus.head()));
    let (clock, cache) = (Arc::clone(&core.clock), Arc::clone(&core.cache));
    let (ended, hear_end) = mpsc::channel();
    let log =
        Log::start(wal, (options.fdatasync, options.mend_after), beside).map_err(no_thread)?;
    let writer = Writer::new(core, Arc::clone(&queue), Arc::clone(&signals), log);
    thread::Builder::new()
        .name("store-write".into())
        .spawn(move || {
            let result = writer.run();
            // Nobody hears it when the handles were dropped instead of closed.
            drop(ended.send(result));
        })
        .map_err(no_thread)?;
    Ok(Shared {
        queue,
        readers: Readers::start(readers).map_err(no_thread)?,
        clock,
        signals,
        cache,
        ended: Mutex::new(hear_end),
        _lock: lock,
    })
}

fn from_sqlite(path: &Path, doing: &'static str, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        _ => OpenError::Failed {
            doing,
            path: path.to_owned(),
            source: error.into(),
        },
    }
}

fn failed_io(path: &Path, doing: &'static str, error: std::io::Error) -> OpenError {
    OpenError::Failed {
        doing,
        path: path.to_owned(),
        source: error.into(),
    }
}

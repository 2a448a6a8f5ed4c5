//! The files of a journal, seen from outside: never opened here, because closing a descriptor of
//! the database would drop SQLite's locks on it.

use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::JournalError;
use super::schema::SCHEMA;

/// What lies at the path.
pub(super) enum Found {
    Nothing,
    Journal {
        file: Metadata,
        /// Its log has something in it.
        log: Log,
    },
}

/// The state of a write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// There is none, or it is empty.
    Empty,
    Filled,
}

/// Looks at the path without touching anything.
pub(super) fn inspect(path: &Path) -> Result<Found, JournalError> {
    let log = match metadata(&wal_of(path))? {
        Some(wal) if wal.len() > 0 => Log::Filled,
        Some(_) | None => Log::Empty,
    };
    let Some(file) = metadata(path)? else {
        return match log {
            Log::Empty => Ok(Found::Nothing),
            Log::Filled => Err(JournalError::DatabaseMissing {
                path: path.to_owned(),
                wal: wal_of(path),
            }),
        };
    };
    if !file.is_file() {
        return Err(JournalError::NotAFile {
            path: path.to_owned(),
            what: if file.is_dir() {
                "a directory"
            } else {
                "a device, socket or pipe"
            },
        });
    }
    if file.len() == 0 {
        return Err(JournalError::Damaged {
            path: path.to_owned(),
            detail: "it is empty".to_owned(),
        });
    }
    Ok(Found::Journal { file, log })
}

/// Makes a new journal under another name and gives it its own when it is whole and durable: a
/// file at the path is never half made, so an empty one there is a damaged one.
pub(super) fn create(path: &Path) -> Result<Metadata, JournalError> {
    let fresh = beside(path, ".new");
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(JournalError::from_io(path, "create", error)),
    }
    write_schema(&fresh).map_err(|error| JournalError::from_sqlite(path, "create", error))?;
    fs::rename(&fresh, path).map_err(|error| JournalError::from_io(path, "create", error))?;
    sync_directory(path)?;
    fs::metadata(path).map_err(|error| JournalError::from_io(path, "create", error))
}

/// A rollback journal with full syncs: the file is durable when this returns.
fn write_schema(fresh: &Path) -> Result<(), rusqlite::Error> {
    let mut conn = Connection::open(fresh)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    SCHEMA.migrate(&mut conn)?;
    conn.close().map_err(|(_conn, error)| error)
}

/// Makes the names in the directory of a file durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), JournalError> {
    let failed = |error| JournalError::from_io(path, "sync the directory of", error);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let directory = File::open(directory).map_err(failed)?;
    directory.sync_all().map_err(failed)
}

/// The write-ahead log of a database.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// A file whose name begins like that of `path`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn metadata(path: &Path) -> Result<Option<Metadata>, JournalError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::from_io(path, "look at", error)),
    }
}

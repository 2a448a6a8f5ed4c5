//! What can go wrong, in words that name the file and what to do.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a journal could not be opened. Nothing on disk was changed or replaced.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The path names something that is no file.
    #[error("{} is {what}, not a file; point the data directory somewhere else or move it away", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file or its directory cannot be written.
    #[error("{} cannot be written; check the owner and mode of the file and its directory, and that the file system is not mounted read-only", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The failed step.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no room for it.
    #[error("there is no space left for {}; free some and start again", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a journal: {detail}; `clawctl doctor --fix` keeps it aside and restores the last copy, or move it away, or point the data directory somewhere else", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        detail: String,
    },
    /// The file is broken.
    #[error("{} is damaged: {detail}; `clawctl doctor --fix` keeps it aside and restores the last copy that is whole; to start with an empty history, move it and its -wal and -shm files away", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The database is there and its write-ahead log is not.
    #[error("{wal} is missing or empty, but {path} was not closed cleanly, so what was recorded last is lost; put the -wal file back, or accept the loss with `clawctl doctor --fix`", wal = wal.display(), path = path.display())]
    WalMissing {
        /// The database.
        path: PathBuf,
        /// Its write-ahead log.
        wal: PathBuf,
    },
    /// The write-ahead log is there and its database is not.
    #[error("{} is missing, but {} is there; put the database back, or let `clawctl doctor --fix` restore the last copy; to start with an empty history, move the -wal and -shm files away", path.display(), wal.display())]
    DatabaseMissing {
        /// The database.
        path: PathBuf,
        /// Its write-ahead log.
        wal: PathBuf,
    },
    /// A newer supervisor has written it.
    #[error("{} was written by a newer version (schema {found}, this one knows {known}); install that version again, or restore the backup made before the upgrade", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// Another process holds a lock.
    #[error("{} is locked by another process; stop it (`fuser {}` names it) and start again", path.display(), path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The failed step.
        doing: &'static str,
        /// How.
        #[source]
        source: io::Error,
    },
    /// SQLite failed in another way.
    #[error("cannot {doing} {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The failed step.
        doing: &'static str,
        /// How.
        #[source]
        source: rusqlite::Error,
    },
}

impl JournalError {
    /// Sorts an error of SQLite into what a user can do about it.
    pub(super) fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        if is_unreadable(&source) {
            let detail = format!("cannot {doing} it: {source}");
            return Self::Damaged { path, detail };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotAJournal {
                path,
                detail: "it is not an SQLite database, or its first page is overwritten".into(),
            },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::NotWritable {
                    path,
                    source: Box::new(source),
                }
            }
            _ => Self::Sqlite {
                path,
                doing,
                source,
            },
        }
    }

    /// Sorts an error of the operating system into what a user can do about it.
    pub(super) fn from_io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        let kind = source.kind();
        if kind == io::ErrorKind::StorageFull {
            return Self::DiskFull { path };
        }
        if matches!(
            kind,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            return Self::NotWritable {
                path,
                source: Box::new(source),
            };
        }
        Self::Io {
            path,
            doing,
            source,
        }
    }
}

/// Whether a value in a row does not parse.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    )
}

/// Why a question to the journal has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too many questions wait.
    #[error("too many readers wait for the journal; try again")]
    Busy,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// A row does not parse.
    #[error("a row of the journal cannot be read: {0}")]
    Row(String),
    /// SQLite failed.
    #[error("the journal cannot be read")]
    Sqlite(#[source] rusqlite::Error),
}

/// Why something that was to be written, with somebody waiting, was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// The journal could not take it.
    #[error("the journal could not record it: {0}")]
    Failed(String),
}

/// Why closing was not complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// Something kept the writer from writing for too long.
    #[error("the journal still had {waiting} entries to write when time was up")]
    TimedOut {
        /// Entries not written.
        waiting: usize,
    },
    /// The disk refused.
    #[error("the journal was not closed cleanly: {0}")]
    Failed(String),
}

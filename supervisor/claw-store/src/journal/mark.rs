//! The mark that tells a file that was closed from one whose log is still needed.
//!
//! While the journal is open, the row `open` stands in the database *file*, not only in its log:
//! it is checkpointed right after it is set, and it is deleted, in the log, right before the last
//! checkpoint. So a database file with the mark always has a log that is not empty. If the log is
//! missing, somebody deleted it, and what was recorded last with it; SQLite itself would open such
//! a file without a word.
//!
//! The mark names the file by its inode and birth, so that a copy made while the supervisor ran (a
//! backup) is not mistaken for a file that lost its log.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, OptionalExtension};

/// What the mark says about a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It was closed, or is new.
    Closed,
    /// It was not closed; its log is needed.
    Open,
    /// It is a copy of a file that was open at that time.
    Copy,
}

/// What tells a file from its copies.
pub(super) fn identity(file: &Metadata) -> String {
    let born = file.created().ok();
    let since = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let micros = since.map_or(0, |since| since.as_micros());
    format!("{}:{micros}", file.ino())
}

/// Reads the mark.
pub(super) fn read(conn: &Connection, identity: &str) -> Result<Mark, rusqlite::Error> {
    let sql = "SELECT value FROM meta WHERE key = 'open'";
    let found: Option<String> = conn.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(match found {
        None => Mark::Closed,
        Some(found) if found == identity => Mark::Open,
        Some(_) => Mark::Copy,
    })
}

/// Sets the mark, and the boot that it was set in.
pub(super) fn set(
    conn: &mut Connection,
    identity: &str,
    boot_id: &str,
) -> Result<(), rusqlite::Error> {
    let transaction = conn.transaction()?;
    for (key, value) in [("open", identity), ("boot_id", boot_id)] {
        transaction.execute(PUT, [key, value])?;
    }
    transaction.commit()
}

/// Deletes the mark.
pub(super) fn clear(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.execute("DELETE FROM meta WHERE key = 'open'", [])
        .map(drop)
}

/// Writes something of no meaning, so that this commit and no other pays for starting the log over.
pub(super) fn touch(conn: &Connection) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO meta (key, value) VALUES ('touched', '1')
        ON CONFLICT (key) DO UPDATE SET value = value + 1";
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

/// The boot in which the journal was opened last.
pub(super) fn last_boot_id(conn: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let sql = "SELECT value FROM meta WHERE key = 'boot_id'";
    conn.query_row(sql, [], |row| row.get(0)).optional()
}

const PUT: &str = "INSERT INTO meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

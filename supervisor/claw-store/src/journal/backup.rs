//! Copies of a journal, made while it is in use, and the way back to one.
//!
//! A copy is one file without a log. It is written beside its name, synced and renamed, so one that
//! is there is whole. A journal that was restored from it opens with a note that says so.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use claw_core::Wall;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use rusqlite::OpenFlags;

use super::error::JournalError;
use super::files::{self, Found, Log};
use super::mark::{self, Mark};
use super::{load, open};
use crate::database;

/// Copies that are kept whatever their age.
const NEWEST: usize = 3;

/// Days of which the last copy is kept.
const DAYS: usize = 3;

/// In UTC, so that names sort by age.
const NAME: &str = "journal-%Y%m%dT%H%M%SZ.db";

/// A copy of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The file.
    pub path: PathBuf,
    /// When it was made, to the second.
    pub at: Wall,
}

/// Copies the journal at `path` into `directory`, which is made (mode 0700) where it is missing, and
/// removes copies that have become too many: the last three stay, and the last of each of the last
/// three days that have one.
///
/// Blocks for as long as it takes to read the journal and to sync the copy.
///
/// # Errors
///
/// The journal cannot be read, or the copy cannot be written; the copies before are untouched then.
pub fn back_up(path: &Path, directory: &Path, at: Wall) -> Result<Backup, JournalError> {
    let io = |error| JournalError::from_io(directory, "write a copy of the journal to", error);
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    made.map_err(io)?;
    let name = strtime::format(NAME, &at.to_zoned(TimeZone::UTC));
    let name = name.expect("every part of the name is one of a time in UTC");
    let backup = directory.join(&name);
    let fresh = directory.join(format!(".{name}.new"));
    remove(&fresh).map_err(io)?;
    let conn = open::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    open::identify(path, &conn)?;
    database::copy(&conn, &fresh)
        .map_err(|error| JournalError::from_sqlite(path, "copy", error))?;
    drop(conn);
    fs::set_permissions(&fresh, Permissions::from_mode(0o600)).map_err(io)?;
    File::open(&fresh)
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    fs::rename(&fresh, &backup).map_err(io)?;
    files::sync_directory(&backup)?;
    let found = backups(directory);
    for old in superfluous(&found) {
        // One that cannot be removed is tried again after the next copy.
        remove(&old.path).ok();
    }
    Ok(Backup { path: backup, at })
}

/// The copies in a directory, the newest first; none where it cannot be read.
#[must_use]
pub fn backups(directory: &Path) -> Vec<Backup> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<Backup> = entries
        .flatten()
        .filter_map(|entry| {
            let at = strtime::parse(NAME, entry.file_name().as_encoded_bytes()).ok()?;
            let at = at.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?;
            let (path, at) = (entry.path(), at.timestamp());
            Some(Backup { path, at })
        })
        .collect();
    found.sort_by_key(|backup| Reverse(backup.at));
    found
}

/// Looks whether the journal at `path`, or a copy of one, could be opened, and changes nothing.
/// `false`: there is none. Blocks while it checks the file, at most some seconds.
///
/// # Errors
///
/// It could not be opened, with the reason that opening it would give.
pub fn verify(path: &Path) -> Result<bool, JournalError> {
    let (file, log) = match files::inspect(path)? {
        Found::Nothing => return Ok(false),
        Found::Journal { file, log } => (file, log),
    };
    let conn = open::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    open::identify(path, &conn)?;
    let failed = |doing| move |error| JournalError::from_sqlite(path, doing, error);
    let mark = mark::read(&conn, &mark::identity(&file)).map_err(failed("read"))?;
    if (mark, log) == (Mark::Open, Log::Empty) {
        let (path, wal) = (path.to_owned(), files::wal_of(path));
        return Err(JournalError::WalMissing { path, wal });
    }
    open::check(path, &conn, &mut Vec::new())?;
    load::load(&conn).map_err(|(doing, error)| failed(doing)(error))?;
    Ok(true)
}

/// Puts a copy in the place of the journal at `path`, and what was there into `aside`, a directory
/// that is made. Nobody may have the journal open.
///
/// # Errors
///
/// A file cannot be moved or copied. What was moved by then lies in `aside`.
pub fn restore(path: &Path, backup: &Backup, aside: &Path) -> Result<(), JournalError> {
    set_aside(path, aside)?;
    let io = |error| JournalError::from_io(path, "restore", error);
    let fresh = files::beside(path, ".restored");
    fs::copy(&backup.path, &fresh).map_err(io)?;
    File::open(&fresh)
        .and_then(|file| file.sync_all())
        .map_err(io)?;
    fs::rename(&fresh, path).map_err(io)?;
    files::sync_directory(path)
}

/// Accepts that the log of the journal at `path` is lost, and with it what was recorded last: the
/// file alone is the journal from now on. A copy of it stays in `aside`, a directory that is made.
/// Nobody may have the journal open.
///
/// # Errors
///
/// The copy or the journal cannot be written.
pub fn accept_lost_log(path: &Path, aside: &Path) -> Result<(), JournalError> {
    let io = |error| JournalError::from_io(aside, "copy the journal to", error);
    fs::create_dir_all(aside).map_err(io)?;
    fs::copy(path, aside.join(path.file_name().unwrap_or_default())).map_err(io)?;
    let conn = open::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    open::identify(path, &conn)?;
    mark::clear(&conn)
        .and_then(|()| super::checkpoint(&conn, "TRUNCATE").map(drop))
        .map_err(|error| JournalError::from_sqlite(path, "write", error))
}

fn set_aside(path: &Path, aside: &Path) -> Result<(), JournalError> {
    let io = |error| JournalError::from_io(path, "move aside", error);
    fs::create_dir_all(aside).map_err(io)?;
    for suffix in ["-shm", "-wal", ""] {
        let from = files::beside(path, suffix);
        let Some(name) = from.file_name() else {
            continue;
        };
        match fs::rename(&from, aside.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn superfluous(newest_first: &[Backup]) -> impl Iterator<Item = &Backup> {
    let mut days = BTreeSet::new();
    newest_first
        .iter()
        .enumerate()
        .filter_map(move |(nth, backup)| {
            let day = backup.at.to_zoned(TimeZone::UTC).date();
            let last_of_its_day = days.insert(day) && days.len() <= DAYS;
            (nth >= NEWEST && !last_of_its_day).then_some(backup)
        })
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(at: &[&str]) -> Vec<Backup> {
        let backup = |at: &&str| Backup {
            path: PathBuf::from(*at),
            at: at.parse().unwrap(),
        };
        at.iter().map(backup).collect()
    }

    #[test]
    fn three_copies_stay_and_the_last_of_each_of_three_days() {
        let found = copies(&[
            "2026-11-22T10:00:00Z",
            "2026-11-22T09:00:00Z",
            "2026-11-22T08:00:00Z",
            "2026-11-22T07:00:00Z",
            "2026-11-21T23:00:00Z",
            "2026-11-21T22:00:00Z",
            "2026-11-19T05:00:00Z",
            "2026-11-18T05:00:00Z",
        ]);
        let gone: Vec<_> = superfluous(&found).map(|backup| &backup.path).collect();
        let expected = [&found[3], &found[5], &found[7]].map(|backup| &backup.path);
        assert_eq!(gone, expected);
    }

    #[test]
    fn only_copies_are_found_and_the_newest_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "journal-20261122T080000Z.db",
            "journal-20261122T100000Z.db",
            ".journal-20261122T110000Z.db.new",
            "journal-soon.db",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found = backups(directory.path());
        let times: Vec<_> = found.iter().map(|backup| backup.at.to_string()).collect();
        assert_eq!(times, ["2026-11-22T10:00:00Z", "2026-11-22T08:00:00Z"]);
        assert_eq!(backups(&directory.path().join("none")), []);
    }
}

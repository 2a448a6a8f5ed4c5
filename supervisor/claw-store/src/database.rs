//! What the journal and the store do alike with their files of SQLite.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::journal::limits::CHECK_PROBLEMS;

/// The tables of a file, and how older files come to have them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    /// Marks a file as ours (`PRAGMA application_id`).
    pub(crate) application_id: i64,
    /// Steps in order; step n leads from version n to n + 1. A released step is never edited.
    pub(crate) steps: &'static [&'static str],
}

impl Schema {
    /// The version that this program writes.
    pub(crate) const fn known(&self) -> i64 {
        self.steps.len() as i64
    }

    /// Keeps a copy of an older file, as `NAME.vVERSION` beside it, for whoever goes back to the
    /// version that wrote it: a migrated file is refused there. Says so, or why there is none.
    pub(crate) fn keep_older(&self, conn: &Connection, path: &Path) -> Option<String> {
        let version = version_of(conn).ok()?;
        if version == 0 || version >= self.known() {
            return None;
        }
        let mut kept = path.as_os_str().to_owned();
        kept.push(format!(".v{version}"));
        let kept = Path::new(&kept);
        if kept.exists() {
            return None;
        }
        Some(match copy(conn, kept) {
            Ok(()) => format!(
                "{} is brought up to date; as it was, it is kept as {}",
                path.display(),
                kept.display()
            ),
            Err(error) => format!(
                "{} is brought up to date, and could not be kept as it was: {error}",
                path.display()
            ),
        })
    }

    /// Brings a file to the known version, each step with its number in one transaction.
    pub(crate) fn migrate(&self, conn: &mut Connection) -> Result<(), rusqlite::Error> {
        for (version, step) in (1_i64..).zip(self.steps) {
            let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if version_of(&transaction)? < version {
                transaction.execute_batch(step)?;
                transaction.pragma_update(None, "application_id", self.application_id)?;
                transaction.pragma_update(None, "user_version", version)?;
            }
            transaction.commit()?;
        }
        Ok(())
    }
}

/// The version of the schema in a file.
pub(crate) fn version_of(conn: &Connection) -> Result<i64, rusqlite::Error> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Has a database keep a write-ahead log: a new file and a copy of one are in rollback mode, and
/// SQLite keeps the mode in the file. It answers with the new mode before that is in the file
/// (<https://www.sqlite.org/pragma.html#pragma_journal_mode>), so it is asked once more, when it has
/// read the file.
pub(crate) fn use_log(conn: &Connection) -> Result<(), rusqlite::Error> {
    let answer = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    conn.pragma_update_and_check(None, "journal_mode", "WAL", answer)?;
    version_of(conn)?;
    let mode = conn.pragma_query_value(None, "journal_mode", answer)?;
    if mode == "wal" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
    let detail = format!("no write-ahead log can be had, it stays in the mode `{mode}`");
    Err(rusqlite::Error::SqliteFailure(code, Some(detail)))
}

/// Writes what a connection sees to a file that is not there yet. It reads in one transaction, so
/// the copy is of one moment, however long it takes
/// (<https://www.sqlite.org/lang_vacuum.html#vacuuminto>).
pub(crate) fn copy(conn: &Connection, to: &Path) -> Result<(), rusqlite::Error> {
    let to = to.to_str().ok_or(rusqlite::Error::InvalidPath(to.into()))?;
    conn.execute("VACUUM INTO ?1", [to]).map(drop)
}

/// A connection that never checkpoints behind our back: neither after a commit nor when it is
/// closed, which would delete the log too.
pub(crate) fn connect(
    path: &Path,
    mode: OpenFlags,
    busy_timeout: Duration,
) -> Result<Connection, rusqlite::Error> {
    let conn = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.busy_timeout(busy_timeout)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

/// What is wrong with the structure of a file, as far as it is seen in the given time.
pub(crate) fn quick_check(
    conn: &Connection,
    bound: Duration,
) -> Result<Vec<String>, rusqlite::Error> {
    let interrupt = conn.get_interrupt_handle();
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = move || match wait.recv_timeout(bound) {
            Err(RecvTimeoutError::Timeout) => interrupt.interrupt(),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
        };
        // Where there is no room for another thread, it takes as long as it takes.
        let watching = thread::Builder::new().spawn_scoped(scope, watch);
        let result = problems(conn);
        drop((done, watching));
        result
    })
}

fn problems(conn: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut query = conn.prepare(&format!("PRAGMA quick_check({CHECK_PROBLEMS})"))?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    let lines = rows.filter(|line| line.as_ref().map_or(true, |line| line != "ok"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(steps: &'static [&'static str]) -> Schema {
        Schema {
            application_id: 1,
            steps,
        }
    }

    #[test]
    fn an_empty_database_becomes_the_known_version_and_stays() {
        let mut conn = Connection::open_in_memory().unwrap();
        let schema = schema(&["CREATE TABLE a (x)", "CREATE TABLE b (x)"]);
        schema.migrate(&mut conn).unwrap();
        schema.migrate(&mut conn).unwrap();
        assert_eq!(version_of(&conn).unwrap(), schema.known());
        conn.execute_batch("SELECT * FROM a, b").unwrap();
    }

    #[test]
    fn only_the_missing_steps_run() {
        let mut conn = Connection::open_in_memory().unwrap();
        schema(&["CREATE TABLE a (x)"]).migrate(&mut conn).unwrap();
        let newer = schema(&["not SQL", "CREATE TABLE b (x)"]);
        newer.migrate(&mut conn).unwrap();
        conn.execute_batch("SELECT * FROM a, b").unwrap();
        assert_eq!(version_of(&conn).unwrap(), 2);
    }

    #[test]
    fn an_older_file_is_kept_as_it_was_and_a_new_or_known_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let mut conn = Connection::open(&path).unwrap();
        let (old, new) = (
            schema(&["CREATE TABLE a (x)"]),
            schema(&["CREATE TABLE a (x)", "DROP TABLE a"]),
        );
        assert_eq!(old.keep_older(&conn, &path), None);
        old.migrate(&mut conn).unwrap();
        assert_eq!(old.keep_older(&conn, &path), None);
        conn.execute_batch("INSERT INTO a VALUES (7)").unwrap();

        let said = new.keep_older(&conn, &path).unwrap();
        assert!(said.contains("a.db.v1"), "{said}");
        new.migrate(&mut conn).unwrap();
        let kept = Connection::open(directory.path().join("a.db.v1")).unwrap();
        let seven: i64 = kept
            .query_row("SELECT x FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!((seven, version_of(&kept).unwrap()), (7, 1));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken = schema(&["CREATE TABLE a (x); CREATE TABLE a (x)"]);
        broken.migrate(&mut conn).unwrap_err();
        assert_eq!(version_of(&conn).unwrap(), 0);
        conn.execute_batch("CREATE TABLE a (x)").unwrap();
    }

    #[test]
    fn a_database_that_gets_no_log_is_refused() {
        let refused = use_log(&Connection::open_in_memory().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("mode `memory`"), "{refused}");
    }
}

//! The tables, and how older files come to have them.

use rusqlite::{Connection, TransactionBehavior};

/// Marks an SQLite file as ours (`PRAGMA application_id`): "claw".
pub(super) const APPLICATION_ID: i64 = 0x636c_6177;

/// Steps in order; step n leads from version n to n + 1. A released step is never edited.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// The version of the schema that this program writes.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Brings a database to [`KNOWN`], each step with its number in one transaction.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), rusqlite::Error> {
    migrate_with(conn, MIGRATIONS)
}

fn migrate_with(conn: &mut Connection, steps: &[&str]) -> Result<(), rusqlite::Error> {
    for (version, step) in (1_i64..).zip(steps) {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version_of(&transaction)? < version {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

/// The version of the schema in a database.
pub(super) fn version_of(conn: &Connection) -> Result<i64, rusqlite::Error> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_database_becomes_the_known_version_and_stays() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn).unwrap();
        migrate(&mut conn).unwrap();
        assert_eq!(version_of(&conn).unwrap(), KNOWN);
    }

    #[test]
    fn only_the_missing_steps_run() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate_with(&mut conn, &["CREATE TABLE a (x)"]).unwrap();
        migrate_with(&mut conn, &["not SQL", "CREATE TABLE b (x)"]).unwrap();
        conn.execute_batch("SELECT * FROM a, b").unwrap();
        assert_eq!(version_of(&conn).unwrap(), 2);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate_with(&mut conn, &["CREATE TABLE a (x); CREATE TABLE a (x)"]).unwrap_err();
        assert_eq!(version_of(&conn).unwrap(), 0);
        conn.execute_batch("CREATE TABLE a (x)").unwrap();
    }
}

//! The tables, and how older files come to have them.

use rusqlite::{Connection, TransactionBehavior};

/// Marks an SQLite file as ours (`PRAGMA application_id`): "clws".
pub(super) const APPLICATION_ID: i64 = 0x636c_7773;

/// Steps in order; step n leads from version n to n + 1. A released step is never edited.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// The version of the schema that this program writes.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Brings a database to [`KNOWN`], each step with its number in one transaction.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), rusqlite::Error> {
    for (version, step) in (1_i64..).zip(MIGRATIONS) {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version_of(&transaction)? < version {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
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

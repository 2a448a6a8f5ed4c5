//! The configurations that were in force.

use claw_core::Wall;
use rusqlite::{Connection, OptionalExtension, params};

use super::time;

/// A validated configuration as it was put in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigGeneration {
    /// Counts up with each configuration; recording the same one again replaces it.
    pub generation: u64,
    /// The hash of its text.
    pub hash: String,
    /// When it was put in force.
    pub at: Wall,
    /// The text as it was read.
    pub text: String,
}

/// Writes one.
pub(super) fn put(conn: &Connection, config: &ConfigGeneration) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO config (generation, hash, at, text) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (generation) DO UPDATE
        SET hash = excluded.hash, at = excluded.at, text = excluded.text";
    let generation = i64::try_from(config.generation).unwrap_or(i64::MAX);
    let at = time::to_column(config.at);
    conn.prepare_cached(sql)?
        .execute(params![generation, config.hash, at, config.text])?;
    Ok(())
}

/// The one in force last.
pub(super) fn last(conn: &Connection) -> Result<Option<ConfigGeneration>, rusqlite::Error> {
    let sql = "SELECT generation, hash, at, text FROM config ORDER BY generation DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(ConfigGeneration {
            generation: row.get::<_, i64>(0)?.unsigned_abs(),
            hash: row.get(1)?,
            at: time::from_column(row.get(2)?)?,
            text: row.get(3)?,
        })
    };
    conn.prepare_cached(sql)?.query_row([], read).optional()
}

//! Answers that were given under an idempotency key, so that a repeated request gets them again.

use claw_core::Wall;
use rusqlite::{Connection, OptionalExtension, params};

use super::time;

/// What a repeated request is recognised by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdempotencyKey {
    /// Where the key counts: a part of the API.
    pub scope: String,
    /// The key that the client chose.
    pub key: String,
}

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Under which key.
    pub key: IdempotencyKey,
    /// The hash of the request; another request under the same key is a mistake of the client.
    pub request_hash: String,
    /// The answer; empty of a request that has none yet.
    pub response: String,
    /// When it was given; it is forgotten a day later.
    pub at: Wall,
}

/// Remembers an answer unless there is one; returns the one there was.
pub(super) fn put(
    conn: &Connection,
    new: &Remembered,
) -> Result<Option<Remembered>, rusqlite::Error> {
    let sql = "INSERT INTO idempotency (scope, key, request_hash, response, at)
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (scope, key) DO NOTHING";
    let at = time::to_column(new.at);
    let IdempotencyKey { scope, key } = &new.key;
    let inserted = conn.prepare_cached(sql)?.execute(params![
        scope,
        key,
        new.request_hash,
        new.response,
        at
    ])?;
    match inserted {
        0 => get(conn, &new.key),
        _ => Ok(None),
    }
}

/// The answer under a key, if it is remembered.
pub(super) fn get(
    conn: &Connection,
    key: &IdempotencyKey,
) -> Result<Option<Remembered>, rusqlite::Error> {
    let sql = "SELECT request_hash, response, at FROM idempotency WHERE scope = ?1 AND key = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Remembered {
            key: key.clone(),
            request_hash: row.get(0)?,
            response: row.get(1)?,
            at: time::from_column(row.get(2)?)?,
        })
    };
    conn.prepare_cached(sql)?
        .query_row([&key.scope, &key.key], read)
        .optional()
}

//! Events as rows.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::event::{Attributes, Event, Seq, SharedEvent};
use super::group::GroupConfig;
use crate::store::{StoreError, UnixMs};

/// The columns of an event, in the order that [`event`] reads them.
pub(super) const COLUMNS: &str = "seq, id, source, topic, key, at, expires, attrs, data";

/// The same without the data, to look at many.
pub(super) const BRIEF: &str = "seq, id, source, topic, key, at, expires, attrs, x''";

/// The columns that groups need to open events: the data only where a field of it is their key.
pub(super) fn columns_for<'g>(groups: impl IntoIterator<Item = &'g GroupConfig>) -> &'static str {
    let by_field = groups.into_iter().any(|group| group.key.is_some());
    if by_field { COLUMNS } else { BRIEF }
}

pub(super) fn event(row: &Row<'_>, first: usize) -> Result<Event, rusqlite::Error> {
    let attrs: Option<String> = row.get(first + 7)?;
    let attributes = match attrs {
        None => Attributes::default(),
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(first + 7, Type::Text, error.into())
        })?,
    };
    Ok(Event {
        seq: number(row.get(first)?),
        id: row.get(first + 1)?,
        source: row.get(first + 2)?,
        topic: row.get(first + 3)?,
        key: row.get(first + 4)?,
        at: UnixMs(row.get(first + 5)?),
        expires: row.get::<_, Option<i64>>(first + 6)?.map(UnixMs),
        attributes,
        data: row.get(first + 8)?,
    })
}

/// The attributes as a column; nothing where there are none.
pub(super) fn attributes(attributes: &Attributes) -> Result<Option<String>, StoreError> {
    if *attributes == Attributes::default() {
        return Ok(None);
    }
    let text = serde_json::to_string(attributes);
    text.map(Some)
        .map_err(|error| StoreError::Invalid(format!("attributes cannot be written: {error}")))
}

pub(super) fn one(conn: &Connection, seq: Seq) -> Result<Option<SharedEvent>, StoreError> {
    let sql = "SELECT seq, id, source, topic, key, at, expires, attrs, data FROM event
        WHERE seq = ?1";
    let found = conn
        .prepare_cached(sql)?
        .query_row([column(seq)], |row| event(row, 0))
        .optional()?;
    Ok(found.map(Arc::new))
}

/// Shows every event between two numbers, both included, without its data.
pub(super) fn each_brief(
    conn: &Connection,
    from: Seq,
    to: Seq,
    see: impl FnMut(Event),
) -> Result<(), rusqlite::Error> {
    each(conn, BRIEF, (from, to), see)
}

/// Shows every event between two numbers, both included, with these columns.
pub(super) fn each(
    conn: &Connection,
    columns: &str,
    (from, to): (Seq, Seq),
    mut see: impl FnMut(Event),
) -> Result<(), rusqlite::Error> {
    let sql = format!("SELECT {columns} FROM event WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq");
    let mut query = conn.prepare_cached(&sql)?;
    let mut rows = query.query([column(from), column(to)])?;
    while let Some(row) = rows.next()? {
        see(event(row, 0)?);
    }
    Ok(())
}

/// A number of ours in a column; SQLite's are signed.
pub(crate) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn number(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

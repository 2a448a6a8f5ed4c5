//! What all calls have used, those included that are forgotten. It never falls.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, Params, Row, params};

use super::model::{Tokens, TotalRow};
use super::read::{sum, sums, tokens};
use super::write::column;
use crate::bus::number;

/// What is kept of calls and of what is forgotten.
pub(super) fn totals(conn: &Connection) -> Result<Vec<TotalRow>, rusqlite::Error> {
    let forgotten = "SELECT agent, provider, model_id, calls, input, cache_read, cache_write_5m,
        cache_write_1h, output, reasoning, searches, spent FROM llm_total";
    let mut query = conn.prepare_cached(forgotten)?;
    let forgotten = query.query_map([], total)?;
    let mut totals = BTreeMap::new();
    for row in forgotten {
        add(&mut totals, row?);
    }
    for row in summed(conn, "true", [])? {
        add(&mut totals, row);
    }
    Ok(totals.into_values().collect())
}

/// Keeps what calls have used that are about to be forgotten.
pub(super) fn keep(
    conn: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<(), rusqlite::Error> {
    for row in summed(conn, condition, params)? {
        book(conn, row)?;
    }
    Ok(())
}

/// Adds to what is kept beside the calls themselves.
pub(super) fn book(conn: &Connection, more: TotalRow) -> Result<(), rusqlite::Error> {
    let sql = "SELECT agent, provider, model_id, calls, input, cache_read, cache_write_5m,
        cache_write_1h, output, reasoning, searches, spent FROM llm_total
        WHERE agent = ?1 AND provider = ?2 AND model_id = ?3";
    let key = params![more.agent, more.provider, more.model_id];
    let mut query = conn.prepare_cached(sql)?;
    let before = query.query_map(key, total)?;
    let mut totals = BTreeMap::new();
    for row in before {
        add(&mut totals, row?);
    }
    add(&mut totals, more);
    let sql = "INSERT OR REPLACE INTO llm_total
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    for row in totals.into_values() {
        let Tokens {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            searches,
        } = row.tokens;
        conn.prepare_cached(sql)?.execute(params![
            row.agent,
            row.provider,
            row.model_id,
            column(row.calls),
            column(input),
            column(cache_read),
            column(cache_write_5m),
            column(cache_write_1h),
            column(output),
            column(reasoning),
            column(searches),
            row.spent,
        ])?;
    }
    Ok(())
}

type Totals = BTreeMap<(String, String, String), TotalRow>;

fn add(totals: &mut Totals, row: TotalRow) {
    let key = (
        row.agent.clone(),
        row.provider.clone(),
        row.model_id.clone(),
    );
    match totals.entry(key) {
        Entry::Vacant(place) => {
            place.insert(row);
        }
        Entry::Occupied(mut place) => {
            let known = place.get_mut();
            known.calls = known.calls.saturating_add(row.calls);
            known.tokens = known.tokens.plus(&row.tokens);
            known.spent = known.spent.saturating_add(row.spent);
        }
    }
}

fn total(row: &Row<'_>) -> Result<TotalRow, rusqlite::Error> {
    Ok(TotalRow {
        agent: row.get(0)?,
        provider: row.get(1)?,
        model_id: row.get(2)?,
        calls: number(row.get(3)?),
        tokens: tokens(|index| row.get(4 + index).map(number))?,
        spent: row.get(11)?,
    })
}

/// The sums over calls.
fn summed(
    conn: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<Vec<TotalRow>, rusqlite::Error> {
    let sql = format!(
        "SELECT agent, provider, model_id, count(*), {} FROM llm_call WHERE {condition}
        GROUP BY agent, provider, model_id",
        sums()
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map(params, |row| {
        let sum = |index: usize| sum(row, 4 + 2 * index);
        Ok(TotalRow {
            agent: row.get(0)?,
            provider: row.get(1)?,
            model_id: row.get(2)?,
            calls: number(row.get(3)?),
            tokens: tokens(|index| sum(index).map(number))?,
            spent: sum(7)?,
        })
    })?;
    rows.collect()
}

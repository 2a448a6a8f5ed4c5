//! What is asked.

use std::cmp::Reverse;

use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::model::{
    Admitted, CallFilter, CallRow, EndedCall, Period, Restored, Tokens, Told, USAGE_ROWS,
    Uncertain, UsageBy, UsageRow, WindowKey, WindowRow,
};
use super::write::{KEPT_SINCE, LAST_ID, column, date, uncorrected};
use crate::bus::number;
use crate::store::UnixMs;
use crate::store::limits::CHORE_ROWS;

const ADMITTED: &str = "id, admitted_at, day, agent, run, provider, model, model_id, held,
    estimate, rates, clamped, request_hash";

const ENDED: &str = "outcome, spent, uncertain, input, cache_read, cache_write_5m, cache_write_1h,
    output, reasoning, searches, model_served, status, attempts, started_at, first_byte_at,
    ended_at";

/// All of it as of one moment: readers answer each question within a transaction.
pub(super) fn restore(conn: &Connection) -> Result<Restored, rusqlite::Error> {
    Ok(Restored {
        windows: windows(conn)?,
        in_flight: in_flight(conn)?,
        uncertain: uncertain(conn)?,
        last_id: last_id(conn)?,
        kept_since: kept_since(conn)?,
    })
}

fn windows(conn: &Connection) -> Result<Vec<WindowRow>, rusqlite::Error> {
    let sql = "SELECT scope, period, start, settled, uncertain, told FROM llm_window";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], |row| {
        let scope: String = row.get(0)?;
        Ok(WindowRow {
            key: WindowKey {
                agent: Some(scope).filter(|agent| !agent.is_empty()),
                period: match row.get(1)? {
                    0 => Period::Day,
                    1 => Period::Month,
                    other => return Err(unreadable(1, other)),
                },
                start: date(row, 2)?,
            },
            settled: row.get(3)?,
            uncertain: row.get(4)?,
            told: match row.get(5)? {
                0 => Told::Nothing,
                1 => Told::Nearing,
                2 => Told::Reached,
                other => return Err(unreadable(5, other)),
            },
        })
    })?;
    rows.collect()
}

fn unreadable(index: usize, number: i64) -> rusqlite::Error {
    let detail = format!("{number} means nothing here");
    rusqlite::Error::FromSqlConversionFailure(index, Type::Integer, detail.into())
}

fn in_flight(conn: &Connection) -> Result<Vec<Admitted>, rusqlite::Error> {
    let sql = format!("SELECT {ADMITTED} FROM llm_hold ORDER BY id");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map([], admitted)?;
    rows.collect()
}

fn uncertain(conn: &Connection) -> Result<Vec<Uncertain>, rusqlite::Error> {
    let sql = "SELECT id, agent, day, spent, uncertain, corrected FROM llm_call
        WHERE uncertain > 0 ORDER BY id";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], |row| {
        let agent: String = row.get(1)?;
        let windows = uncorrected(&agent, date(row, 2)?, row.get(5)?);
        Ok(Uncertain {
            id: number(row.get(0)?),
            windows: windows.collect(),
            spent: row.get(3)?,
            uncertain: row.get(4)?,
        })
    })?;
    rows.collect()
}

fn last_id(conn: &Connection) -> Result<u64, rusqlite::Error> {
    let sql = "SELECT max(ifnull((SELECT max(id) FROM llm_call), 0),
        ifnull((SELECT max(id) FROM llm_hold), 0),
        ifnull((SELECT value FROM meta WHERE key = ?1), 0))";
    let id = conn
        .prepare_cached(sql)?
        .query_row([LAST_ID], |row| row.get(0))?;
    Ok(number(id))
}

fn kept_since(conn: &Connection) -> Result<Option<jiff::civil::Date>, rusqlite::Error> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    let mut query = conn.prepare_cached(sql)?;
    query.query_row([KEPT_SINCE], |row| date(row, 0)).optional()
}

/// A page of calls, from where they ended and from where they are in flight. A few rows of each are
/// read, and not all of both: SQLite would sort them all.
pub(super) fn calls(
    conn: &Connection,
    filter: &CallFilter,
) -> Result<Vec<CallRow>, rusqlite::Error> {
    let ended_too = format!("{ADMITTED}, {ENDED}");
    let mut calls = page(conn, filter, ("llm_call", &ended_too), |row| {
        Ok(CallRow {
            admitted: admitted(row)?,
            ended: Some(ended(row, 13)?),
        })
    })?;
    // What a call in flight costs is not known, and not uncertain.
    if !filter.uncertain {
        let in_flight = page(conn, filter, ("llm_hold", ADMITTED), |row| {
            let admitted = admitted(row)?;
            Ok(CallRow {
                admitted,
                ended: None,
            })
        })?;
        calls.extend(in_flight);
        calls.sort_unstable_by_key(|call| Reverse(call.admitted.id));
        calls.truncate(page_rows(filter) as usize);
    }
    Ok(calls)
}

fn page_rows(filter: &CallFilter) -> u32 {
    filter.limit.min(CHORE_ROWS)
}

fn page(
    conn: &Connection,
    filter: &CallFilter,
    (table, columns): (&str, &str),
    read: impl FnMut(&Row<'_>) -> Result<CallRow, rusqlite::Error>,
) -> Result<Vec<CallRow>, rusqlite::Error> {
    let conditions = [
        filter.before.map(|id| ("id < ?", Value::from(column(id)))),
        filter.since.map(|at| ("admitted_at >= ?", at.0.into())),
        filter
            .agent
            .clone()
            .map(|agent| ("agent = ?", agent.into())),
        filter.run.clone().map(|run| ("run = ?", run.into())),
        filter.uncertain.then(|| ("uncertain > ?", 0.into())),
    ];
    let (mut sql, mut values) = (Vec::new(), Vec::new());
    for (condition, value) in conditions.into_iter().flatten() {
        sql.push(condition);
        values.push(value);
    }
    sql.push("true");
    values.push(page_rows(filter).into());
    let sql = format!(
        "SELECT {columns} FROM {table} WHERE {} ORDER BY id DESC LIMIT ?",
        sql.join(" AND ")
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map(params_from_iter(values), read)?;
    rows.collect()
}

fn admitted(row: &Row<'_>) -> Result<Admitted, rusqlite::Error> {
    Ok(Admitted {
        id: number(row.get(0)?),
        admitted_at: UnixMs(row.get(1)?),
        day: date(row, 2)?,
        agent: row.get(3)?,
        run: row.get(4)?,
        provider: row.get(5)?,
        model: row.get(6)?,
        model_id: row.get(7)?,
        held: row.get(8)?,
        estimate: row.get(9)?,
        rates: row.get(10)?,
        clamped: row.get::<_, Option<i64>>(11)?.map(number),
        request_hash: row.get(12)?,
    })
}

fn ended(row: &Row<'_>, from: usize) -> Result<EndedCall, rusqlite::Error> {
    let at = |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(UnixMs));
    Ok(EndedCall {
        outcome: row.get(from)?,
        spent: row.get(from + 1)?,
        uncertain: row.get(from + 2)?,
        tokens: tokens(|index| row.get(from + 3 + index).map(number))?,
        model_served: row.get(from + 10)?,
        status: row.get(from + 11)?,
        attempts: row.get(from + 12)?,
        started_at: at(from + 13)?,
        first_byte_at: at(from + 14)?,
        ended_at: at(from + 15)?,
    })
}

/// The counts of tokens, by their place among them.
pub(super) fn tokens(
    count: impl Fn(usize) -> Result<u64, rusqlite::Error>,
) -> Result<Tokens, rusqlite::Error> {
    Ok(Tokens {
        input: count(0)?,
        cache_read: count(1)?,
        cache_write_5m: count(2)?,
        cache_write_1h: count(3)?,
        output: count(4)?,
        reasoning: count(5)?,
        searches: count(6)?,
    })
}

/// What is summed up. Each sum is made of two halves, since SQLite gives up on one that is too
/// large.
const SUMMED: [&str; 9] = [
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "searches",
    "spent",
    "uncertain",
];

/// The two halves of the sums, in that order.
pub(super) fn sums() -> String {
    SUMMED
        .map(|column| format!("sum({column} >> 32), sum({column} & 4294967295)"))
        .join(", ")
}

pub(super) fn usage(
    conn: &Connection,
    since: UnixMs,
    by: UsageBy,
) -> Result<Vec<UsageRow>, rusqlite::Error> {
    let (name, order) = match by {
        UsageBy::Agent => ("agent", "agent"),
        UsageBy::Model => ("model_id", "model_id"),
        UsageBy::Day => ("day", "day"),
        UsageBy::Run => ("run", "max(id) DESC"),
    };
    let sql = format!(
        "SELECT {name}, count(*), {} FROM llm_call
        WHERE admitted_at >= ?1 AND {name} IS NOT NULL
        GROUP BY {name} ORDER BY {order} LIMIT ?2",
        sums()
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map([since.0, USAGE_ROWS.into()], |row| {
        let sum = |index: usize| sum(row, 2 + 2 * index);
        Ok(UsageRow {
            name: row.get(0)?,
            calls: number(row.get(1)?),
            tokens: tokens(|index| sum(index).map(number))?,
            spent: sum(7)?,
            uncertain: sum(8)?,
        })
    })?;
    rows.collect()
}

pub(super) fn sum(row: &Row<'_>, index: usize) -> Result<i64, rusqlite::Error> {
    let (high, low): (i64, i64) = (row.get(index)?, row.get(index + 1)?);
    let sum = (i128::from(high) << 32) + i128::from(low);
    Ok(i64::try_from(sum).unwrap_or(i64::MAX))
}

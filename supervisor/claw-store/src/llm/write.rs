//! What changes, each within the transaction under way.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::model::{
    Admitted, Correction, EndedCall, Period, Settlement, Settling, Tokens, Told, TotalRow,
    WindowCorrection, WindowKey,
};
use super::total;
use crate::bus::number;
use crate::store::limits::CHORE_ROWS;
use crate::store::{StoreError, UnixMs};

/// The names of what is kept in `meta`.
pub(super) const LAST_ID: &str = "llm_last_id";
pub(super) const KEPT_SINCE: &str = "llm_kept_since";

/// SQLite counts to 2⁶³.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The fleet's windows are those of nobody.
pub(super) fn scope(key: &WindowKey) -> &str {
    key.agent.as_deref().unwrap_or_default()
}

pub(super) const fn period(period: Period) -> i64 {
    match period {
        Period::Day => 0,
        Period::Month => 1,
    }
}

const fn told_column(told: Told) -> i64 {
    match told {
        Told::Nothing => 0,
        Told::Nearing => 1,
        Told::Reached => 2,
    }
}

pub(super) fn reserve(conn: &Connection, call: &Admitted) -> Result<(), StoreError> {
    let sql = "INSERT INTO llm_hold (id, admitted_at, day, agent, run, provider, model, model_id,
        held, estimate, rates, clamped, request_hash)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
        WHERE NOT EXISTS (SELECT 1 FROM llm_call WHERE id = ?1) ON CONFLICT DO NOTHING";
    let written = conn.prepare_cached(sql)?.execute(params![
        column(call.id),
        call.admitted_at.0,
        call.day.to_string(),
        call.agent,
        call.run,
        call.provider,
        call.model,
        call.model_id,
        call.held,
        call.estimate,
        call.rates,
        call.clamped.map(column),
        call.request_hash,
    ])?;
    match written {
        0 => Err(StoreError::Invalid(format!(
            "the id {} of a call was used before",
            call.id
        ))),
        _ => Ok(()),
    }
}

pub(super) fn shrink(conn: &Connection, id: u64, held: i64) -> Result<(), StoreError> {
    let sql = "UPDATE llm_hold SET held = min(held, ?2), estimate = min(estimate, ?2)
        WHERE id = ?1";
    conn.prepare_cached(sql)?
        .execute(params![column(id), held])?;
    Ok(())
}

pub(super) fn note(
    conn: &Connection,
    call: &Admitted,
    ended: &EndedCall,
) -> Result<(), StoreError> {
    reserve(conn, call)?;
    end(conn, call.id, ended)
}

pub(super) fn settle(conn: &Connection, calls: &[Settling]) -> Result<Vec<Settlement>, StoreError> {
    let mut booked = BTreeMap::<WindowKey, Amounts>::new();
    let mut settlements = Vec::with_capacity(calls.len());
    for call in calls {
        settlements.push(settle_one(conn, call, &mut booked)?);
    }
    // Calls that end together are mostly of the same windows.
    for (key, booked) in booked {
        change(conn, &key, |money| plus(money, booked))?;
    }
    Ok(settlements)
}

fn settle_one(
    conn: &Connection,
    Settling { id, ended }: &Settling,
    booked: &mut BTreeMap<WindowKey, Amounts>,
) -> Result<Settlement, StoreError> {
    let sql = "SELECT agent, day FROM llm_hold WHERE id = ?1";
    let found = conn
        .prepare_cached(sql)?
        .query_row([column(*id)], |row| {
            Ok((row.get::<_, String>(0)?, date(row, 1)?))
        })
        .optional()?;
    let Some((agent, day)) = found else {
        let sql = "SELECT 1 FROM llm_call WHERE id = ?1";
        let has_ended = conn.prepare_cached(sql)?.exists([column(*id)])?;
        return Ok(if has_ended {
            Settlement::Already
        } else {
            Settlement::Unknown
        });
    };
    end(conn, *id, ended)?;
    for key in WindowKey::of(&agent, day) {
        let sum = booked.entry(key).or_default();
        *sum = plus(*sum, (ended.spent, ended.uncertain));
    }
    Ok(Settlement::Written)
}

const fn plus(money: Amounts, more: Amounts) -> Amounts {
    (
        money.0.saturating_add(more.0),
        money.1.saturating_add(more.1),
    )
}

fn end(conn: &Connection, id: u64, ended: &EndedCall) -> Result<(), StoreError> {
    let sql = "INSERT INTO llm_call (id, admitted_at, day, agent, run, provider, model, model_id,
        held, estimate, rates, clamped, request_hash, corrected, outcome, spent, uncertain,
        model_served, status, attempts, started_at, first_byte_at, ended_at, input, cache_read,
        cache_write_5m, cache_write_1h, output, reasoning, searches)
        SELECT id, admitted_at, day, agent, run, provider, model, model_id, held, estimate, rates,
        clamped, request_hash, corrected, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
        ?15, ?16, ?17 FROM llm_hold WHERE id = ?1";
    let tokens = &ended.tokens;
    let at = |time: Option<UnixMs>| time.map(|time| time.0);
    conn.prepare_cached(sql)?.execute(params![
        column(id),
        ended.outcome,
        ended.spent,
        ended.uncertain,
        ended.model_served,
        ended.status,
        ended.attempts,
        at(ended.started_at),
        at(ended.first_byte_at),
        at(ended.ended_at),
        column(tokens.input),
        column(tokens.cache_read),
        column(tokens.cache_write_5m),
        column(tokens.cache_write_1h),
        column(tokens.output),
        column(tokens.reasoning),
        column(tokens.searches),
    ])?;
    conn.prepare_cached("DELETE FROM llm_hold WHERE id = ?1")?
        .execute([column(id)])?;
    Ok(())
}

/// Settled and uncertain money.
type Amounts = (i64, i64);

/// Changes the money of a window. Added up here and not by SQLite, which makes a sum that is too
/// large a fraction.
fn change(
    conn: &Connection,
    key: &WindowKey,
    change: impl FnOnce(Amounts) -> Amounts,
) -> Result<(), StoreError> {
    let id = (scope(key), period(key.period), key.start.to_string());
    let sql = "SELECT settled, uncertain FROM llm_window
        WHERE scope = ?1 AND period = ?2 AND start = ?3";
    let before = conn
        .prepare_cached(sql)?
        .query_row(params![id.0, id.1, id.2], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (settled, uncertain) = change(before.unwrap_or_default());
    let sql = "INSERT INTO llm_window (scope, period, start, settled, uncertain)
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
        SET settled = excluded.settled, uncertain = excluded.uncertain";
    conn.prepare_cached(sql)?
        .execute(params![id.0, id.1, id.2, settled, uncertain])?;
    Ok(())
}

pub(super) fn tell(conn: &Connection, key: &WindowKey, told: Told) -> Result<(), StoreError> {
    let sql = "INSERT INTO llm_window (scope, period, start, told) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO UPDATE SET told = max(told, excluded.told)";
    conn.prepare_cached(sql)?.execute(params![
        scope(key),
        period(key.period),
        key.start.to_string(),
        told_column(told)
    ])?;
    Ok(())
}

pub(super) fn reconcile_call(
    conn: &Connection,
    id: u64,
    actual: i64,
) -> Result<Correction, StoreError> {
    let sql = "SELECT agent, day, spent, uncertain, corrected, provider, model_id FROM llm_call
        WHERE id = ?1 AND uncertain > 0";
    let found = conn
        .prepare_cached(sql)?
        .query_row([column(id)], |row| {
            let amounts: Amounts = (row.get(2)?, row.get(3)?);
            let less = TotalRow {
                agent: row.get(0)?,
                provider: row.get(5)?,
                model_id: row.get(6)?,
                calls: 0,
                tokens: Tokens::default(),
                spent: amounts.0.saturating_sub(actual).max(0),
            };
            Ok((less, date(row, 1)?, amounts, row.get(4)?))
        })
        .optional()?;
    let Some((less, day, (spent, uncertain), corrected)) = found else {
        return Ok(Correction::NothingUncertain);
    };
    for key in uncorrected(&less.agent, day, corrected) {
        change(conn, &key, |before| {
            let settled = before.0.saturating_sub(spent).max(0);
            let left = before.1.saturating_sub(uncertain).max(0);
            (settled.saturating_add(actual), left)
        })?;
    }
    let sql = "UPDATE llm_call SET spent = ?2, uncertain = 0 WHERE id = ?1";
    conn.prepare_cached(sql)?
        .execute(params![column(id), actual])?;
    if less.spent > 0 {
        total::book(conn, less)?;
    }
    Ok(Correction::Written)
}

/// The windows of a call that were not corrected as a whole.
pub(super) fn uncorrected(
    agent: &str,
    day: Date,
    corrected: i64,
) -> impl Iterator<Item = WindowKey> + use<> {
    let windows = WindowKey::of(agent, day).into_iter().enumerate();
    windows.filter_map(move |(bit, key)| (corrected >> bit & 1 == 0).then_some(key))
}

pub(super) fn reconcile_window(
    conn: &Connection,
    WindowCorrection {
        key,
        settled,
        cleared,
        calls,
    }: &WindowCorrection,
) -> Result<(), StoreError> {
    // Less than nothing may be left until all calls are written that had ended by then.
    change(conn, key, |before| {
        let left = before.1.saturating_sub(*cleared);
        (before.0.saturating_add(*settled), left)
    })?;
    let bit = match (&key.agent, key.period) {
        (Some(_), Period::Day) => 1,
        (Some(_), Period::Month) => 2,
        (None, Period::Day) => 4,
        (None, Period::Month) => 8,
    };
    // The end of a call may be known that is not written yet.
    for sql in [
        "UPDATE llm_call SET corrected = corrected | ?1 WHERE id = ?2",
        "UPDATE llm_hold SET corrected = corrected | ?1 WHERE id = ?2",
    ] {
        let mut correct = conn.prepare_cached(sql)?;
        for id in calls {
            correct.execute(params![bit, column(*id)])?;
        }
    }
    Ok(())
}

pub(super) fn keep_since(conn: &Connection, day: Date) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET value = excluded.value";
    conn.prepare_cached(sql)?
        .execute(params![KEPT_SINCE, day.to_string()])?;
    Ok(())
}

pub(super) fn prune_windows(conn: &Connection, before: Date) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
        ON CONFLICT DO UPDATE SET value = max(value, excluded.value)";
    conn.prepare_cached(sql)?
        .execute(params![KEPT_SINCE, before.to_string()])?;
    let sql = "INSERT INTO meta (key, value) SELECT ?1, max(id) FROM llm_call WHERE true
        HAVING max(id) IS NOT NULL ON CONFLICT DO UPDATE SET value = max(value, excluded.value)";
    conn.prepare_cached(sql)?.execute([LAST_ID])?;
    let sql = "DELETE FROM llm_window WHERE start < CASE period WHEN 0 THEN ?1 ELSE ?2 END
        AND NOT EXISTS (SELECT 1 FROM llm_hold WHERE (scope = '' OR agent = scope)
            AND start = CASE period WHEN 0 THEN day ELSE substr(day, 1, 8) || '01' END)";
    conn.prepare_cached(sql)?.execute(params![
        before.to_string(),
        before.first_of_month().to_string()
    ])?;
    Ok(())
}

pub(super) fn prune_calls(conn: &Connection, before: Date) -> Result<u64, StoreError> {
    let these = "id IN (SELECT id FROM llm_call WHERE day < ?1
        AND (uncertain = 0 OR day < ?2) ORDER BY id LIMIT ?3)";
    let (day, month) = (before.to_string(), before.first_of_month().to_string());
    total::keep(conn, these, params![day, month, CHORE_ROWS])?;
    let sql = format!("DELETE FROM llm_call WHERE {these}");
    let forgotten = conn
        .prepare_cached(&sql)?
        .execute(params![day, month, CHORE_ROWS])?;
    Ok(number(forgotten as i64))
}

pub(super) fn date(row: &Row<'_>, index: usize) -> Result<Date, rusqlite::Error> {
    let text = row.get_ref(index)?.as_str()?;
    text.parse().map_err(|error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

//! Rows as readers get them.

use claw_core::{
    AgentName, Cause, ExitReport, Generation, Image, InstanceId, RunId, Wall, action::SlotFate,
};
use rusqlite::{Row, types::Type};
use serde::de::DeserializeOwned;

use super::time;

/// One life of an agent, as far as it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRow {
    /// Which.
    pub instance: InstanceId,
    /// The hash of the spec it was started with.
    pub spec_hash: Option<String>,
    /// The run it was for.
    pub run: Option<RunId>,
    /// The boot of the machine it was started in.
    pub boot_id: Option<String>,
    /// When it was decided to start it.
    pub intent_at: Option<Wall>,
    /// Its process id and when it was started.
    pub started: Option<(u32, Wall)>,
    /// What it was made of, if it was a container.
    pub image: Option<Image>,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// The end of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// Whether it counts as a failure.
    pub failed: bool,
    /// What was observed.
    pub report: Option<ExitReport>,
    /// When.
    pub at: Wall,
}

/// A slot of a schedule that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// The planned time.
    pub planned: Wall,
    /// What became of it.
    pub fate: SlotFate,
    /// The run it became.
    pub run: Option<RunId>,
}

/// How much the journal holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Agents remembered, those that left included.
    pub agents: u64,
    /// Instances.
    pub instances: u64,
    /// Instances without an outcome.
    pub open_instances: u64,
    /// Runs.
    pub runs: u64,
    /// Runs that have not finished.
    pub open_runs: u64,
    /// Slots.
    pub slots: u64,
}

/// The columns that [`instance`] reads, in its order.
pub(super) const INSTANCE_COLUMNS: &str = "agent, generation, spec_hash, run, boot_id, intent_at,
    pid, started_at, cause, failed, report, ended_at, image";

pub(super) fn instance(row: &Row<'_>) -> Result<InstanceRow, rusqlite::Error> {
    let ended = match opt_time(row, 11)? {
        None => None,
        Some(at) => Some(Ended {
            cause: json(row, 8)?,
            failed: row.get(9)?,
            report: opt_json(row, 10)?,
            at,
        }),
    };
    Ok(InstanceRow {
        instance: InstanceId {
            agent: agent(row, 0)?,
            generation: generation(row, 1)?,
        },
        spec_hash: row.get(2)?,
        run: opt_parsed(row, 3)?,
        boot_id: row.get(4)?,
        intent_at: opt_time(row, 5)?,
        started: row.get::<_, Option<u32>>(6)?.zip(opt_time(row, 7)?),
        image: opt_json(row, 12)?,
        ended,
    })
}

/// Reads planned, fate and run.
pub(super) fn slot(row: &Row<'_>) -> Result<SlotRow, rusqlite::Error> {
    Ok(SlotRow {
        planned: time::from_column(row.get(0)?)?,
        fate: json(row, 1)?,
        run: opt_parsed(row, 2)?,
    })
}

pub(super) fn agent(row: &Row<'_>, column: usize) -> Result<AgentName, rusqlite::Error> {
    parsed(column, row.get_ref(column)?.as_str()?)
}

pub(super) fn generation(row: &Row<'_>, column: usize) -> Result<Generation, rusqlite::Error> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .map(Generation)
        .map_err(|error| bad(column, Type::Integer, error))
}

pub(super) fn json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> Result<T, rusqlite::Error> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| bad(column, Type::Text, error))
}

pub(super) fn opt_json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, rusqlite::Error> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(None),
        Some(_) => json(row, column).map(Some),
    }
}

fn opt_parsed<T>(row: &Row<'_>, column: usize) -> Result<Option<T>, rusqlite::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(|text| parsed(column, text)).transpose()
}

fn parsed<T>(column: usize, text: &str) -> Result<T, rusqlite::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error| bad(column, Type::Text, error))
}

fn opt_time(row: &Row<'_>, column: usize) -> Result<Option<Wall>, rusqlite::Error> {
    let micros: Option<i64> = row.get(column)?;
    micros.map(time::from_column).transpose()
}

fn bad(
    column: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}

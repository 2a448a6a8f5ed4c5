//! What a new supervisor finds.

use std::collections::BTreeMap;

use claw_core::memory::AgentMemory;
use claw_core::{AgentName, InstanceId, Run, RunId, Wall};
use rusqlite::Connection;

use super::row::{self, INSTANCE_COLUMNS};

/// What the journal held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opened {
    /// What is remembered of each agent. One that left the fleet, or of which only instances are
    /// recorded, is here with nothing but its last generation. `last_generation` is never below a
    /// generation that was recorded in any way.
    pub memory: BTreeMap<AgentName, AgentMemory>,
    /// Instances without an outcome, by agent and generation.
    pub open_instances: Vec<OpenInstanceRow>,
    /// Runs that have not finished, in the order in which they were accepted.
    pub open_runs: Vec<Run>,
    /// The boot of the machine in which the journal was open last.
    pub last_boot_id: Option<String>,
    /// What a user should know, in sentences.
    pub notes: Vec<String>,
}

/// An instance that may still run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInstanceRow {
    /// Which.
    pub instance: InstanceId,
    /// The run it was started for.
    pub run: Option<RunId>,
    /// The hash of the spec it was started with.
    pub spec_hash: Option<String>,
    /// The boot it was started in; in another one its process is gone and its pid a stranger's.
    pub boot_id: Option<String>,
    /// Its process id and when it was started, if it came that far.
    pub started: Option<(u32, Wall)>,
}

/// An error with the table it came from.
pub(super) type Failed = (&'static str, rusqlite::Error);

/// Reads everything but the notes and the boot.
pub(super) fn load(conn: &Connection) -> Result<Opened, Failed> {
    Ok(Opened {
        memory: memory(conn).map_err(|error| ("read what is remembered of agents from", error))?,
        open_instances: instances(conn).map_err(|error| ("read the instances from", error))?,
        open_runs: runs(conn).map_err(|error| ("read the runs from", error))?,
        last_boot_id: None,
        notes: Vec::new(),
    })
}

fn memory(conn: &Connection) -> Result<BTreeMap<AgentName, AgentMemory>, rusqlite::Error> {
    let mut found = BTreeMap::new();
    let mut query = conn.prepare("SELECT agent, last_generation, memory FROM agent_memory")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let mut memory: AgentMemory = row::opt_json(row, 2)?.unwrap_or_default();
        memory.last_generation = memory.last_generation.max(row::generation(row, 1)?);
        found.insert(row::agent(row, 0)?, memory);
    }
    // Beside max(), SQLite takes the other columns from the row that has it.
    let sql = "SELECT agent, max(generation), spec_hash FROM instance GROUP BY agent";
    let mut query = conn.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let last = row::generation(row, 1)?;
        let memory: &mut AgentMemory = found.entry(row::agent(row, 0)?).or_default();
        if last >= memory.last_generation {
            memory.last_generation = last;
            memory.started_with = row.get(2)?;
        }
    }
    Ok(found)
}

fn instances(conn: &Connection) -> Result<Vec<OpenInstanceRow>, rusqlite::Error> {
    let sql = format!(
        "SELECT {INSTANCE_COLUMNS} FROM instance WHERE ended_at IS NULL
        ORDER BY agent, generation"
    );
    let mut query = conn.prepare(&sql)?;
    let rows = query.query_map([], row::instance)?;
    rows.map(|row| {
        row.map(|row| OpenInstanceRow {
            instance: row.instance,
            run: row.run,
            spec_hash: row.spec_hash,
            boot_id: row.boot_id,
            started: row.started,
        })
    })
    .collect()
}

fn runs(conn: &Connection) -> Result<Vec<Run>, rusqlite::Error> {
    let mut query = conn.prepare("SELECT body FROM run WHERE open = 1 ORDER BY seq")?;
    let rows = query.query_map([], |row| row::json(row, 0))?;
    rows.collect()
}

//! How each entry is written: with exactly one statement, so that one that fails undoes itself and
//! nothing of its neighbours in the same transaction.

use claw_core::{Generation, InstanceId, Record, Run, RunPhase, Trigger};
use rusqlite::{Connection, ErrorCode, Params, params};
use serde::Serialize;

use super::idempotency::Remembered;
use super::queue::What;
use super::{idempotency, time};

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    Written,
    /// The instance has an outcome already; this one was dropped.
    DuplicateOutcome,
    /// Something is remembered under the key already.
    Known(Remembered),
}

/// Why an entry was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// It contradicts what is written, or cannot be expressed; its neighbours are fine.
    Refused(String),
    /// The file cannot be written; the transaction is lost.
    Broken(rusqlite::Error),
}

/// Writes one entry.
pub(super) fn apply(conn: &Connection, boot_id: &str, what: &What) -> Result<Applied, Unwritten> {
    match what {
        What::Record(record) => apply_record(conn, boot_id, record),
        What::Remember(new) => {
            let known = idempotency::put(conn, new)?;
            Ok(known.map_or(Applied::Written, Applied::Known))
        }
    }
}

fn apply_record(conn: &Connection, boot_id: &str, record: &Record) -> Result<Applied, Unwritten> {
    match record {
        Record::Intent {
            instance,
            spec_hash,
            run,
            at,
        } => {
            let (agent, number) = key(instance)?;
            let run = run.map(|run| run.to_string());
            let at = time::to_column(*at);
            let values = params![agent, number, spec_hash, run, boot_id, at];
            let refusal = || format!("{instance} has already ended");
            execute_or_refuse(conn, INTENT, values, refusal)
        }
        Record::Started {
            instance,
            pid,
            at,
            image,
        } => {
            let (agent, number) = key(instance)?;
            let (image, at) = (image.as_ref().map(json).transpose()?, time::to_column(*at));
            execute(conn, STARTED, params![agent, number, pid, at, image])
        }
        Record::Outcome {
            instance,
            cause,
            failed,
            report,
            at,
        } => {
            let (agent, number) = key(instance)?;
            let report = report.as_ref().map(json).transpose()?;
            let (cause, at) = (json(cause)?, time::to_column(*at));
            let values = params![agent, number, cause, failed, report, at];
            match conn.prepare_cached(OUTCOME)?.execute(values)? {
                0 => Ok(Applied::DuplicateOutcome),
                _ => Ok(Applied::Written),
            }
        }
        Record::Memory { agent, memory, .. } => {
            let values = params![
                agent.as_str(),
                column(memory.last_generation)?,
                json(memory)?
            ];
            execute(conn, MEMORY, values)
        }
        Record::Run(run) => apply_run(conn, run),
        Record::Slot {
            agent,
            planned,
            fate,
            run,
        } => {
            let run = run.map(|run| run.to_string());
            let at = time::to_column(*planned);
            let values = params![agent.as_str(), at, json(fate)?, run];
            let refusal = || format!("slot already settled: {planned} of {agent}");
            execute_or_refuse(conn, SLOT, values, refusal)
        }
        Record::Removed { agent, last } => {
            execute(conn, REMOVED, params![agent.as_str(), column(*last)?])
        }
    }
}

fn apply_run(conn: &Connection, run: &Run) -> Result<Applied, Unwritten> {
    let (id, agent) = (run.id.to_string(), run.agent.as_str());
    let (Trigger::Schedule { slot }, RunPhase::Queued) = (&run.trigger, &run.phase) else {
        return execute(conn, RUN, params![id, agent, is_open(run), json(run)?]);
    };
    let values = params![id, agent, is_open(run), json(run)?, time::to_column(*slot)];
    let refusal = || format!("slot {slot} of {agent} does not belong to run {id}");
    execute_or_refuse(conn, RUN_OF_SLOT, values, refusal)
}

/// A generation that ended is never started again; one that was only intended may be.
const INTENT: &str = "INSERT INTO instance (agent, generation, spec_hash, run, boot_id, intent_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (agent, generation) DO UPDATE
    SET spec_hash = excluded.spec_hash, run = excluded.run, boot_id = excluded.boot_id,
        intent_at = excluded.intent_at, pid = NULL, started_at = NULL, image = NULL
    WHERE ended_at IS NULL";

const STARTED: &str = "INSERT INTO instance (agent, generation, pid, started_at, image)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (agent, generation) DO UPDATE
    SET pid = excluded.pid, started_at = excluded.started_at, image = excluded.image";

const OUTCOME: &str = "INSERT INTO instance (agent, generation, cause, failed, report, ended_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (agent, generation) DO UPDATE
    SET cause = excluded.cause, failed = excluded.failed, report = excluded.report,
        ended_at = excluded.ended_at
    WHERE ended_at IS NULL";

const MEMORY: &str = "INSERT INTO agent_memory (agent, last_generation, memory)
    VALUES (?1, ?2, ?3)
    ON CONFLICT (agent) DO UPDATE
    SET last_generation = max(last_generation, excluded.last_generation),
        memory = excluded.memory";

const REMOVED: &str = "INSERT INTO agent_memory (agent, last_generation, memory)
    VALUES (?1, ?2, NULL)
    ON CONFLICT (agent) DO UPDATE
    SET last_generation = max(last_generation, excluded.last_generation), memory = NULL";

const RUN: &str = "INSERT INTO run (id, agent, open, body) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO UPDATE
    SET agent = excluded.agent, open = excluded.open, body = excluded.body";

/// A run waits for a slot only if the slot is its own, so that no slot is ever run twice.
const RUN_OF_SLOT: &str = "INSERT INTO run (id, agent, open, body) SELECT ?1, ?2, ?3, ?4
    WHERE EXISTS (SELECT 1 FROM slot WHERE agent = ?2 AND planned = ?5 AND run = ?1)
    ON CONFLICT (id) DO UPDATE
    SET agent = excluded.agent, open = excluded.open, body = excluded.body";

const SLOT: &str = "INSERT INTO slot (agent, planned, fate, run) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (agent, planned) DO NOTHING";

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<Applied, Unwritten> {
    conn.prepare_cached(sql)?.execute(values)?;
    Ok(Applied::Written)
}

fn execute_or_refuse(
    conn: &Connection,
    sql: &str,
    values: impl Params,
    refusal: impl FnOnce() -> String,
) -> Result<Applied, Unwritten> {
    match conn.prepare_cached(sql)?.execute(values)? {
        0 => Err(Unwritten::Refused(refusal())),
        _ => Ok(Applied::Written),
    }
}

fn key(instance: &InstanceId) -> Result<(&str, i64), Unwritten> {
    Ok((instance.agent.as_str(), column(instance.generation)?))
}

fn column(generation: Generation) -> Result<i64, Unwritten> {
    i64::try_from(generation.0)
        .map_err(|_too_big| Unwritten::Refused(format!("generation {generation} is out of range")))
}

fn json(value: &impl Serialize) -> Result<String, Unwritten> {
    serde_json::to_string(value)
        .map_err(|error| Unwritten::Refused(format!("cannot be written as JSON: {error}")))
}

fn is_open(run: &Run) -> bool {
    match run.phase {
        RunPhase::Queued | RunPhase::Running { .. } | RunPhase::Retrying { .. } => true,
        RunPhase::Finished { .. } => false,
    }
}

impl From<rusqlite::Error> for Unwritten {
    /// What SQLite blames on the entry, or never came to see, is the entry's own fault.
    fn from(error: rusqlite::Error) -> Self {
        let own = matches!(
            error.sqlite_error_code(),
            None | Some(
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
            )
        );
        if own {
            Self::Refused(error.to_string())
        } else {
            Self::Broken(error)
        }
    }
}

//! What is forgotten, a little at a time.
//!
//! Open runs and instances without an outcome are never deleted, nor the newest slot of an agent.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::{AgentName, Record, Wall};
use rusqlite::{Connection, params};

use super::limits::{
    IDEMPOTENCY_KEPT, INSTANCES_KEPT, PRUNE_EVERY, PRUNE_ROWS, RUNS_KEPT, SLOTS_KEPT,
    SLOTS_KEPT_COUNT,
};
use super::queue::What;
use super::time;

/// Counts what is written and knows whose history has grown. Each subject stands here once,
/// however long nothing is deleted.
#[derive(Debug, Default)]
pub(super) struct Retention {
    grown: BTreeMap<Subject, u32>,
    due: BTreeSet<Subject>,
}

/// Whose history grows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Agent(AgentName),
    /// Idempotency keys, which are nobody's.
    Shared,
}

impl Retention {
    /// Everything is due: nothing is known about a file that was just opened.
    pub(super) fn all(agents: impl IntoIterator<Item = AgentName>) -> Self {
        let agents = agents.into_iter().map(Subject::Agent);
        Self {
            grown: BTreeMap::new(),
            due: agents.chain([Subject::Shared]).collect(),
        }
    }

    /// Notes what was written.
    pub(super) fn note(&mut self, what: &What) {
        let subject = match what {
            What::Record(Record::Intent { instance, .. } | Record::Outcome { instance, .. }) => {
                Subject::Agent(instance.agent.clone())
            }
            What::Record(Record::Run(run)) => Subject::Agent(run.agent.clone()),
            What::Record(Record::Slot { agent, .. }) => Subject::Agent(agent.clone()),
            What::Record(
                Record::Started { .. } | Record::Memory { .. } | Record::Removed { .. },
            ) => return,
            What::Remember(_) => Subject::Shared,
        };
        if let Some(count) = self.grown.get_mut(&subject) {
            *count += 1;
            if *count >= PRUNE_EVERY {
                self.grown.remove(&subject);
                self.due.insert(subject);
            }
        } else {
            self.grown.insert(subject, 1);
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Deletes some rows in a transaction or three, and says how many.
    pub(super) fn step(&mut self, conn: &Connection, now: Wall) -> Result<usize, rusqlite::Error> {
        // Taken off first: what cannot be deleted does not hold up all else.
        let Some(subject) = self.due.pop_first() else {
            return Ok(0);
        };
        let deleted = match &subject {
            Subject::Agent(agent) => prune_agent(conn, agent.as_str(), now)?,
            Subject::Shared => prune_shared(conn, now)?,
        };
        if deleted.most >= PRUNE_ROWS as usize {
            self.due.insert(subject);
        }
        Ok(deleted.rows)
    }
}

/// What one step deleted.
struct Deleted {
    /// Rows of all kinds.
    rows: usize,
    /// Rows of the kind of which it deleted most.
    most: usize,
}

impl Deleted {
    fn of<const N: usize>(kinds: [usize; N]) -> Self {
        Self {
            rows: kinds.iter().sum(),
            most: kinds.into_iter().max().unwrap_or(0),
        }
    }
}

fn prune_agent(conn: &Connection, agent: &str, now: Wall) -> Result<Deleted, rusqlite::Error> {
    let runs = conn
        .prepare_cached(RUNS)?
        .execute(params![agent, RUNS_KEPT, PRUNE_ROWS])?;
    let instances =
        conn.prepare_cached(INSTANCES)?
            .execute(params![agent, INSTANCES_KEPT, PRUNE_ROWS])?;
    let oldest = now.saturating_sub(SLOTS_KEPT).unwrap_or(Wall::MIN);
    let oldest = time::to_column(oldest);
    let slots = conn.prepare_cached(SLOTS)?.execute(params![
        agent,
        oldest,
        SLOTS_KEPT_COUNT,
        PRUNE_ROWS
    ])?;
    Ok(Deleted::of([runs, instances, slots]))
}

fn prune_shared(conn: &Connection, now: Wall) -> Result<Deleted, rusqlite::Error> {
    let oldest = now.saturating_sub(IDEMPOTENCY_KEPT).unwrap_or(Wall::MIN);
    let keys = conn
        .prepare_cached(KEYS)?
        .execute(params![time::to_column(oldest), PRUNE_ROWS])?;
    Ok(Deleted::of([keys]))
}

const RUNS: &str = "DELETE FROM run WHERE seq IN (
    SELECT seq FROM run WHERE agent = ?1 AND open = 0 AND seq <= (
        SELECT seq FROM run WHERE agent = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)
    ORDER BY seq LIMIT ?3)";

const INSTANCES: &str = "DELETE FROM instance WHERE agent = ?1 AND generation IN (
    SELECT generation FROM instance WHERE agent = ?1 AND ended_at IS NOT NULL AND generation <= (
        SELECT generation FROM instance WHERE agent = ?1
        ORDER BY generation DESC LIMIT 1 OFFSET ?2)
    ORDER BY generation LIMIT ?3)";

/// Old ones and too many; the condition on the newest keeps that one however old it is.
const SLOTS: &str = "DELETE FROM slot WHERE agent = ?1 AND planned IN (
    SELECT planned FROM slot WHERE agent = ?1
    AND planned < (SELECT max(planned) FROM slot WHERE agent = ?1)
    AND planned < max(?2, ifnull((SELECT planned FROM slot WHERE agent = ?1
        ORDER BY planned DESC LIMIT 1 OFFSET ?3 - 1), ?2))
    ORDER BY planned LIMIT ?4)";

const KEYS: &str = "DELETE FROM idempotency WHERE (scope, key) IN (
    SELECT scope, key FROM idempotency WHERE at < ?1 LIMIT ?2)";

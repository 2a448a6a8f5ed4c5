//! What is forgotten, a little at a time.
//!
//! Open runs and instances without an outcome are never deleted, nor the newest slot of an agent.

use std::collections::BTreeMap;

use claw_core::{AgentName, Record, Wall};
use rusqlite::{Connection, params};

use super::limits::{
    CONFIGS_KEPT, IDEMPOTENCY_KEPT, INSTANCES_KEPT, PRUNE_EVERY, PRUNE_ROWS, RUNS_KEPT, SLOTS_KEPT,
    SLOTS_KEPT_COUNT,
};
use super::queue::What;
use super::time;

/// Counts what is written and knows whose history has grown.
#[derive(Debug, Default)]
pub(super) struct Retention {
    grown: BTreeMap<AgentName, u32>,
    due: Vec<AgentName>,
    /// Configurations and idempotency keys.
    shared: bool,
}

impl Retention {
    /// Everything is due: nothing is known about a file that was just opened.
    pub(super) fn all(agents: impl IntoIterator<Item = AgentName>) -> Self {
        Self {
            grown: BTreeMap::new(),
            due: agents.into_iter().collect(),
            shared: true,
        }
    }

    /// Notes what was written.
    pub(super) fn note(&mut self, what: &What) {
        let agent = match what {
            What::Record(Record::Intent { instance, .. } | Record::Outcome { instance, .. }) => {
                &instance.agent
            }
            What::Record(Record::Run(run)) => &run.agent,
            What::Record(Record::Slot { agent, .. }) => agent,
            What::Record(
                Record::Started { .. } | Record::Memory { .. } | Record::Removed { .. },
            ) => return,
            What::Config(_) | What::Remember(_) => {
                self.shared = true;
                return;
            }
        };
        if let Some(count) = self.grown.get_mut(agent) {
            *count += 1;
            if *count >= PRUNE_EVERY {
                self.grown.remove(agent);
                self.due.push(agent.clone());
            }
        } else {
            self.grown.insert(agent.clone(), 1);
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.shared || !self.due.is_empty()
    }

    /// Deletes some rows in a transaction or two.
    pub(super) fn step(&mut self, conn: &Connection, now: Wall) -> Result<(), rusqlite::Error> {
        if self.shared {
            self.shared = prune_shared(conn, now)?;
            return Ok(());
        }
        // Taken off first: an agent whose rows cannot be deleted does not hold up the others.
        if let Some(agent) = self.due.pop()
            && prune_agent(conn, agent.as_str(), now)?
        {
            self.due.push(agent);
        }
        Ok(())
    }
}

/// Returns whether there is more to delete.
fn prune_agent(conn: &Connection, agent: &str, now: Wall) -> Result<bool, rusqlite::Error> {
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
    let most = runs.max(instances).max(slots);
    Ok(most >= PRUNE_ROWS as usize)
}

fn prune_shared(conn: &Connection, now: Wall) -> Result<bool, rusqlite::Error> {
    conn.prepare_cached(CONFIGS)?.execute([CONFIGS_KEPT])?;
    let oldest = now.saturating_sub(IDEMPOTENCY_KEPT).unwrap_or(Wall::MIN);
    let keys = conn
        .prepare_cached(KEYS)?
        .execute(params![time::to_column(oldest), PRUNE_ROWS])?;
    Ok(keys >= PRUNE_ROWS as usize)
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

const CONFIGS: &str = "DELETE FROM config WHERE generation <= (
    SELECT generation FROM config ORDER BY generation DESC LIMIT 1 OFFSET ?1)";

const KEYS: &str = "DELETE FROM idempotency WHERE (scope, key) IN (
    SELECT scope, key FROM idempotency WHERE at < ?1 LIMIT ?2)";

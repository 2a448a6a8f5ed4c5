//! Lives that are over but not yet forgotten: their outcome is not recorded, or a hook runs.
//!
//! A driver may remove what it keeps of an instance only when the journal has the outcome, because
//! until then that is the only evidence a later supervisor would find.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::id::{Generation, InstanceId};
use crate::name::AgentName;
use crate::order::Order;
use crate::record::{Record, RecordId};

use super::context::Context;

/// An outcome that the journal could not take is offered again after this long.
const OFFER_AGAIN: Duration = Duration::from_secs(5);

/// Ended lives of one agent.
#[derive(Debug, Default)]
pub(crate) struct Graves {
    unrecorded: BTreeMap<RecordId, Grave>,
    /// Outcomes the journal refused, to be offered again.
    refused: Vec<Grave>,
    offer_at: Option<Mono>,
    hooks: BTreeSet<Generation>,
}

#[derive(Debug)]
struct Grave {
    generation: Generation,
    record: Record,
}

impl Graves {
    /// Writes the outcome and waits for the journal.
    pub(crate) fn dig(
        &mut self,
        cx: &mut Context<'_>,
        generation: Generation,
        agent: &AgentName,
        record: Record,
    ) {
        let id = cx.record_for(agent, record.clone());
        let grave = Grave { generation, record };
        self.unrecorded.insert(id, grave);
    }

    /// The journal has answered. Says whether the record was one of these.
    pub(crate) fn recorded(
        &mut self,
        cx: &mut Context<'_>,
        agent: &AgentName,
        id: RecordId,
        result: &Result<(), String>,
    ) -> bool {
        let Some(grave) = self.unrecorded.remove(&id) else {
            return false;
        };
        match result {
            Ok(()) => self.release_if_over(cx, agent, grave.generation),
            Err(_) => {
                self.refused.push(grave);
                self.offer_at = Some(cx.after(OFFER_AGAIN));
            }
        }
        true
    }

    pub(crate) fn hook_begins(&mut self, generation: Generation) {
        self.hooks.insert(generation);
    }

    pub(crate) fn hook_ends(
        &mut self,
        cx: &mut Context<'_>,
        agent: &AgentName,
        generation: Generation,
    ) {
        if self.hooks.remove(&generation) {
            self.release_if_over(cx, agent, generation);
        }
    }

    pub(crate) fn tick(&mut self, cx: &mut Context<'_>, agent: &AgentName) {
        if self.offer_at.is_none_or(|at| at > cx.mono()) {
            return;
        }
        self.offer_at = None;
        for grave in std::mem::take(&mut self.refused) {
            self.dig(cx, grave.generation, agent, grave.record);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.offer_at.map(|at| (at, Why::Journal))
    }

    fn release_if_over(&self, cx: &mut Context<'_>, agent: &AgentName, generation: Generation) {
        let waits = |grave: &Grave| grave.generation == generation;
        let unrecorded = self.unrecorded.values().any(waits) || self.refused.iter().any(waits);
        if !unrecorded && !self.hooks.contains(&generation) {
            cx.order(Order::Release {
                instance: InstanceId {
                    agent: agent.clone(),
                    generation,
                },
            });
        }
    }
}

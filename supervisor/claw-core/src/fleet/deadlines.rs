//! Which agent is due next: an index over the deadlines that live in the phases.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::name::AgentName;

/// The deadline of each agent that has one, in order of time.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Mono, AgentName)>,
    of: BTreeMap<AgentName, Deadline>,
}

impl Deadlines {
    /// The deadline of an agent, or that it has none.
    pub(super) fn set(&mut self, agent: &AgentName, deadline: Option<Deadline>) {
        if self.of.get(agent).copied() == deadline {
            return;
        }
        if let Some((at, _)) = self.of.remove(agent) {
            self.order.remove(&(at, agent.clone()));
        }
        if let Some((at, why)) = deadline {
            self.order.insert((at, agent.clone()));
            self.of.insert(agent.clone(), (at, why));
        }
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<Deadline> {
        let (at, agent) = self.order.first()?;
        let why = self.of.get(agent).map_or(Why::Probe, |(_, why)| *why);
        Some((*at, why))
    }

    /// All who are due.
    pub(super) fn due(&self, now: Mono) -> Vec<AgentName> {
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, agent)| agent.clone()).collect()
    }
}

//! Agents that stand in for one another take over another configuration one at a time.
//!
//! ```text
//!   configured ──► ready under the old one ──its turn──► restarted ──ready──► the next one's turn
//!                                                            └─ not ready: the others wait
//! ```
//!
//! Whose turn is still to come is written nowhere: it is whose instance was started with another
//! configuration than the one in force. So a supervisor that takes over goes on with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::{Agent, Takeover};
use crate::name::AgentName;
use crate::spec::FleetSpec;

use super::Fleet;
use super::turn::{Todo, Turn};

/// Which agents stand in for which, and the groups in which turns may be to come.
#[derive(Debug, Default)]
pub(super) struct Rolls {
    groups: BTreeMap<AgentName, usize>,
    under_way: BTreeSet<usize>,
}

impl Rolls {
    pub(super) fn of_spec(spec: &FleetSpec) -> Self {
        let members = spec.groups.iter().enumerate();
        let groups = members.flat_map(|(group, members)| {
            let members = members.iter().cloned();
            members.map(move |member| (member, group))
        });
        Self {
            groups: groups.collect(),
            under_way: (0..spec.groups.len()).collect(),
        }
    }

    /// How an agent takes over another configuration.
    pub(super) fn takeover(&self, agent: &AgentName) -> Takeover {
        if self.groups.contains_key(agent) {
            Takeover::InTurn
        } else {
            Takeover::AtOnce
        }
    }

    /// Looks at the group of an agent that may have a turn to take.
    pub(super) fn begin_with(&mut self, agent: &AgentName) -> Option<usize> {
        let group = self.groups.get(agent).copied()?;
        self.under_way.insert(group);
        Some(group)
    }

    /// The group that has to be looked at after this agent has changed.
    pub(super) fn group_under_way(&self, agent: &AgentName) -> Option<usize> {
        if self.under_way.is_empty() {
            return None;
        }
        let group = self.groups.get(agent).copied();
        group.filter(|group| self.under_way.contains(group))
    }
}

impl Fleet {
    /// Looks at all groups: another configuration is in force.
    pub(super) fn begin_rolls(&self, turn: &mut Turn) {
        turn.todo
            .extend(self.rolls.under_way.iter().copied().map(Todo::Roll));
    }

    /// Gives the next of a group its turn if all others serve. Who does not serve takes it at once.
    pub(super) fn roll(&mut self, turn: &mut Turn, group: usize) {
        let spec = std::sync::Arc::clone(&self.spec);
        let Some(members) = spec.groups.get(group) else {
            return;
        };
        let (mut ready, mut unready, mut missed) = (Vec::new(), Vec::new(), false);
        for (name, agent) in members
            .iter()
            .filter_map(|name| self.agents.get_key_value(name))
        {
            match (agent.awaits_turn(), agent.is_ready()) {
                (true, true) => ready.push(name.clone()),
                (true, false) => unready.push(name.clone()),
                (false, _) => missed |= agent.is_missed(),
            }
        }
        if ready.is_empty() && unready.is_empty() {
            self.rolls.under_way.remove(&group);
        } else if unready.is_empty() && !missed {
            ready.truncate(1);
        } else {
            ready.clear();
        }
        for name in unready.into_iter().chain(ready) {
            self.visit(turn, &name, Agent::take_turn);
        }
    }
}

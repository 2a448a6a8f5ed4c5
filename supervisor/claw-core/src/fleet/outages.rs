//! Outages of providers of models: the fleet's side of the gates.

use crate::agent::Agent;
use crate::agent::need::Need;
use crate::clock::Wall;
use crate::gates::Passage;
use crate::id::InstanceId;
use crate::models::{ModelCall, ProviderName};
use crate::name::AgentName;

use super::Fleet;
use super::turn::Turn;

impl Fleet {
    /// A provider is out.
    pub(super) fn provider_down(&mut self, turn: &mut Turn, provider: ProviderName, until: Wall) {
        let gates = &mut self.source.gates;
        gates.provider_down(provider, until, turn.now);
    }

    /// A provider answers again.
    pub(super) fn provider_up(&mut self, turn: &mut Turn, provider: &ProviderName) {
        let (gates, random) = self.source.gates();
        gates.provider_up(provider, turn.now.mono, random);
    }

    /// Something was seen of an agent's use of models: the answer to the one that tries first
    /// opens the gate for the others.
    pub(super) fn model_called(&mut self, turn: &mut Turn, of: &InstanceId, call: &ModelCall) {
        let ModelCall::Answered { provider } = call else {
            return;
        };
        let agent = self.agents.get(&of.agent);
        if agent.and_then(Agent::live_generation) == Some(of.generation) {
            let (gates, random) = self.source.gates();
            gates.answered(&of.agent, provider, turn.now.mono, random);
        }
    }

    /// Brings an agent that was visited to its gate, or away from it. Returns what it needs of
    /// those who admit.
    pub(super) fn settle_at_gate(&mut self, turn: &mut Turn, name: &AgentName, need: Need) -> Need {
        if self.source.gates.is_idle() {
            return need;
        }
        let Some(agent) = self.agents.get(name) else {
            return need;
        };
        let (gates, random) = self.source.gates();
        match (need, agent.outage()) {
            (Need::StartSlot, Some(provider)) => {
                return match gates.arrive(name, provider, turn.now.mono, random) {
                    Passage::Free => need,
                    Passage::Stands => Need::Nothing,
                };
            }
            (Need::Nothing, _) if !agent.has_live() => gates.ended(name),
            (Need::Nothing | Need::Dependencies | Need::StartSlot | Need::Starting, _) => {}
        }
        gates.leave(name);
        need
    }

    /// Lets those pass whose turn it is, and tells the others how their gate stands.
    pub(super) fn tend_gates(&mut self, turn: &mut Turn) -> AtGates {
        let mut at_gates = AtGates::Nothing;
        while let Some(name) = self.next_through_gate(turn) {
            at_gates = AtGates::Something;
            self.visit(turn, &name, Agent::pass_gate);
        }
        for (name, since, stage) in self.source.gates.take_news() {
            at_gates = AtGates::Something;
            self.visit(turn, &name, |agent, cx| {
                agent.stands_at_gate(cx, since, stage);
            });
        }
        at_gates
    }

    fn next_through_gate(&mut self, turn: &Turn) -> Option<AgentName> {
        let (gates, random) = self.source.gates();
        gates.pass(turn.now.mono, random)
    }
}

/// Whether anything happened at the gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtGates {
    Nothing,
    Something,
}

//! From the kill switch to agents' ways out.

use std::collections::BTreeMap;

use claw_core::memory::AgentMemory;
use claw_core::{AgentName, Halt, HaltLevel};
use claw_gateway::Halts;

/// Shuts or opens what leads out of an agent.
pub(crate) fn turn(halts: &Halts, agent: &AgentName, halt: Option<&Halt>) {
    let shut = halt.filter(|halt| halt.level >= HaltLevel::Egress);
    let told = shut.map(|halt| claw_gateway::Halt {
        told: halt.to_string().into(),
        lift: format!("clawctl resume --halt {agent}").into(),
    });
    halts.turn(agent.as_str(), told);
}

/// Shuts what was shut under the supervisor before this one.
pub(crate) fn inherit(halts: &Halts, agents: &BTreeMap<AgentName, AgentMemory>) {
    for (agent, memory) in agents {
        turn(halts, agent, memory.switch.halt.as_ref());
    }
}

//! Who waits for whom, and in which order the fleet stops.
//!
//! Dependencies hold back starts. One that stops later stops nobody; only when the whole fleet
//! ends do agents go down in reverse order, each after all that depend on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::Agent;
use crate::name::AgentName;
use crate::spec::FleetSpec;

/// Per agent, those who depend on it.
#[derive(Debug, Default)]
pub(super) struct Dependents(BTreeMap<AgentName, BTreeSet<AgentName>>);

impl Dependents {
    pub(super) fn of_spec(spec: &FleetSpec) -> Self {
        let mut dependents: BTreeMap<AgentName, BTreeSet<AgentName>> = BTreeMap::new();
        for (name, agent) in &spec.agents {
            for dependency in agent.depends_on.keys() {
                let entry = dependents.entry(dependency.clone()).or_default();
                entry.insert(name.clone());
            }
        }
        Self(dependents)
    }

    /// Those who depend on `agent`.
    pub(super) fn of(&self, agent: &AgentName) -> impl Iterator<Item = &AgentName> {
        self.0.get(agent).into_iter().flatten()
    }
}

/// Those of the dependencies of `name` that have not reached what it waits for.
pub(super) fn missing(agents: &BTreeMap<AgentName, Agent>, name: &AgentName) -> Vec<AgentName> {
    let Some(agent) = agents.get(name) else {
        return Vec::new();
    };
    let depends_on = &agent.spec().depends_on;
    let unmet = depends_on.iter().filter(|(dependency, condition)| {
        agents
            .get(*dependency)
            .is_some_and(|agent| !agent.reached().satisfies(**condition))
    });
    unmet.map(|(dependency, _)| dependency.clone()).collect()
}

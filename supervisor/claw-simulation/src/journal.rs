//! What the journal keeps for a supervisor that comes after this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::memory::{AgentMemory, Recovered};
use claw_core::{AgentName, Inheritance, InstanceId, Record, Run, RunId, RunPhase};

/// A journal that takes everything at once and loses nothing.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    agents: BTreeMap<AgentName, AgentMemory>,
    /// Instances without an outcome, and the run each is for.
    open: BTreeMap<InstanceId, (Option<RunId>, String)>,
    runs: BTreeMap<RunId, Box<Run>>,
}

impl Journal {
    pub(crate) fn take(&mut self, record: Record) {
        match record {
            Record::Intent {
                instance,
                spec_hash,
                run,
                ..
            } => {
                self.open.insert(instance, (run, spec_hash));
            }
            Record::Outcome { instance, .. } => {
                self.open.remove(&instance);
            }
            Record::Memory { agent, memory, .. } => {
                self.agents.insert(agent, memory);
            }
            Record::Run(run) if matches!(run.phase, RunPhase::Finished { .. }) => {
                self.runs.remove(&run.id);
            }
            Record::Run(run) => {
                self.runs.insert(run.id, run);
            }
            Record::Removed { agent, .. } => {
                self.agents.remove(&agent);
            }
            Record::Started { .. } | Record::Slot { .. } => {}
        }
    }

    /// What the next supervisor begins with; `find` tells what became of an instance.
    pub(crate) fn inheritance(&self, find: impl Fn(&InstanceId) -> Recovered) -> Inheritance {
        let mut agents = self.agents.clone();
        for (InstanceId { agent, generation }, (_, spec_hash)) in &self.open {
            let memory = agents.entry(agent.clone()).or_default();
            if *generation >= memory.last_generation {
                memory.last_generation = *generation;
                memory.started_with = Some(spec_hash.clone());
            }
        }
        let open = self.open.iter();
        let mut runs: Vec<Arc<Run>> = self
            .runs
            .values()
            .map(|run| Arc::new(Run::clone(run)))
            .collect();
        runs.sort_by_key(|run| (run.queued_at, run.id));
        Inheritance {
            agents,
            instances: open
                .map(|(instance, (run, _))| (instance.clone(), *run, find(instance)))
                .collect(),
            runs,
            ..Inheritance::default()
        }
    }
}

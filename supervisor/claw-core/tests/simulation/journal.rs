//! The journal as it is promised: in order, and as durable as each record's class.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use claw_core::memory::AgentMemory;
use claw_core::{
    AgentName, Cause, Durability, InstanceId, Record, RecordId, Run, RunId, RunPhase, Trigger, Wall,
};

use crate::random::Random;

/// How the journal behaves at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It writes and answers.
    Well,
    /// It refuses.
    Failing,
    /// It writes and its answers are lost.
    Mute,
    /// It does neither write nor answer.
    Dead,
}

/// What the journal answers.
pub(crate) enum Answer {
    None,
    Recorded(RecordId),
    Failed(RecordId),
}

/// That an instance would be started.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) run: Option<RunId>,
    pub(crate) spec_hash: String,
}

/// The contents of a journal, as the next supervisor will read them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) agents: BTreeMap<AgentName, AgentMemory>,
    pub(crate) intents: BTreeMap<InstanceId, Intent>,
    pub(crate) outcomes: BTreeMap<InstanceId, Cause>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) slots: BTreeMap<(AgentName, Wall), Option<RunId>>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) mood: Mood,
    /// Handed over, not written: gone with the supervisor.
    waiting: VecDeque<(Option<RecordId>, Record)>,
    /// Written, and thus safe from the supervisor's death.
    log: Vec<Record>,
    /// How much of the log is safe from a power cut.
    synced: usize,
    pub(crate) contents: Contents,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            mood: Mood::Well,
            waiting: VecDeque::new(),
            log: Vec::new(),
            synced: 0,
            contents: Contents::default(),
        }
    }

    pub(crate) fn hand_over(&mut self, id: Option<RecordId>, record: Record) {
        self.waiting.push_back((id, record));
    }

    /// Writes the next record that waits.
    pub(crate) fn write_next(&mut self) -> Answer {
        let Some((id, record)) = self.waiting.pop_front() else {
            return Answer::None;
        };
        let written = match self.mood {
            Mood::Well | Mood::Mute => self.write(record),
            Mood::Failing | Mood::Dead => false,
        };
        let answers = matches!(self.mood, Mood::Well | Mood::Failing);
        match id {
            Some(id) if answers && written => Answer::Recorded(id),
            Some(id) if answers => Answer::Failed(id),
            Some(_) | None => Answer::None,
        }
    }

    fn write(&mut self, record: Record) -> bool {
        let durability = record.durability();
        if !self.contents.take_in(record.clone()) {
            return false;
        }
        self.log.push(record);
        if durability == Durability::PowerCut {
            self.synced = self.log.len();
        }
        true
    }

    /// The supervisor is dead: what was not written is lost.
    pub(crate) fn supervisor_died(&mut self) {
        self.waiting.clear();
    }

    /// The power is cut: of what was not synced, some beginning survives.
    pub(crate) fn power_cut(&mut self, random: &mut Random) {
        self.waiting.clear();
        let lost_at_most = (self.log.len() - self.synced) as u64;
        let kept = self.synced + usize::try_from(random.between(0, lost_at_most)).unwrap();
        self.log.truncate(kept);
        self.synced = kept;
        self.contents = Contents::default();
        for record in self.log.clone() {
            self.contents.take_in(record);
        }
    }

    /// Runs that have not ended, oldest first.
    pub(crate) fn open_runs(&self) -> Vec<Arc<Run>> {
        let runs = self.contents.runs.values();
        let mut open: Vec<Arc<Run>> = runs
            .filter(|run| !matches!(run.phase, RunPhase::Finished { .. }))
            .map(|run| Arc::new(run.clone()))
            .collect();
        open.sort_by_key(|run| (run.queued_at, run.id));
        open
    }
}

impl Contents {
    /// False for what a journal refuses: a slot that has its fate already.
    fn take_in(&mut self, record: Record) -> bool {
        match record {
            Record::Intent {
                instance,
                spec_hash,
                run,
                ..
            } => {
                self.intents.insert(instance, Intent { run, spec_hash });
            }
            Record::Started { .. } => {}
            Record::Outcome {
                instance, cause, ..
            } => {
                self.outcomes.entry(instance).or_insert(cause);
            }
            Record::Memory { agent, memory, .. } => {
                self.agents.insert(agent, memory);
            }
            Record::Run(run) => {
                if !self.is_for_its_own_slot(&run) {
                    return false;
                }
                self.runs.insert(run.id, *run);
            }
            Record::Slot {
                agent,
                planned,
                run,
                ..
            } => {
                let key = (agent, planned);
                if self.slots.contains_key(&key) {
                    return false;
                }
                self.slots.insert(key, run);
            }
            Record::Removed { agent, last } => {
                let memory = AgentMemory {
                    last_generation: last,
                    ..AgentMemory::default()
                };
                self.agents.insert(agent, memory);
            }
        }
        true
    }

    /// A new run for a slot must be the one that the slot names.
    fn is_for_its_own_slot(&self, run: &Run) -> bool {
        match (&run.phase, &run.trigger) {
            (RunPhase::Queued, Trigger::Schedule { slot }) => {
                self.slots.get(&(run.agent.clone(), *slot)) == Some(&Some(run.id))
            }
            (_, _) => true,
        }
    }
}

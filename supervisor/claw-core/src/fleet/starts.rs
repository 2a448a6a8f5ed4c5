//! Admission: only so many agents are between spawn and up at once.
//!
//! First come, first served. An agent that backs off has no place, so agents that fail together
//! come back no faster than the fleet may start them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use crate::agent::need::Need;
use crate::name::AgentName;

/// Who starts and who waits to.
#[derive(Debug, Default)]
pub(super) struct Starts {
    starting: BTreeSet<AgentName>,
    queue: BTreeMap<u64, AgentName>,
    place: BTreeMap<AgentName, u64>,
    last: u64,
}

impl Starts {
    /// What an agent needs now.
    pub(super) fn note(&mut self, agent: &AgentName, need: Need) {
        match need {
            Need::StartSlot => {
                self.starting.remove(agent);
                self.enqueue(agent);
            }
            Need::Starting => {
                self.dequeue(agent);
                self.starting.insert(agent.clone());
            }
            Need::Nothing | Need::Dependencies => {
                self.dequeue(agent);
                self.starting.remove(agent);
            }
        }
    }

    /// The next who may start, if there is a place.
    pub(super) fn next(&mut self, most: NonZeroU32) -> Option<AgentName> {
        let most = usize::try_from(most.get()).unwrap_or(usize::MAX);
        if self.starting.len() >= most {
            return None;
        }
        let (_, agent) = self.queue.pop_first()?;
        self.place.remove(&agent);
        Some(agent)
    }

    fn enqueue(&mut self, agent: &AgentName) {
        if self.place.contains_key(agent) {
            return;
        }
        self.last += 1;
        self.queue.insert(self.last, agent.clone());
        self.place.insert(agent.clone(), self.last);
    }

    fn dequeue(&mut self, agent: &AgentName) {
        if let Some(place) = self.place.remove(agent) {
            self.queue.remove(&place);
        }
    }
}

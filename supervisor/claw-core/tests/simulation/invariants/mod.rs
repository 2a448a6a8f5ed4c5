//! What must always be true, seen from outside: events in, actions out, and the true state of the
//! simulated machine. Nothing here asks the fleet what it thinks, except to catch it lying.

mod backoffs;
mod deliveries;
mod faces;
mod halts;
mod instances;
mod orders;
mod outages;
mod rolls;
mod runs;
mod tickets;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claw_core::memory::AgentMemory;
use claw_core::spec::FleetSpec;
use claw_core::{Action, AgentName, Event, Inheritance, Now, Record};

use crate::host::Host;
use crate::journal::Journal;
use crate::sut::Sut;

pub(crate) use instances::Instances;

/// A rule that was broken, and how.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.rule, self.detail)
    }
}

pub(crate) type Verdict = Result<(), Violation>;

/// `Err` with the rule and a sentence, unless `holds`.
#[expect(
    clippy::fn_params_excessive_bools,
    reason = "an assertion takes a condition"
)]
pub(crate) fn must(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            rule,
            detail: detail(),
        })
    }
}

/// One step as it is seen from outside.
pub(crate) struct Seen<'a> {
    /// The world's own time.
    pub(crate) time: Duration,
    /// `None` for the actions of a restore.
    pub(crate) event: Option<&'a Event>,
    pub(crate) actions: &'a [Action],
    pub(crate) spec: &'a Arc<FleetSpec>,
    pub(crate) journal: &'a Journal,
    pub(crate) host: &'a Host,
    /// How long the supervisor has been paused so far, in all.
    pub(crate) paused: Duration,
}

/// All invariants with what they remember.
#[derive(Default)]
pub(crate) struct Watch {
    tickets: tickets::Tickets,
    pub(crate) instances: Instances,
    backoffs: backoffs::Backoffs,
    runs: runs::Runs,
    deliveries: deliveries::Deliveries,
    faces: faces::Faces,
    halts: halts::Halts,
    rolls: rolls::Rolls,
    outages: outages::Outages,
    /// The memory of each agent as it was written down last.
    memories: BTreeMap<AgentName, AgentMemory>,
    ticks_at_once: u32,
    last_tick: Option<Duration>,
}

/// A thousand slots of each agent of a world, with a run each, all due at once.
const MOST_ACTIONS: usize = 7 * 1000 * 6;

/// More steps for one point in time than this mean that the fleet turns in circles.
const MOST_TICKS_AT_ONCE: u32 = 20;

impl Watch {
    /// After each step, before its actions are carried out.
    pub(crate) fn step(&mut self, seen: &Seen<'_>) -> Verdict {
        must(seen.actions.len() <= MOST_ACTIONS, "bounded", || {
            format!("{} actions in one step", seen.actions.len())
        })?;
        self.instances.learn(seen)?;
        self.tickets.step(seen, &self.instances)?;
        self.halts.step(seen)?;
        self.backoffs.learn(seen);
        self.runs.learn(seen);
        self.deliveries.learn(seen);
        self.outages.learn(seen);
        for action in seen.actions {
            self.remember(action);
            self.backoffs.check(seen, action, &self.instances)?;
            self.deliveries.check(seen, action, &self.instances)?;
            self.runs.check(seen, action, &self.instances)?;
            self.outages.check(seen, action, &self.instances)?;
            let known = (&self.memories, &self.halts);
            self.instances.check(seen, action, known)?;
            self.rolls
                .check(seen, action, (&self.instances, &self.memories))?;
        }
        self.faces.learn(seen);
        self.instances.check_kills(seen)
    }

    fn remember(&mut self, action: &Action) {
        let Action::Record { record, .. } = action else {
            return;
        };
        match record {
            Record::Memory { agent, memory, .. } => {
                self.memories.insert(agent.clone(), memory.clone());
            }
            Record::Removed { agent, .. } => {
                self.memories.remove(agent);
            }
            Record::Intent { .. }
            | Record::Started { .. }
            | Record::Outcome { .. }
            | Record::Run(_)
            | Record::Slot { .. } => {}
        }
    }

    /// After a tick: time must go on.
    pub(crate) fn after_tick(&mut self, sut: &Sut, seen_at: Duration, now: Now) -> Verdict {
        if let Some((at, why)) = sut.deadline() {
            must(at > now.mono, "deadline", || {
                format!("the deadline {at:?} ({why}) is past at {:?}", now.mono)
            })?;
        }
        let again = self.last_tick == Some(seen_at);
        self.ticks_at_once = if again { self.ticks_at_once + 1 } else { 0 };
        self.last_tick = Some(seen_at);
        must(self.ticks_at_once <= MOST_TICKS_AT_ONCE, "deadline", || {
            "ticks without end at one point in time".to_owned()
        })
    }

    /// What the fleet shows is what it announced.
    pub(crate) fn check_face(&self, sut: &Sut, agent: &AgentName, now: Now) -> Verdict {
        self.faces.check(sut, agent, now)
    }

    /// The supervisor died; who waited for it waits no more.
    pub(crate) fn supervisor_died(&mut self) {
        self.tickets.supervisor_died();
        self.faces.supervisor_died();
        self.rolls.supervisor_died();
        self.outages.supervisor_died();
        self.instances.supervisor_died();
    }

    pub(crate) fn power_cut(&mut self) {
        self.backoffs.forget();
    }

    /// The wall clock was set: delays that were stored in it may have changed.
    pub(crate) fn wall_clock_was_set(&mut self) {
        self.backoffs.forget();
        self.runs.wall_clock_was_set();
    }

    /// A new supervisor is about to take over.
    pub(crate) fn inherit(
        &mut self,
        spec: &FleetSpec,
        inheritance: &Inheritance,
        journal: &Journal,
        time: Duration,
    ) -> Verdict {
        self.tickets.check_promises(journal)?;
        self.halts.inherit(inheritance)?;
        self.backoffs
            .inherit(spec, &self.memories, &inheritance.agents);
        self.memories = inheritance.agents.clone();
        self.instances.inherit(inheritance, journal, time);
        self.runs.inherit(inheritance);
        self.deliveries.inherit(inheritance, &self.instances, time);
        Ok(())
    }

    /// At the end of all things.
    pub(crate) fn check_end(&self, journal: &Journal) -> Verdict {
        self.tickets.check_end()?;
        self.instances.check_end(journal)?;
        self.runs.check_end(journal)
    }

    pub(crate) fn check_all_answered(&self) -> Verdict {
        self.tickets.check_end()
    }
}

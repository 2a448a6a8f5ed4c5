//! Another configuration takes over: only what changed is touched.

use std::sync::Arc;

use crate::action::{Action, Answer};
use crate::agent::{Agent, Legacy, Place, Takeover};
use crate::id::Ticket;
use crate::memory::AgentMemory;
use crate::name::AgentName;
use crate::plan::{ChangeKind, ReloadClass, diff};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::spec::FleetSpec;

use super::dependencies::Dependents;
use super::rolls::Rolls;
use super::shutdown::Stage;
use super::turn::{Todo, Turn};
use super::{Fleet, Retired};

impl Retired {
    /// A halt outlives its agent: who comes back under its name is halted as before.
    pub(super) fn write_down(&self, turn: &mut Turn, agent: &AgentName) {
        let (agent, last) = (agent.clone(), self.last);
        if self.switch.halt.is_none() {
            turn.record(Record::Removed { agent, last });
            return;
        }
        let memory = AgentMemory {
            last_generation: last,
            switch: Box::new(self.switch.clone()),
            ..AgentMemory::default()
        };
        turn.record(Record::Memory {
            agent,
            memory,
            synced: true,
        });
    }
}

impl Fleet {
    pub(super) fn configure(&mut self, turn: &mut Turn, ticket: Ticket, fleet: &Arc<FleetSpec>) {
        if self.stage != Stage::Open {
            turn.refuse(ticket, Refusal::ShuttingDown);
            return;
        }
        let old = std::mem::replace(&mut self.spec, Arc::clone(fleet));
        self.dependents = Dependents::of_spec(fleet);
        self.rolls = Rolls::of_spec(fleet);
        let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for change in diff(&old, fleet) {
            let class = change.class();
            let name = change.agent;
            match change.kind {
                ChangeKind::Added => {
                    self.add(turn, &name);
                    added.push(name);
                }
                ChangeKind::Removed => {
                    self.remove(turn, &name);
                    removed.push(name);
                }
                ChangeKind::Changed { .. } => {
                    self.change(turn, &name, class.unwrap_or(ReloadClass::Live));
                    changed.push(name);
                }
            }
        }
        self.check_waiting(turn);
        self.begin_rolls(turn);
        turn.out.push(Action::Reply {
            ticket,
            result: Ok(Answer::Configured {
                added,
                changed,
                removed,
            }),
        });
    }

    /// An agent that left and of which nothing runs is forgotten.
    pub(super) fn retire_if_gone(&mut self, turn: &mut Turn, name: &AgentName) {
        let Some(agent) = self.agents.get(name) else {
            return;
        };
        if agent.place() != Place::Leaving || !agent.is_at_rest() {
            return;
        }
        let last = agent.last_generation();
        let switch = agent.switch().cloned().unwrap_or_default();
        self.visit(turn, name, |agent, cx| agent.bid_farewell(cx));
        if let Some(agent) = self.agents.remove(name) {
            self.orphans.take_over(agent.into_books());
        }
        self.seen.remove(name);
        self.deadlines.set(name, None);
        self.starts.note(name, crate::agent::need::Need::Nothing);
        self.calendars.remove(name);
        self.busy.remove(name);
        let retired = Retired { last, switch };
        retired.write_down(turn, name);
        self.retired.insert(name.clone(), retired);
    }

    fn add(&mut self, turn: &mut Turn, name: &AgentName) {
        if self.agents.contains_key(name) {
            // It left a moment ago and is still on its way down: it comes back when it is.
            self.change(turn, name, ReloadClass::Restart);
            return;
        }
        let Some(spec) = self.spec.agents.get(name) else {
            return;
        };
        let Retired { last, switch } = self.retired.remove(name).unwrap_or_default();
        let memory = AgentMemory {
            last_generation: last,
            switch: Box::new(switch),
            ..AgentMemory::default()
        };
        let mut agent = Agent::new(name.clone(), Arc::clone(spec), memory, turn.now.wall);
        agent.begin_anew();
        self.agents.insert(name.clone(), agent);
        self.visit(turn, name, |agent, cx| {
            agent.boot(cx, Legacy::default(), Takeover::AtOnce);
        });
    }

    fn remove(&mut self, turn: &mut Turn, name: &AgentName) {
        self.visit(turn, name, |agent, cx| agent.move_to(cx, Place::Leaving));
        // One that was at rest before does not come to rest any more.
        turn.todo.push_back(Todo::AtRest(name.clone()));
    }

    fn change(&mut self, turn: &mut Turn, name: &AgentName, class: ReloadClass) {
        let Some(spec) = self.spec.agents.get(name).map(Arc::clone) else {
            return;
        };
        let takeover = self.rolls.takeover(name);
        self.visit(turn, name, |agent, cx| match (class, takeover) {
            (ReloadClass::Live, _) => agent.change_live(cx, &spec),
            (ReloadClass::Restart, Takeover::AtOnce) => agent.change_by_restart(cx, spec),
            (ReloadClass::Restart, Takeover::InTurn) => agent.change_in_turn(cx, spec),
        });
    }

    /// Who waits may wait for others now.
    fn check_waiting(&self, turn: &mut Turn) {
        let waiting = self
            .seen
            .iter()
            .filter(|(_, seen)| seen.need == crate::agent::need::Need::Dependencies);
        let waiting = waiting.map(|(name, _)| Todo::CheckDependencies(name.clone()));
        turn.todo.extend(waiting);
    }
}

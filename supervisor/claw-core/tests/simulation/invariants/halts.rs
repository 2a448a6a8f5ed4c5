//! What is halted begins nothing, whoever asks and whatever dies, until somebody lifts the halt.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::action::{Announcement, Happened};
use claw_core::{
    Action, AgentName, Command, Event, HaltChange, HaltLevel, Hook, Inheritance, Order, Record,
    Ticket,
};

use super::{Seen, Verdict, must};

#[derive(Default)]
pub(crate) struct Halts {
    /// Who begins nothing.
    halted: BTreeSet<AgentName>,
    /// Those of them whose halt somebody wants to be lifted.
    lifting: BTreeSet<AgentName>,
    /// Halts that are not answered yet.
    open: BTreeMap<Ticket, (AgentName, HaltLevel)>,
    /// What every later supervisor must know.
    confirmed: BTreeMap<AgentName, HaltLevel>,
}

impl Halts {
    pub(crate) fn step(&mut self, seen: &Seen<'_>) -> Verdict {
        if let Some(Event::Command { ticket, command }) = seen.event {
            self.asked(seen, *ticket, command);
        }
        for action in seen.actions {
            match action {
                Action::Record {
                    record: Record::Intent { instance, .. },
                    ..
                }
                | Action::Order(
                    Order::Spawn { instance, .. }
                    | Order::Deliver { instance, .. }
                    | Order::RunHook {
                        instance,
                        hook: Hook::PreStart,
                        ..
                    },
                ) => must(!self.halted.contains(&instance.agent), "halt", || {
                    format!("{action:?} for one that is halted")
                })?,
                Action::Announce(Announcement {
                    agent,
                    happened: Happened::SwitchTurned { change },
                    ..
                }) => self.turned(agent, change)?,
                Action::Reply { ticket, result } => {
                    if let Some((agent, level)) = self.open.remove(ticket)
                        && result.is_ok()
                    {
                        self.confirmed.insert(agent, level);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether somebody wants its halt to be lifted, and it may still be in force.
    pub(crate) fn is_lifting(&self, agent: &AgentName) -> bool {
        self.lifting.contains(agent)
    }

    fn asked(&mut self, seen: &Seen<'_>, asked: Ticket, command: &Command) {
        let refused = seen.actions.iter().any(
            |action| matches!(action, Action::Reply { ticket, result: Err(_) } if *ticket == asked),
        );
        match command {
            Command::Halt { agent, halt } if !refused => {
                self.open.retain(|_, (other, _)| other != agent);
                self.open.insert(asked, (agent.clone(), halt.level));
                self.halted.insert(agent.clone());
                self.lifting.remove(agent);
                self.confirmed.remove(agent);
            }
            Command::Lift { agent, .. } if !refused => {
                self.open.retain(|_, (other, _)| other != agent);
                self.lifting.insert(agent.clone());
                self.confirmed.remove(agent);
            }
            _ => {}
        }
    }

    fn turned(&mut self, agent: &AgentName, change: &HaltChange) -> Verdict {
        if let HaltChange::Lifted { .. } = change {
            must(self.lifting.remove(agent), "halt", || {
                format!("nobody wanted the halt of {agent} to be lifted")
            })?;
            self.halted.remove(agent);
        }
        Ok(())
    }

    /// The supervisor died. What was confirmed is known to the next one; of what was not, it
    /// knows what the journal took.
    pub(crate) fn inherit(&mut self, inheritance: &Inheritance) -> Verdict {
        let halts = inheritance.agents.iter();
        let halts = halts.filter_map(|(agent, memory)| {
            let halt = memory.switch.halt.as_ref()?;
            Some((agent.clone(), halt.level))
        });
        let known: BTreeMap<AgentName, HaltLevel> = halts.collect();
        for (agent, level) in &self.confirmed {
            must(known.get(agent) == Some(level), "halt", || {
                format!("{agent} was confirmed halted at {level}, known is {known:?}")
            })?;
        }
        self.halted = known.into_keys().collect();
        self.lifting.clear();
        self.open.clear();
        Ok(())
    }
}

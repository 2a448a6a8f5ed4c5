//! Each ticket is answered exactly once, and what was promised is kept.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::memory::Goal;
use claw_core::{Action, AgentName, Answer, Command, Event, Record, Refusal, RunId, Ticket};

use super::{Instances, Seen, Verdict, must};
use crate::journal::Journal;

#[derive(Default)]
pub(crate) struct Tickets {
    /// Not answered yet; `None` for a configuration.
    open: BTreeMap<Ticket, Option<Command>>,
    /// What every later supervisor must know: the goals whose change was confirmed.
    goals: BTreeMap<AgentName, Goal>,
    /// The runs that were confirmed.
    runs: BTreeSet<RunId>,
}

impl Tickets {
    pub(crate) fn step(&mut self, seen: &Seen<'_>, instances: &Instances) -> Verdict {
        match seen.event {
            Some(Event::Command { ticket, command }) => {
                self.open.insert(*ticket, Some(command.clone()));
                if let Command::Start { agent }
                | Command::Stop { agent }
                | Command::Restart { agent } = command
                {
                    self.goals.remove(agent);
                }
            }
            Some(Event::Configure { ticket, .. }) => {
                self.open.insert(*ticket, None);
                self.goals.clear();
            }
            Some(Event::Tick | Event::Fact(_) | Event::Shutdown(_)) | None => {}
        }
        for action in seen.actions {
            match action {
                Action::Reply { ticket, result } => {
                    self.answered(seen, *ticket, result, instances)?;
                }
                Action::Record {
                    record: Record::Removed { agent, .. },
                    ..
                } => {
                    self.goals.remove(agent);
                }
                // Of one that left the fleet halted, the halt is remembered and nothing else.
                Action::Record {
                    id: None,
                    record: Record::Memory { agent, .. },
                } if !seen.spec.agents.contains_key(agent) => {
                    self.goals.remove(agent);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answered(
        &mut self,
        seen: &Seen<'_>,
        ticket: Ticket,
        result: &Result<Answer, Refusal>,
        instances: &Instances,
    ) -> Verdict {
        let open = self.open.remove(&ticket);
        must(open.is_some(), "ticket", || {
            format!("{ticket:?} was answered, and nobody waits for it")
        })?;
        let (Some(Some(command)), Ok(answer)) = (open, result) else {
            return Ok(());
        };
        match (&command, answer) {
            (Command::Stop { agent }, _) => {
                let rest = instances.alive_of(agent, seen);
                must(rest.is_empty(), "ticket", || {
                    format!("{agent} was reported stopped beside {rest:?}")
                })?;
                self.confirm_goal(agent, Goal::Down);
            }
            (Command::Start { agent }, _) => self.confirm_goal(agent, Goal::Up),
            (Command::Trigger { .. }, Answer::Run(run)) => {
                must(
                    seen.journal.contents.runs.contains_key(&run.id),
                    "durable",
                    || format!("run {} was promised before it was written down", run.id),
                )?;
                self.runs.insert(run.id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Unless a newer command about the same agent is under way.
    fn confirm_goal(&mut self, agent: &AgentName, goal: Goal) {
        let newer = self
            .open
            .values()
            .flatten()
            .any(|command| command.agent() == agent);
        if !newer {
            self.goals.insert(agent.clone(), goal);
        }
    }

    /// What was confirmed is known to the next supervisor, whatever happened to the last.
    pub(crate) fn check_promises(&self, journal: &Journal) -> Verdict {
        for (agent, goal) in &self.goals {
            let memory = journal.contents.agents.get(agent);
            let known = memory.map_or(Goal::Up, |memory| memory.goal);
            must(known == *goal, "durable", || {
                format!("{agent} was confirmed {goal:?} and is remembered {known:?}")
            })?;
        }
        for run in &self.runs {
            must(journal.contents.runs.contains_key(run), "durable", || {
                format!("the confirmed run {run} is lost")
            })?;
        }
        Ok(())
    }

    pub(crate) fn supervisor_died(&mut self) {
        self.open.clear();
    }

    pub(crate) fn check_end(&self) -> Verdict {
        must(self.open.is_empty(), "ticket", || {
            format!("never answered: {:?}", self.open)
        })
    }
}

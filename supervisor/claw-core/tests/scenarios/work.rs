//! What workers of a story do with the runs they are given.

use claw_core::{Command, Event, Fact, InstanceId, RunId, RunPhase, WorkOutcome};

use crate::stage::Stage;

/// A run in the hands of a worker, and its attempt.
pub(crate) type Delivered = (InstanceId, RunId, u32);

impl Stage {
    /// The oldest run that the newest instance was given ends.
    pub(crate) fn finishes(&mut self, name: &str, how: &str) -> Vec<Event> {
        let newest = self.newest(name);
        let own = |(instance, ..): &Delivered| *instance == newest;
        let at = self.delivered.iter().position(own).unwrap();
        let (instance, run, attempt) = self.delivered.remove(at);
        let outcome = match how {
            "done" => WorkOutcome::Succeeded,
            _ => WorkOutcome::Failed {
                message: "no route to host".to_owned(),
                retryable: how == "retries",
            },
        };
        vec![Event::Fact(Fact::RunFinished {
            instance,
            run,
            attempt,
            outcome,
        })]
    }

    /// An adopted instance speaks of the runs that it was given.
    pub(crate) fn resumes(&self, name: &str, what: &str) -> Vec<Event> {
        let instance = self.newest(name);
        let own = self.delivered.iter().filter(|(of, ..)| *of == instance);
        let running = own.map(|(_, run, attempt)| (*run, *attempt));
        let running = running.filter(|_| what == "all").collect();
        vec![Event::Fact(Fact::Resumed { instance, running })]
    }

    /// Somebody calls the newest unfinished run off.
    pub(crate) fn cancels(&mut self, name: &str) -> Vec<Event> {
        let unfinished = self.runs.values().filter(|run| {
            run.agent.as_str() == name && !matches!(run.phase, RunPhase::Finished { .. })
        });
        let run = unfinished.max_by_key(|run| run.queued_at).unwrap().id;
        let agent = name.parse().unwrap();
        vec![Event::Command {
            ticket: self.ticket(),
            command: Command::Cancel { agent, run },
        }]
    }
}

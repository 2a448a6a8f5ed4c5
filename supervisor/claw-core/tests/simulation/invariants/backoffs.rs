//! No daemon starts again before its delay is over, unless somebody asked for it. The delays are
//! counted here anew, from nothing but ends and starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claw_core::memory::AgentMemory;
use claw_core::restart::{Class, classify, delay};
use claw_core::spec::{FleetSpec, Mode, Restart, RestartPolicy};
use claw_core::{
    Action, AgentName, Cause, Event, Generation, InstanceId, Order, Record, SpawnStage,
};

use super::{Instances, Seen, Verdict, must};

#[derive(Default)]
pub(crate) struct Backoffs {
    known: BTreeMap<AgentName, Backoff>,
    /// Their file was changed while no supervisor ran: what is found at the takeover is forgiven.
    reconfigured: BTreeSet<AgentName>,
}

#[derive(Debug, Default)]
struct Backoff {
    /// Automatic restarts without healthy operation in between.
    in_a_row: u32,
    not_before: Option<Duration>,
    /// Somebody asked for a start since the last one.
    excused: bool,
    lived: Duration,
    counted: Generation,
}

impl Backoffs {
    pub(crate) fn learn(&mut self, seen: &Seen<'_>) {
        match seen.event {
            Some(Event::Command { command, .. }) => {
                let backoff = self.known.entry(command.agent().clone()).or_default();
                backoff.excused = true;
                backoff.in_a_row = 0;
            }
            Some(Event::Configure { .. }) => self.forget(),
            Some(Event::Tick | Event::Fact(_) | Event::Shutdown(_)) | None => {}
        }
    }

    pub(crate) fn check(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        instances: &Instances,
    ) -> Verdict {
        match action {
            Action::Record {
                record: Record::Outcome {
                    instance, cause, ..
                },
                ..
            } => {
                self.ended(seen, instance, cause, instances);
                Ok(())
            }
            Action::Order(Order::Spawn {
                instance,
                spec,
                run: _,
            }) if spec.mode != Mode::Oneshot => self.starts(seen, instance),
            _ => Ok(()),
        }
    }

    fn ended(&mut self, seen: &Seen<'_>, id: &InstanceId, cause: &Cause, instances: &Instances) {
        let Some(spec) = seen.spec.agents.get(&id.agent) else {
            return;
        };
        let backoff = self.known.entry(id.agent.clone()).or_default();
        let mode = instances.mode_of(id).unwrap_or(spec.mode);
        if mode != spec.mode {
            // What comes next is of another kind, and begins with nothing held against it.
            backoff.not_before = None;
            backoff.in_a_row = 0;
            return;
        }
        let daemon = mode != Mode::Oneshot;
        if !daemon || backoff.counted >= id.generation {
            return;
        }
        backoff.counted = id.generation;
        backoff.lived = instances.lived_for(id, seen.time);
        if backoff.lived >= spec.restart.reset_after {
            backoff.in_a_row = 0;
        }
        // Whoever starts the supervisor again asks for a start.
        let forgiven = seen.event.is_none() && self.reconfigured.contains(&id.agent);
        let restarts =
            instances.shutdown.is_none() && !forgiven && restarts_later(&spec.restart, cause);
        if restarts {
            backoff.in_a_row += 1;
            let least = delay(&spec.restart, backoff.in_a_row, 0);
            backoff.not_before = Some(seen.time + least);
        } else {
            backoff.not_before = None;
        }
    }

    fn starts(&mut self, seen: &Seen<'_>, id: &InstanceId) -> Verdict {
        let backoff = self.known.entry(id.agent.clone()).or_default();
        let excused = std::mem::take(&mut backoff.excused);
        let Some(not_before) = backoff.not_before.take() else {
            return Ok(());
        };
        // Delays are written down in whole milliseconds or finer, and clocks are read a bit apart.
        let early = not_before.saturating_sub(seen.time);
        must(
            excused || early <= Duration::from_millis(2),
            "backoff",
            || {
                format!(
                    "{id} starts {early:?} before its delay is over ({backoff:?}, {:?})",
                    seen.spec.agents[&id.agent].restart
                )
            },
        )
    }

    /// What the journal did not have when the supervisor died, nobody remembers.
    pub(crate) fn inherit(
        &mut self,
        spec: &FleetSpec,
        written: &BTreeMap<AgentName, AgentMemory>,
        known: &BTreeMap<AgentName, AgentMemory>,
    ) {
        self.reconfigured.clear();
        for (agent, known) in known {
            let backoff = self.known.entry(agent.clone()).or_default();
            // A generation that the journal never took is used again.
            backoff.counted = backoff.counted.min(known.last_generation);
            let hash = spec.agents.get(agent).map(|spec| spec.hash());
            let reconfigured = known.started_with.is_some() && known.started_with != hash;
            let forgotten = written.get(agent).is_some_and(|written| {
                written.restarts_in_a_row != known.restarts_in_a_row
                    || written.next_start != known.next_start
                    || written.latch != known.latch
            });
            if reconfigured {
                self.reconfigured.insert(agent.clone());
                backoff.forget();
            } else if forgotten {
                backoff.in_a_row = backoff.in_a_row.min(known.restarts_in_a_row);
                backoff.not_before = None;
            }
        }
    }

    /// Nothing can be held against a start after this.
    pub(crate) fn forget(&mut self) {
        self.known.values_mut().for_each(Backoff::forget);
    }
}

impl Backoff {
    fn forget(&mut self) {
        self.not_before = None;
        self.in_a_row = 0;
        self.excused = true;
    }
}

fn restarts_later(restart: &Restart, cause: &Cause) -> bool {
    // What the supervisor itself could not do is nothing to punish the agent for.
    if let Cause::Spawn { error } = cause
        && error.stage == SpawnStage::Prepare
    {
        return false;
    }
    match classify(&restart.exit_codes, cause) {
        Class::Hindered => true,
        Class::Refused => false,
        Class::Success => restart.policy == RestartPolicy::Always,
        Class::Failure | Class::Retry => restart.policy != RestartPolicy::Never,
        Class::Fatal | Class::Again | Class::Ordered => false,
    }
}

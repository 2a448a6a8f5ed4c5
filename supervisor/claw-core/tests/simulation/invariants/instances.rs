//! What an attentive observer knows of each instance: from orders given and facts delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use claw_core::action::{Announcement, Happened};
use claw_core::death::Cause;
use claw_core::event::ShutdownMode;
use claw_core::memory::Recovered;
use claw_core::notification::Lifecycle;
use claw_core::order::HookOutcome;
use claw_core::spec::{AgentSpec, Check, FleetSpec, Mode};
use claw_core::status::Reason;
use claw_core::{
    Action, AgentName, Event, Fact, Generation, Hook, Inheritance, InstanceId, Order, ProbeKind,
    ProbeOutcome, Record,
};

use super::{Seen, Verdict, must};
use crate::journal::Journal;

#[derive(Default)]
pub(crate) struct Instances {
    pub(crate) known: BTreeMap<InstanceId, Known>,
    /// Those that may still run.
    pub(crate) live: BTreeSet<InstanceId>,
    /// The newest generation that was ever written down or started.
    pub(crate) newest: BTreeMap<AgentName, Generation>,
    pub(crate) shutdown: Option<ShutdownMode>,
}

/// One instance.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "things seen or not seen, each by itself"
)]
pub(crate) struct Known {
    pub(crate) spec: Option<Arc<AgentSpec>>,
    pub(crate) spawned: Option<Duration>,
    pub(crate) started: Option<Duration>,
    /// Its startup was seen to be done.
    pub(crate) up: bool,
    /// Nothing of it is left, and the supervisor was told.
    pub(crate) ended: bool,
    pub(crate) main_exited: Option<Duration>,
    pub(crate) signalled: Option<Signalled>,
    pub(crate) killed: bool,
    pub(crate) hook: bool,
    pub(crate) pre_start_passed: bool,
    pub(crate) frozen: bool,
    /// Its image is fetched.
    pub(crate) preparing: bool,
    /// It has said of itself that it is ready.
    pub(crate) said_ready: bool,
    /// A readiness check of it has passed, ever.
    pub(crate) readiness_passed: bool,
    pub(crate) probes: BTreeMap<ProbeKind, (u64, Duration)>,
    /// The shortest and the longest grace that any configuration since its start gave it.
    pub(crate) grace: Option<(Duration, Duration)>,
    /// How many agents might start at once when its turn came.
    pub(crate) places: u32,
}

impl Known {
    pub(crate) fn note_grace(&mut self, spec: &AgentSpec) {
        let timeout = spec.shutdown.timeout;
        let (shortest, longest) = self.grace.unwrap_or((timeout, timeout));
        self.grace = Some((shortest.min(timeout), longest.max(timeout)));
    }
}

/// When it was asked to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signalled {
    pub(crate) at: Duration,
    /// The shortest and the longest grace that could be meant.
    pub(crate) grace: (Duration, Duration),
    pub(crate) paused: Duration,
}

impl Instances {
    /// Those of an agent of which something may run, as far as the supervisor can know.
    pub(crate) fn alive_of(&self, agent: &AgentName, _seen: &Seen<'_>) -> Vec<&InstanceId> {
        self.live
            .iter()
            .filter(|id| id.agent == *agent && self.known[*id].spawned.is_some())
            .collect()
    }

    /// As what it was started.
    pub(crate) fn mode_of(&self, id: &InstanceId) -> Option<Mode> {
        let spec = self.known.get(id).and_then(|known| known.spec.as_ref());
        spec.map(|spec| spec.mode)
    }

    /// At most, that is: of a start the supervisor may hear late, and its successor reads on
    /// record when it was.
    pub(crate) fn lived_for(&self, id: &InstanceId, time: Duration) -> Duration {
        let known = self.known.get(id);
        let started = known.and_then(|known| known.started.and(known.spawned));
        started.map_or(Duration::ZERO, |started| time.saturating_sub(started))
    }

    /// Takes in what the supervisor was told, before what it makes of it is judged.
    pub(crate) fn learn(&mut self, seen: &Seen<'_>) -> Verdict {
        match seen.event {
            Some(Event::Fact(fact)) => {
                self.check_reaction(seen, fact)?;
                self.learn_fact(seen, fact);
            }
            Some(Event::Shutdown(mode)) => {
                self.shutdown = match (self.shutdown, mode) {
                    (Some(ShutdownMode::Hasten), ShutdownMode::Stop) => self.shutdown,
                    (_, mode) => Some(*mode),
                };
            }
            Some(Event::Configure { fleet, .. }) => self.note_graces(fleet),
            Some(Event::Tick | Event::Command { .. }) => {}
            None => self.note_graces(seen.spec),
        }
        Ok(())
    }

    fn note_graces(&mut self, fleet: &FleetSpec) {
        for id in &self.live {
            if let (Some(known), Some(spec)) = (self.known.get_mut(id), fleet.agents.get(&id.agent))
            {
                known.note_grace(spec);
                known.up |= known.started.is_some() && spec.probes.startup.is_none();
            }
        }
    }

    /// What is stale, and what says nothing about the life of an agent, ends nothing.
    fn check_reaction(&self, seen: &Seen<'_>, fact: &Fact) -> Verdict {
        let Some(id) = instance_of(fact) else {
            return Ok(());
        };
        let ended = self.known.get(id).is_some_and(|known| known.ended);
        let ending = |action: &Action| match action {
            Action::Order(order) => {
                order.instance() == id
                    && matches!(
                        order,
                        Order::Signal { .. } | Order::Kill { .. } | Order::Spawn { .. }
                    )
            }
            _ => false,
        };
        let ends = seen.actions.iter().find(|action| ending(action));
        if let Some(action) = ends {
            must(!ended, "stale", || format!("{fact:?} led to {action:?}"))?;
        }
        if let Fact::Probed { probe, outcome, .. } = fact {
            let harmless = *probe == ProbeKind::Readiness
                || matches!(outcome, ProbeOutcome::Unknown(_) | ProbeOutcome::Success);
            let is_turn = seen.actions.iter().any(|action| is_turn_of(action, id));
            must(!harmless || ends.is_none() || is_turn, "readiness", || {
                format!("{fact:?} led to {ends:?}")
            })?;
        }
        let second_outcome = |action: &&Action| match action {
            Action::Record {
                record: Record::Outcome { instance, .. },
                ..
            } => instance == id && seen.journal.contents.outcomes.contains_key(id),
            _ => false,
        };
        let second = seen.actions.iter().find(second_outcome);
        must(second.is_none(), "outcome", || {
            format!("{id} ended once more: {second:?}")
        })
    }

    fn learn_fact(&mut self, seen: &Seen<'_>, fact: &Fact) {
        let Some(known) = instance_of(fact).and_then(|id| self.known.get_mut(id)) else {
            return;
        };
        match fact {
            Fact::Recorded(_)
            | Fact::RecordFailed { .. }
            | Fact::SelfChecked { .. }
            | Fact::Progressed { .. }
            | Fact::BrokeProtocol { .. }
            | Fact::RunTaken { .. }
            | Fact::RunProgressed { .. }
            | Fact::RunFinished { .. }
            | Fact::Observed { .. }
            | Fact::Unobserved { .. }
            | Fact::NeedsRestart { .. }
            | Fact::ModelCall { .. }
            | Fact::ProviderDown { .. }
            | Fact::ProviderUp { .. }
            | Fact::Resumed { .. } => {}
            Fact::Preparing { .. } => known.preparing = known.started.is_none(),
            Fact::Started { instance, .. } => {
                known.preparing = false;
                known.started.get_or_insert(seen.time);
                let current = seen.spec.agents.get(&instance.agent);
                known.up |= [known.spec.as_ref(), current]
                    .into_iter()
                    .flatten()
                    .any(|spec| spec.probes.startup.is_none());
            }
            Fact::MainExited { .. } => {
                known.main_exited.get_or_insert(seen.time);
            }
            Fact::SpawnFailed { instance, .. }
            | Fact::Gone { instance, .. }
            | Fact::Lost { instance } => {
                known.ended = true;
                self.live.remove(instance);
            }
            Fact::Probed {
                probe,
                sequence,
                outcome,
                ..
            } => {
                let awaited = known.probes.get(probe);
                if awaited.is_some_and(|(last, _)| last == sequence) {
                    known.probes.remove(probe);
                }
                let passed = *outcome == ProbeOutcome::Success;
                known.up |= *probe == ProbeKind::Startup && passed;
                known.readiness_passed |= *probe == ProbeKind::Readiness && passed;
            }
            Fact::Notified {
                instance,
                notification,
            } => {
                let current = seen.spec.agents.get(&instance.agent);
                let mut specs = [known.spec.as_ref(), current].into_iter().flatten();
                let ready = notification.lifecycle == Some(Lifecycle::Ready);
                known.said_ready |= ready;
                known.up |= ready && specs.any(|spec| waits_for_ready(spec));
            }
            Fact::HookDone { hook, outcome, .. } => {
                known.hook = false;
                known.pre_start_passed |=
                    *hook == Hook::PreStart && *outcome == HookOutcome::Success;
            }
        }
    }

    /// Those that hold a place among the starting ones for certain.
    pub(crate) fn starting(&self) -> Vec<&InstanceId> {
        let certain = |id: &&InstanceId| {
            let known = &self.known[*id];
            let ending = known.signalled.is_some() || known.killed || known.main_exited.is_some();
            let waits = known.frozen || known.preparing;
            known.spawned.is_some() && !known.up && !ending && !waits
        };
        self.live.iter().filter(certain).collect()
    }

    pub(crate) fn supervisor_died(&mut self) {
        self.shutdown = None;
    }

    /// A new supervisor knows what it was told at its start.
    pub(crate) fn inherit(&mut self, inheritance: &Inheritance, journal: &Journal, time: Duration) {
        // A power cut may take the newest generations along, and with them all memory of them.
        self.known
            .retain(|id, _| journal.contents.intents.contains_key(id));
        for known in self.known.values_mut() {
            known.ended = true;
            known.hook = false;
            known.signalled = None;
            known.killed = false;
            known.main_exited = None;
            known.probes.clear();
        }
        self.live.clear();
        self.newest.clear();
        for (id, _, found) in &inheritance.instances {
            let newest = self.newest.entry(id.agent.clone()).or_default();
            *newest = (*newest).max(id.generation);
            if matches!(found, Recovered::Alive { .. }) {
                let known = self.known.entry(id.clone()).or_default();
                known.ended = false;
                known.up = true;
                known.readiness_passed = true;
                let spawned = *known.spawned.get_or_insert(time);
                known.started.get_or_insert(spawned);
                self.live.insert(id.clone());
            }
        }
        for (agent, memory) in &inheritance.agents {
            let newest = self.newest.entry(agent.clone()).or_default();
            *newest = (*newest).max(memory.last_generation);
        }
    }

    /// Every instance that was written down ended, and this too was written down.
    pub(crate) fn check_end(&self, journal: &Journal) -> Verdict {
        let contents = &journal.contents;
        let open = contents
            .intents
            .keys()
            .find(|id| !contents.outcomes.contains_key(*id));
        must(open.is_none(), "outcome", || {
            format!("{open:?} has no outcome")
        })
    }
}

pub(crate) fn instance_of(fact: &Fact) -> Option<&InstanceId> {
    match fact {
        Fact::Recorded(_)
        | Fact::RecordFailed { .. }
        | Fact::ProviderDown { .. }
        | Fact::ProviderUp { .. } => None,
        Fact::Started { instance, .. }
        | Fact::SpawnFailed { instance, .. }
        | Fact::MainExited { instance, .. }
        | Fact::Gone { instance, .. }
        | Fact::Lost { instance }
        | Fact::Probed { instance, .. }
        | Fact::SelfChecked { instance, .. }
        | Fact::Notified { instance, .. }
        | Fact::Progressed { instance }
        | Fact::ModelCall { instance, .. }
        | Fact::BrokeProtocol { instance }
        | Fact::RunTaken { instance, .. }
        | Fact::RunProgressed { instance, .. }
        | Fact::RunFinished { instance, .. }
        | Fact::Resumed { instance, .. }
        | Fact::Preparing { instance, .. }
        | Fact::Unobserved { instance, .. }
        | Fact::NeedsRestart { instance, .. }
        | Fact::Observed { instance }
        | Fact::HookDone { instance, .. } => Some(instance),
    }
}

fn waits_for_ready(spec: &AgentSpec) -> bool {
    let startup = spec.probes.startup.as_ref();
    startup.is_none_or(|probe| probe.check == Check::Heartbeat)
}

/// Whether an instance is ended for another configuration: a replica's turn may come with any
/// change of its group.
fn is_turn_of(action: &Action, id: &InstanceId) -> bool {
    let Action::Announce(Announcement {
        agent, happened, ..
    }) = action
    else {
        return false;
    };
    let Happened::StateChanged { reason, .. } = happened else {
        return false;
    };
    let cause = Cause::Reconfigured;
    *agent == id.agent && *reason == Reason::Ending { cause }
}

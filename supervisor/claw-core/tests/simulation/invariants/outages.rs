//! Of those that die of an outage of a provider one tries first, and nobody is ended for want of
//! progress who makes some.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use claw_core::spec::Mode;
use claw_core::{
    Action, AgentName, Cause, Event, Fact, InstanceId, ModelCall, ProviderName, Record,
};

use super::{Instances, Seen, Verdict, must};

/// Nobody but the first one passes a gate sooner than this after its end.
const HELD: Duration = Duration::from_secs(300);

/// How long after a call that met an outage an end is laid to it.
const OUTAGE_COUNTS: Duration = Duration::from_secs(600);

/// So many failures of the same request are no progress.
const NO_PROGRESS: u32 = 20;

#[derive(Default)]
pub(crate) struct Outages {
    down: BTreeMap<ProviderName, Down>,
    calls: BTreeMap<InstanceId, Calls>,
    /// Who died of an outage and has not started since.
    died: BTreeMap<AgentName, (ProviderName, Duration)>,
    /// Callers whose end was seen.
    buried: BTreeSet<InstanceId>,
    paused: Duration,
}

#[derive(Debug)]
struct Down {
    since: Duration,
    first: Option<InstanceId>,
}

/// What an instance met since its last answer.
#[derive(Debug, Default)]
struct Calls {
    failed: u32,
    outage: Option<(ProviderName, Duration)>,
}

impl Outages {
    pub(crate) fn learn(&mut self, seen: &Seen<'_>) {
        if seen.paused != self.paused {
            // What was held may have been held for longer.
            self.paused = seen.paused;
            self.died.clear();
        }
        match seen.event {
            Some(Event::Fact(Fact::ProviderDown { provider, .. })) => {
                let since = seen.time;
                let down = Down { since, first: None };
                self.down.entry(provider.clone()).or_insert(down);
            }
            Some(Event::Fact(Fact::ProviderUp { provider })) => {
                self.down.remove(provider);
            }
            Some(Event::Fact(Fact::ModelCall { instance, call })) => {
                self.called(seen.time, instance, call);
            }
            Some(Event::Command { command, .. }) => {
                self.died.remove(command.agent());
            }
            Some(Event::Configure { .. }) => self.died.clear(),
            Some(Event::Tick | Event::Fact(_) | Event::Shutdown(_)) | None => {}
        }
    }

    fn called(&mut self, time: Duration, id: &InstanceId, call: &ModelCall) {
        // A call may be told of after the end of whoever made it.
        if self.buried.contains(id) {
            return;
        }
        let calls = self.calls.entry(id.clone()).or_default();
        match call {
            ModelCall::Began { .. } | ModelCall::Progressed { .. } | ModelCall::Ended { .. } => {}
            ModelCall::Answered { provider } => {
                *calls = Calls::default();
                let down = self.down.get(provider);
                if down.is_some_and(|down| down.first.as_ref() == Some(id)) {
                    self.down.remove(provider);
                }
            }
            ModelCall::Failed { .. } => {
                calls.failed += 1;
                calls.outage = None;
            }
            ModelCall::ProviderOut { provider } => {
                calls.outage = Some((provider.clone(), time));
            }
        }
    }

    pub(crate) fn check(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        instances: &Instances,
    ) -> Verdict {
        let Action::Record { record, .. } = action else {
            return Ok(());
        };
        match record {
            Record::Intent { instance, .. } => self.starts(seen, instance),
            Record::Outcome {
                instance,
                cause,
                failed,
                ..
            } => {
                for down in self.down.values_mut() {
                    down.first.take_if(|first| first == instance);
                }
                // An end that the journal did not take is written once more.
                let Some(calls) = self.calls.remove(instance) else {
                    let unknown =
                        matches!(cause, Cause::NoProgress(_)) && !self.buried.contains(instance);
                    return must(!unknown, "no progress", || {
                        format!("{instance} made no call")
                    });
                };
                self.buried.insert(instance.clone());
                if let Cause::NoProgress(_) = cause {
                    must(calls.failed >= NO_PROGRESS, "no progress", || {
                        format!("{instance} ended for {cause:?} after {calls:?}")
                    })?;
                }
                let ours = matches!(cause, Cause::Asked | Cause::Reconfigured | Cause::Replaced);
                // What comes next goes by the file of now: a run of its own waits for nobody.
                let now = seen.spec.agents.get(&instance.agent).map(|spec| spec.mode);
                let oneshot = [instances.mode_of(instance), now].contains(&Some(Mode::Oneshot));
                if *failed && !ours && !oneshot {
                    self.dies(seen.time, instance, calls);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn dies(&mut self, time: Duration, id: &InstanceId, calls: Calls) {
        if let Some((provider, at)) = calls.outage
            && time - at <= OUTAGE_COUNTS
            && self.down.contains_key(&provider)
        {
            self.died.insert(id.agent.clone(), (provider, time));
        }
    }

    fn starts(&mut self, seen: &Seen<'_>, id: &InstanceId) -> Verdict {
        let Some((provider, died)) = self.died.remove(&id.agent) else {
            return Ok(());
        };
        let Some(down) = self.down.get_mut(&provider) else {
            return Ok(());
        };
        if down.since > died || seen.time - died >= HELD {
            return Ok(());
        }
        must(down.first.is_none(), "gate", || {
            format!(
                "{id} starts while {provider} is out and {:?} tries",
                down.first
            )
        })?;
        down.first = Some(id.clone());
        Ok(())
    }

    /// The next supervisor knows of no outage, and of no call.
    pub(crate) fn supervisor_died(&mut self) {
        *self = Self {
            paused: self.paused,
            buried: std::mem::take(&mut self.buried),
            ..Self::default()
        };
    }
}

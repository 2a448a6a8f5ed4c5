//! Tells the core which calls its agents wait for: an agent that waits for a model is not silent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use claw_core::models::{CallId, ModelCall};
use claw_core::{AgentName, Fact, Generation, InstanceId};
use claw_gateway::llm::serve::{CallRecord, Clock, Ending, Event, Settings};
use tokio::sync::mpsc;

/// Progress of one call is told no more often than this: there may be a thousand pieces a second,
/// and the core counts in minutes.
const PACE: Duration = Duration::from_secs(5);

/// What a call may take beside the time of its attempts: the waits between them.
const BETWEEN: Duration = Duration::from_secs(10);

/// Tells the core of calls, and waits for nobody: what does not fit into its inbox is left out, and
/// an agent whose call is not known is judged as if it made none.
pub(super) struct News {
    facts: mpsc::Sender<Fact>,
    clock: Arc<dyn Clock>,
    /// How long a call of an agent may take, by agent.
    limits: RwLock<BTreeMap<Arc<str>, Duration>>,
    /// When progress of a call in flight was told last.
    told: Mutex<BTreeMap<u64, Duration>>,
}

impl News {
    pub(super) fn new(facts: mpsc::Sender<Fact>, clock: Arc<dyn Clock>) -> Self {
        Self {
            facts,
            clock,
            limits: RwLock::default(),
            told: Mutex::default(),
        }
    }

    /// Takes over how long calls may take.
    pub(super) fn configure(&self, settings: &Settings) {
        let agents = settings.agents.iter().map(|(name, agent)| {
            let attempt = agent.timeout.max(agent.idle_timeout);
            let attempts = agent.max_retries.saturating_add(1);
            let all = attempt.saturating_mul(attempts).saturating_add(BETWEEN);
            (Arc::clone(name), all)
        });
        let limits = self.limits.write();
        *limits.unwrap_or_else(PoisonError::into_inner) = agents.collect();
    }

    /// Passes on what is for the core.
    pub(super) fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Begun(call) => {
                let limits = self.limits.read();
                let limits = limits.unwrap_or_else(PoisonError::into_inner);
                let limit = limits.get(&call.agent).copied().unwrap_or(BETWEEN);
                drop(limits);
                self.told().insert(call.id.0, self.clock.monotonic());
                self.tell(call, |call| ModelCall::Began { call, limit });
            }
            Event::FirstByte(call) | Event::Progress { call, .. } | Event::Failed { call, .. } => {
                if self.is_due(call) {
                    self.tell(call, |call| ModelCall::Progressed { call });
                }
            }
            Event::Ended(call) => {
                self.told().remove(&call.id.0);
                self.tell(call, |call| ModelCall::Ended { call });
                let end = call.end.as_ref();
                if end.is_some_and(|end| end.ending == Ending::Answered) {
                    let provider = call.provider.to_string();
                    self.tell(call, |_| ModelCall::Answered { provider });
                }
            }
            Event::Refused { .. }
            | Event::OverBudget { .. }
            | Event::PersonalData { .. }
            | Event::Unreadable { .. }
            | Event::WrongAnswer { .. }
            | Event::Unsafe { .. }
            | Event::Unjudged { .. }
            | Event::Alert(_)
            | Event::Misconfigured { .. } => {}
        }
    }

    fn is_due(&self, call: &CallRecord) -> bool {
        let now = self.clock.monotonic();
        let mut told = self.told();
        let Some(last) = told.get_mut(&call.id.0) else {
            return false;
        };
        let due = now.saturating_sub(*last) >= PACE;
        if due {
            *last = now;
        }
        due
    }

    fn tell(&self, call: &CallRecord, what: impl FnOnce(CallId) -> ModelCall) {
        let Some(instance) = instance(&call.instance) else {
            return;
        };
        let fact = Fact::ModelCall {
            instance,
            call: what(CallId(call.id.0)),
        };
        if self.facts.try_send(fact).is_err() {
            tracing::debug!(call = %call.id, "the core was not told of a call of a model");
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<u64, Duration>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life that a caller is, by the name that it was given when it came.
fn instance(name: &str) -> Option<InstanceId> {
    let (agent, generation) = name.rsplit_once('#')?;
    Some(InstanceId {
        agent: agent.parse::<AgentName>().ok()?,
        generation: Generation(generation.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_known_again_by_its_name() {
        let life = InstanceId {
            agent: "coder-1".parse().unwrap(),
            generation: Generation(12),
        };
        assert_eq!(instance(&life.to_string()), Some(life));
        assert_eq!(instance("coder"), None);
        assert_eq!(instance("coder#"), None);
    }
}

//! Tells the core which calls its agents wait for: an agent that waits for a model is not silent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use claw_core::models::{CallFailure, CallId, ModelCall, RequestHash};
use claw_core::{AgentName, Fact, Generation, InstanceId};
use claw_gateway::llm::serve::{CallRecord, Clock, Conclusion, Event, Settings};
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
            }
            Event::Concluded {
                caller,
                hash,
                conclusion,
                message,
            } => {
                let request = RequestHash(**hash);
                if let Some(call) = concluded(request, conclusion, message) {
                    self.tell_of(&caller.instance, call);
                }
            }
            Event::ProviderDown { provider, until } => self.send(Fact::ProviderDown {
                provider: (*provider).to_owned(),
                until: *until,
            }),
            Event::ProviderUp { provider } => self.send(Fact::ProviderUp {
                provider: (*provider).to_owned(),
            }),
            Event::Refused { .. }
            | Event::OverBudget { .. }
            | Event::Cache { .. }
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
        self.tell_of(&call.instance, what(CallId(call.id.0)));
    }

    fn tell_of(&self, life: &str, call: ModelCall) {
        if let Some(instance) = instance(life) {
            self.send(Fact::ModelCall { instance, call });
        }
    }

    fn send(&self, fact: Fact) {
        if let Err(error) = self.facts.try_send(fact) {
            tracing::debug!(%error, "the core was not told of calls of models");
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<u64, Duration>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the core hears of a request that has come to its end; nothing of what passes by itself.
fn concluded(request: RequestHash, conclusion: &Conclusion, message: &str) -> Option<ModelCall> {
    let detail = message.to_owned();
    let failure = match conclusion {
        Conclusion::Answered { provider } => {
            let provider = provider.clone();
            return Some(ModelCall::Answered { provider });
        }
        Conclusion::ProviderOut { provider } => {
            let provider = provider.clone();
            return Some(ModelCall::ProviderOut { provider });
        }
        Conclusion::Passing => return None,
        Conclusion::Refused => CallFailure::Refused { detail },
        Conclusion::Invalid => CallFailure::Validator { detail },
        Conclusion::OverBudget { resets_at } => CallFailure::OverBudget {
            detail,
            resets_at: *resets_at,
        },
    };
    Some(ModelCall::Failed { request, failure })
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

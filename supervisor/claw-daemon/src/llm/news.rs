//! Tells the core which calls its agents wait for: an agent that waits for a model is not silent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use claw_core::models::{CallFailure, CallId, ModelCall, RequestHash};
use claw_core::{AgentName, Fact, Generation, InstanceId};
use claw_gateway::llm::serve::{CallRecord, Clock, Conclusion, Event, Settings};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Progress of one call is told no more often than this: there may be a thousand pieces a second,
/// and the core counts in minutes.
const PACE: Duration = Duration::from_secs(5);

/// Of the calls that a life begins within this time one is told at once, and of the others those
/// that are still under way at its end: there may be a thousand a second.
const SHORT: Duration = Duration::from_secs(1);

/// What a call may take beside the time of its attempts: the waits between them.
const BETWEEN: Duration = Duration::from_secs(10);

/// What was told of a life that has called nothing for so long is forgotten, and told again.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// Tells the core of calls, and waits for nobody: what does not fit into its inbox is left out, and
/// an agent whose call is not known is judged as if it made none.
pub(super) struct News(Arc<Shared>);

struct Shared {
    facts: mpsc::Sender<Fact>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    /// How long a call of an agent may take, by agent.
    limits: RwLock<BTreeMap<Arc<str>, Duration>>,
    /// Locked while the core is told, so that it hears of a call in the order of its life.
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// Calls in flight.
    calls: BTreeMap<u64, Flight>,
    lives: BTreeMap<Arc<str>, Life>,
    looking: Looking,
}

struct Flight {
    life: Arc<str>,
    limit: Duration,
    /// When it was told last, if it was.
    told: Option<Duration>,
}

/// What the core knows of one life.
#[derive(Default)]
struct Life {
    /// When it called last.
    seen: Duration,
    /// When the beginning of a call was told last.
    began: Option<Duration>,
    /// Who has answered since it was told of anything else: the same again would say nothing.
    answered: BTreeSet<String>,
}

/// Whether somebody comes to look after calls that were not told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Looking {
    #[default]
    Nobody,
    Soon,
}

impl News {
    pub(super) fn new(facts: mpsc::Sender<Fact>, clock: Arc<dyn Clock>, runtime: Handle) -> Self {
        Self(Arc::new(Shared {
            facts,
            clock,
            runtime,
            limits: RwLock::default(),
            told: Mutex::default(),
        }))
    }

    /// Takes over how long calls may take.
    pub(super) fn configure(&self, settings: &Settings) {
        let agents = settings.agents.iter().map(|(name, agent)| {
            let attempt = agent.timeout.max(agent.idle_timeout);
            let attempts = agent.max_retries.saturating_add(1);
            let all = attempt.saturating_mul(attempts).saturating_add(BETWEEN);
            (Arc::clone(name), all)
        });
        let limits = self.0.limits.write();
        *limits.unwrap_or_else(PoisonError::into_inner) = agents.collect();
    }

    /// Passes on what is for the core.
    pub(super) fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Begun(call) => self.begun(call),
            Event::FirstByte(call) | Event::Progress { call, .. } | Event::Failed { call, .. } => {
                self.0.progressed(call);
            }
            Event::Ended(call) => self.0.ended(call),
            Event::Concluded {
                caller,
                hash,
                conclusion,
                message,
            } => {
                let request = RequestHash(**hash);
                if let Some(call) = concluded(request, conclusion, message) {
                    self.0.concluded(&caller.instance, call);
                }
            }
            Event::ProviderDown { provider, until } => {
                // After an outage whoever is answered first says that it is over.
                for life in self.0.told().lives.values_mut() {
                    life.answered.remove(*provider);
                }
                self.0.send(Fact::ProviderDown {
                    provider: (*provider).to_owned(),
                    until: *until,
                });
            }
            Event::ProviderUp { provider } => self.0.send(Fact::ProviderUp {
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

    fn begun(&self, call: &CallRecord) {
        let shared = &self.0;
        let now = shared.clock.monotonic();
        let limit = shared.limit(&call.agent);
        let mut told = shared.told();
        let life = told.life(&call.instance, now);
        let at_once = life.began.is_none_or(|at| now.saturating_sub(at) >= SHORT);
        if at_once {
            life.began = Some(now);
        }
        let flight = Flight {
            life: Arc::clone(&call.instance),
            limit,
            told: at_once.then_some(now),
        };
        told.calls.insert(call.id.0, flight);
        if at_once {
            let began = CallId(call.id.0);
            shared.tell(&call.instance, ModelCall::Began { call: began, limit });
        } else if told.looking == Looking::Nobody {
            told.looking = Looking::Soon;
            let shared = Arc::clone(shared);
            self.0.runtime.spawn(async move {
                tokio::time::sleep(SHORT).await;
                shared.look();
            });
        }
    }
}

impl Shared {
    fn limit(&self, agent: &Arc<str>) -> Duration {
        let limits = self.limits.read();
        let limits = limits.unwrap_or_else(PoisonError::into_inner);
        limits.get(agent).copied().unwrap_or(BETWEEN)
    }

    /// Tells of calls that are under way longer than others.
    fn look(&self) {
        let now = self.clock.monotonic();
        let mut told = self.told();
        told.looking = Looking::Nobody;
        let untold = told
            .calls
            .iter_mut()
            .filter(|(_, flight)| flight.told.is_none());
        for (id, flight) in untold {
            flight.told = Some(now);
            let (call, limit) = (CallId(*id), flight.limit);
            self.tell(&flight.life, ModelCall::Began { call, limit });
        }
    }

    fn progressed(&self, call: &CallRecord) {
        let now = self.clock.monotonic();
        let mut told = self.told();
        let flight = told.calls.get_mut(&call.id.0);
        let last = flight.and_then(|flight| flight.told.as_mut());
        let Some(last) = last.filter(|last| now.saturating_sub(**last) >= PACE) else {
            return;
        };
        *last = now;
        let progressed = CallId(call.id.0);
        self.tell(&call.instance, ModelCall::Progressed { call: progressed });
    }

    fn ended(&self, call: &CallRecord) {
        let mut told = self.told();
        let flight = told.calls.remove(&call.id.0);
        if flight.is_some_and(|flight| flight.told.is_some()) {
            let ended = CallId(call.id.0);
            self.tell(&call.instance, ModelCall::Ended { call: ended });
        }
    }

    fn concluded(&self, life: &Arc<str>, call: ModelCall) {
        let now = self.clock.monotonic();
        let mut told = self.told();
        let known = told.life(life, now);
        let is_news = match &call {
            ModelCall::Answered { provider } => known.answered.insert(provider.clone()),
            ModelCall::Failed { .. } | ModelCall::ProviderOut { .. } => {
                known.answered.clear();
                true
            }
            ModelCall::Began { .. } | ModelCall::Progressed { .. } | ModelCall::Ended { .. } => {
                true
            }
        };
        if is_news {
            self.tell(life, call);
        }
    }

    fn tell(&self, life: &str, call: ModelCall) {
        if let Some(instance) = instance(life) {
            self.send(Fact::ModelCall { instance, call });
        }
    }

    fn send(&self, fact: Fact) {
        if let Err(error) = self.facts.try_send(fact) {
            tracing::debug!(%error, "the core was not told of calls of models");
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What was told of a life, which calls just now.
    fn life(&mut self, life: &Arc<str>, now: Duration) -> &mut Life {
        if !self.lives.contains_key(life) {
            let recent = |life: &Life| now.saturating_sub(life.seen) < FORGOTTEN;
            self.lives.retain(|_, life| recent(life));
        }
        let life = self.lives.entry(Arc::clone(life)).or_default();
        life.seen = now;
        life
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
mod tests;

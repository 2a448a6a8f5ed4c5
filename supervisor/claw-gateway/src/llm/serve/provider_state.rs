//! What the fleet knows of its providers: their health and how much they were asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chain::Target;
use super::settings::Provider;
use crate::llm::route::{Admission, Failing, Headroom, Health, RateLimiter, Room, Setback};

/// Providers by name.
type Providers = BTreeMap<Arc<str>, Arc<Provider>>;

/// What is known of all providers.
#[derive(Debug, Default)]
pub(super) struct ProviderStates(Mutex<BTreeMap<Arc<str>, ProviderState>>);

#[derive(Debug, Default)]
struct ProviderState {
    health: Health,
    limiter: RateLimiter,
    /// What holds for one model alone, by its id: the next target may be another model of the same
    /// provider.
    models: BTreeMap<Arc<str>, ModelState>,
}

/// Limits that a provider tells are by the model, and so is how long an answer takes.
#[derive(Debug, Default)]
struct ModelState {
    health: Health,
    limiter: RateLimiter,
}

/// What a call has learnt of its target.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    Answered,
    /// The provider failed, or was not reached.
    Failed(Failing),
    /// The model said nothing in time.
    Silent(Failing),
    /// The model has too many calls.
    TooMany {
        retry_after: Option<Duration>,
    },
}

/// Whether a target is left alone from now on, or any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    Down { left: Duration },
    Up,
}

impl ProviderStates {
    /// Whether a call may go to a target; not, for how long.
    pub(super) fn admit(
        self: &Arc<Self>,
        target: &Target,
        now: Duration,
    ) -> Result<Probe, Duration> {
        let admitted = self.with(target, |state| {
            let model = state.models.get_mut(&target.model.id);
            let of_model = model.map_or(Admission::Open, |model| model.health.admit(now));
            match (of_model, state.health.admit(now)) {
                (Admission::Cooling { left }, _) | (_, Admission::Cooling { left }) => Err(left),
                (Admission::Open, Admission::Open) => Ok(false),
                (Admission::Probe, _) | (_, Admission::Probe) => Ok(true),
            }
        });
        admitted.map(|is_probe| Probe {
            states: is_probe.then(|| Arc::clone(self)),
            target: target.clone(),
            now,
        })
    }

    /// Takes room in a provider's rate, unless its model has said that it has none.
    pub(super) fn take(&self, target: &Target, now: Duration) -> Room {
        let rate = target.provider.rate_limit;
        self.with(target, |state| {
            let model = state.models.get_mut(&target.model.id);
            // What a model says of itself is no rate, so nothing is counted there.
            let of_model = model.map_or(Room::Now, |model| model.limiter.take(None, now));
            if let Room::None { .. } = of_model {
                return of_model;
            }
            match (of_model, state.limiter.take(rate, now)) {
                (_, none @ Room::None { .. }) => none,
                (Room::After(model), Room::After(wait)) => Room::After(wait.max(model)),
                (after @ Room::After(_), Room::Now) => after,
                (Room::Now | Room::None { .. }, room @ (Room::Now | Room::After(_))) => room,
            }
        })
    }

    /// Gives back room that was taken and not used.
    pub(super) fn give_back(&self, target: &Target, now: Duration) {
        let rate = target.provider.rate_limit;
        self.with(target, |state| state.limiter.give_back(rate, now));
    }

    /// Takes note of what a provider said of its limits on a model.
    pub(super) fn observe(&self, target: &Target, headroom: Headroom, now: Duration) {
        if headroom.remaining > 0 {
            return;
        }
        self.with(target, |state| {
            let model = state.model(target);
            model.limiter.observe(headroom, now);
        });
    }

    /// Takes note of what became of an attempt.
    pub(super) fn learn(&self, target: &Target, verdict: Verdict, now: Duration) -> Turn {
        self.with(target, |state| {
            let before = state.left_alone(target);
            state.learn(target, verdict, now);
            match (before, state.left_alone(target)) {
                (None, None) => Turn::None,
                (Some(_), None) => Turn::Up,
                (Some(before), Some(until)) if before == until => Turn::None,
                (_, Some(until)) => Turn::Down {
                    left: until.saturating_sub(now),
                },
            }
        })
    }

    /// Forgets providers that are no longer configured, and of those that are spoken to in another
    /// way how they were before: what the one key or address has met says nothing of the other.
    /// Names those of them that were left alone.
    pub(super) fn retain(&self, before: &Providers, now: &Providers) -> Vec<Arc<str>> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|name, _state| now.contains_key(name));
        let mut asked_again = Vec::new();
        for (name, state) in states.iter_mut() {
            let is_same = before
                .get(name)
                .zip(now.get(name))
                .is_some_and(|(before, now)| is_spoken_to_alike(before, now));
            if !is_same {
                if state.is_left_alone() {
                    asked_again.push(Arc::clone(name));
                }
                state.health = Health::default();
                state.models.clear();
            }
        }
        asked_again
    }

    fn with<T>(&self, target: &Target, change: impl FnOnce(&mut ProviderState) -> T) -> T {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get_mut(&target.provider_name) {
            return change(state);
        }
        let name = Arc::clone(&target.provider_name);
        change(states.entry(name).or_default())
    }
}

impl ProviderState {
    fn learn(&mut self, target: &Target, verdict: Verdict, now: Duration) {
        match verdict {
            Verdict::Answered => {
                self.health.succeeded(now);
                self.models.retain(|id, model| {
                    if *id == target.model.id {
                        model.health.succeeded(now);
                    }
                    !model.health.is_well() || model.limiter.is_closed(now)
                });
            }
            Verdict::Failed(failing) => {
                self.health.set_back(now, Setback::Failed(failing));
                if let Some(model) = self.models.get_mut(&target.model.id) {
                    model.health.given_up(now);
                }
            }
            Verdict::Silent(failing) => {
                let model = self.model(target);
                model.health.set_back(now, Setback::Failed(failing));
                // Whether it is the model or the provider is not known.
                self.health.given_up(now);
            }
            Verdict::TooMany { retry_after } => {
                let setback = Setback::TooMany { retry_after };
                self.model(target).health.set_back(now, setback);
                // It has answered, so it is there.
                self.health.given_up(now);
            }
        }
    }

    /// Until when a target is left alone, for its provider's sake or its model's.
    fn left_alone(&self, target: &Target) -> Option<Duration> {
        let model = self.models.get(&target.model.id);
        let of_model = model.and_then(|model| model.health.left_alone());
        self.health.left_alone().max(of_model)
    }

    /// Whether it or one of its models is left alone.
    fn is_left_alone(&self) -> bool {
        let mut models = self.models.values();
        self.health.left_alone().is_some()
            || models.any(|model| model.health.left_alone().is_some())
    }

    fn model(&mut self, target: &Target) -> &mut ModelState {
        let id = Arc::clone(&target.model.id);
        self.models.entry(id).or_default()
    }
}

/// Whether a provider's answers to the one tell something of those to the other.
fn is_spoken_to_alike(before: &Provider, now: &Provider) -> bool {
    before.kind == now.kind && before.base_url == now.base_url && before.key == now.key
}

/// A call that may go to a target. If it is the one that decides for all, and ends before it told
/// anything, the next one decides.
#[derive(Debug)]
pub(super) struct Probe {
    states: Option<Arc<ProviderStates>>,
    target: Target,
    now: Duration,
}

impl Probe {
    /// It has told something.
    pub(super) fn told(&mut self) {
        self.states = None;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(states) = self.states.take() {
            states.with(&self.target, |state| {
                state.health.given_up(self.now);
                if let Some(model) = state.models.get_mut(&self.target.model.id) {
                    model.health.given_up(self.now);
                }
            });
        }
    }
}

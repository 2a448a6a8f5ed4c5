//! What is counted of calls to models.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claw_gateway::llm::budget::Balance;
use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::{CacheResult, Caching, CallRecord, Settings};
use claw_gateway::llm::usage::Usage;
use claw_store::llm::TotalRow;
use prometheus_client::metrics::histogram::Histogram;

use crate::api::{LlmPeriod, LlmScope};

/// What stands for providers and models that the fleet file does not name.
const OTHER: &str = "other";

/// Bounds of the time to an answer, in seconds: from a cached word to a long thought.
const SECONDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

/// A kind of tokens.
type Kind = (&'static str, fn(&Usage) -> u64);

/// The kinds of tokens, with their label.
pub(super) const KINDS: [Kind; 6] = [
    ("input", |usage| usage.input),
    ("cache_read", |usage| usage.cache_read),
    ("cache_write_5m", |usage| usage.cache_write_5m),
    ("cache_write_1h", |usage| usage.cache_write_1h),
    ("output", |usage| usage.output),
    ("reasoning", |usage| usage.reasoning),
];

/// The provider and its id of the model.
pub(super) type Model = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Books {
    /// Models of the fleet file, with the providers' ids.
    known: BTreeSet<Model>,
    /// Agents that may call models.
    callers: BTreeSet<Arc<str>>,
    pub(super) agents: BTreeMap<Arc<str>, OfAgent>,
    pub(super) budgets: Vec<Balance>,
}

#[derive(Debug, Default)]
pub(super) struct OfAgent {
    pub(super) in_flight: u64,
    pub(super) models: BTreeMap<Model, OfModel>,
    /// By the window that had no room.
    pub(super) rejections: BTreeMap<(LlmScope, LlmPeriod), u64>,
    /// By the reason's fixed word.
    pub(super) refusals: BTreeMap<&'static str, u64>,
    /// By what came of asking the cache; empty where answers are not kept.
    pub(super) cache: BTreeMap<CacheResult, u64>,
}

#[derive(Debug, Default)]
pub(super) struct OfModel {
    /// In the order of the kinds.
    pub(super) tokens: [u64; KINDS.len()],
    pub(super) cost: Money,
    pub(super) overrun: Money,
    /// By outcome.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) retries: u64,
    latency: Option<Histogram>,
    first_byte: Option<Histogram>,
}

impl Books {
    pub(super) fn configure(&mut self, settings: &Settings) {
        let models = settings.models.values();
        self.known = models
            .map(|model| (Arc::clone(&model.provider), Arc::clone(&model.id)))
            .collect();
        self.callers = settings.agents.keys().cloned().collect();
        let callers = &self.callers;
        self.agents
            .retain(|name, agent| callers.contains(name) || agent.in_flight > 0);
        for (name, agent) in &settings.agents {
            if agent.cache == Caching::On {
                let results = &mut self.agent(name).cache;
                for result in CacheResult::ALL {
                    results.entry(result).or_default();
                }
            }
            for model in agent.models.iter().chain(&agent.fallback) {
                if let Some(model) = settings.models.get(model) {
                    // Series begin with 0, so that the first increase is seen as one.
                    self.entry(name, &model.provider, &model.id);
                }
            }
        }
    }

    /// Counts what was used before; of agents that may call nothing any more, nothing.
    pub(super) fn begin(&mut self, row: &TotalRow) {
        let agent: Arc<str> = row.agent.as_str().into();
        if !self.callers.contains(&agent) {
            return;
        }
        let tokens = &row.tokens;
        let model = self.entry(
            &agent,
            &row.provider.as_str().into(),
            &row.model_id.as_str().into(),
        );
        model.count(&Usage {
            input: tokens.input,
            cache_read: tokens.cache_read,
            cache_write_5m: tokens.cache_write_5m,
            cache_write_1h: tokens.cache_write_1h,
            output: tokens.output,
            reasoning: tokens.reasoning,
            searches: tokens.searches,
        });
        model.cost = model.cost.plus(Money::from_pico(row.spent.max(0)));
    }

    pub(super) fn agent(&mut self, name: &Arc<str>) -> &mut OfAgent {
        self.agents.entry(Arc::clone(name)).or_default()
    }

    pub(super) fn model(&mut self, call: &CallRecord) -> &mut OfModel {
        self.entry(&call.agent, &call.provider, &call.model)
    }

    /// One call less is under way.
    pub(super) fn leave(&mut self, name: &Arc<str>) {
        let agent = self.agent(name);
        agent.in_flight = agent.in_flight.saturating_sub(1);
        if agent.in_flight == 0 && !self.callers.contains(name) {
            self.agents.remove(name);
        }
    }

    fn entry(&mut self, agent: &Arc<str>, provider: &Arc<str>, model: &Arc<str>) -> &mut OfModel {
        let label = self.label(provider, model);
        self.agent(agent).models.entry(label).or_default()
    }

    fn label(&self, provider: &Arc<str>, model: &Arc<str>) -> Model {
        let asked = (Arc::clone(provider), Arc::clone(model));
        if self.known.contains(&asked) {
            asked
        } else {
            (OTHER.into(), OTHER.into())
        }
    }
}

impl OfModel {
    pub(super) fn count(&mut self, usage: &Usage) {
        for (counted, (_, of)) in self.tokens.iter_mut().zip(KINDS) {
            *counted = counted.saturating_add(of(usage));
        }
    }

    pub(super) fn observe_latency(&mut self, seconds: f64) {
        let latency = &mut self.latency;
        latency.get_or_insert_with(histogram).observe(seconds);
    }

    pub(super) fn observe_first_byte(&mut self, seconds: f64) {
        let first_byte = &mut self.first_byte;
        first_byte.get_or_insert_with(histogram).observe(seconds);
    }

    /// How long answers took; absent before the first.
    pub(super) const fn latency(&self) -> Option<&Histogram> {
        self.latency.as_ref()
    }

    /// How long first bytes took; absent before the first.
    pub(super) const fn first_byte(&self) -> Option<&Histogram> {
        self.first_byte.as_ref()
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

//! `llm:` — the models that agents may call, what they cost, and how much may be spent.

mod budgets;
mod cache;
mod calls;
mod catalog;
mod checks;
mod known;
mod place;
mod prices;
mod providers;
mod validators;

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::AgentName;
use claw_gateway::llm::budget::Budgets;
use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::serve::{AgentSettings, Settings, Source};
use claw_store::bus::Level;

use super::agent::Agent;
use super::item::Fields;
use super::keys_llm::LLM;
use super::reader::Reader;
use super::tree::{Node, Value};

/// The port on an agent's loopback at which it finds models, unless the machine has it taken.
pub const MODELS_PORT: u16 = 4141;

/// How agents reach models. All of it is exchanged while agents run.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    /// Providers, models, and what each agent may call. Agents go by their names in the file, which
    /// all replicas of an agent share.
    pub settings: Settings,
    /// What may be spent. Agents go by their names in the file; those that `"*"` stands for have
    /// entries of their own.
    pub budgets: Budgets,
    /// What a call that is about to leave survives in the journal.
    pub durability: Level,
    /// Whether answers are kept, so that they can be played again.
    pub record: bool,
    /// The prices that hold: those that are shipped, with those of `prices.file` on top.
    pub prices: Arc<PriceTable>,
    /// Models without a price. While a budget applies they cannot be called, unless
    /// `prices.unknown` says what they are charged.
    pub unpriced: Vec<Unpriced>,
}

/// A model that nobody knows the price of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpriced {
    /// Its provider, by its name in the file.
    pub provider: Arc<str>,
    /// The name that agents use.
    pub model: Arc<str>,
    /// The provider's id of it.
    pub id: Arc<str>,
}

/// Takes the keys of providers out of a fleet file, before the variables in them are looked for.
pub(super) fn remove_keys(root: &mut Node) {
    let providers = below(root, "llm").and_then(|llm| below(llm, "providers"));
    let Some(Value::Map(providers)) = providers.map(|node| &mut node.value) else {
        return;
    };
    for provider in &mut providers.entries {
        if let Value::Map(provider) = &mut provider.node.value {
            provider.entries.retain(|entry| entry.key != "api_key");
        }
    }
}

fn below<'t>(node: &'t mut Node, key: &str) -> Option<&'t mut Node> {
    let Value::Map(map) = &mut node.value else {
        return None;
    };
    let mut entries = map.entries.iter_mut();
    entries
        .find(|entry| entry.key == key)
        .map(|entry| &mut entry.node)
}

impl<'n> Reader<'_> {
    /// Reads how agents reach models, and gives those that do a port for it.
    pub(super) fn llm(
        &mut self,
        fleet: &Fields<'n>,
        agents: &mut BTreeMap<AgentName, Agent<'n>>,
    ) -> Option<LlmConfig> {
        let Some(item) = fleet.get("llm") else {
            self.no_llm(agents);
            return None;
        };
        let llm = self.fields(&LLM, &item)?;
        let (prices, unknown_price) = self.llm_prices(&llm);
        let catalog = self.llm_catalog(&llm, &prices);
        let (caching, cache) = self.llm_cache(&llm);
        let usual = AgentSettings {
            unknown_price,
            cache: caching,
            ..AgentSettings::default()
        };
        let settings = self.llm_agents((&llm, usual), &catalog, agents);
        let (budgets, written) = self.llm_budgets(&llm, &settings, agents);
        self.llm_checks(&catalog, &settings, &written);
        self.variables_of_models(agents);
        let record = llm.get("record").and_then(|item| self.boolean(&item));
        let levels = [("process", Level::Os), ("full", Level::Disk)];
        let durability = llm.get("durability");
        let durability = durability.and_then(|item| self.choice(&item, &levels));
        Some(LlmConfig {
            unpriced: checks::unpriced(&catalog),
            settings: Settings {
                providers: catalog.providers,
                models: catalog.models,
                agents: settings,
                source: Source::Providers,
                cache,
            },
            budgets,
            durability: durability.unwrap_or(Level::Os),
            record: record.unwrap_or(false),
            prices,
        })
    }
}

#[cfg(test)]
mod tests;

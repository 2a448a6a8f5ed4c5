//! `llm:` — the models that agents may call, what they cost, and how much may be spent.

use std::sync::Arc;

use claw_gateway::llm::budget::Budgets;
use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::serve::Settings;
use claw_store::bus::Level;

/// The port on an agent's loopback at which it finds models, unless the machine has it taken.
pub const MODELS_PORT: u16 = 4141;

/// How agents reach models. All of it is exchanged while agents run.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    /// Providers, models, and what each agent may call. Agents go by their names in the file, which
    /// all replicas of an agent share.
    pub settings: Settings,
    /// What may be spent. Each agent with access has an entry, if only by `"*"`.
    pub budgets: Budgets,
    /// What a call that is about to leave survives in the journal.
    pub durability: Level,
    /// The prices that hold: those that are shipped, with those of `prices.file` on top.
    pub prices: Arc<PriceTable>,
    /// Models without a price, which cannot be called while a budget applies.
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

//! What models cost.

use claw_gateway::llm::money::Money;
use claw_gateway::llm::rates::Rates;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Usd;

/// Tokens for which rates are told.
const MILLION: u64 = 1_000_000;

/// What models cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmPriceList {
    /// Models of the fleet file by the names that agents use, then, if they were asked for, all
    /// others whose prices are known.
    pub prices: Vec<LlmPrice>,
    /// The age in days from which on a price should be looked up again.
    pub stale_after_days: i32,
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LlmPrice {
    /// The name that agents use; absent for models that the fleet file does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose it is.
    pub provider: String,
    /// The provider's id of it.
    pub model: String,
    /// What is known of its price.
    pub pricing: LlmPricing,
    /// The rates, if it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<LlmRates>,
    /// Where the price is from; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<LlmPriceOrigin>,
    /// The page of the provider that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When somebody looked there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    pub checked_on: Option<Date>,
    /// How many days ago that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days: Option<i32>,
}

/// What is known of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmPricing {
    /// There are rates.
    Known,
    /// It costs nothing, by declaration.
    Free,
    /// Nobody knows it. Calls are refused while a budget applies, unless `unknown_price` says
    /// what is assumed.
    Unknown,
}

/// Where a price is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmPriceOrigin {
    /// From the fleet file.
    FleetFile,
    /// From the table of prices: the one that is shipped, or the operator's own on top of it.
    Table,
}

/// Rates in USD for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LlmRates {
    /// Of prompts.
    #[schema(value_type = String)]
    pub input_usd: Usd,
    /// Of answers.
    #[schema(value_type = String)]
    pub output_usd: Usd,
    /// Of prompts, from a cache.
    #[schema(value_type = String)]
    pub cache_read_usd: Usd,
    /// Of prompts, into a cache that lives for minutes.
    #[schema(value_type = String)]
    pub cache_write_5m_usd: Usd,
    /// Of prompts, into a cache that lives for an hour.
    #[schema(value_type = String)]
    pub cache_write_1h_usd: Usd,
    /// Of thought.
    #[schema(value_type = String)]
    pub reasoning_usd: Usd,
    /// For each request, whatever its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub per_request_usd: Option<Usd>,
    /// For each search of the provider, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub per_search_usd: Option<Usd>,
    /// Tokens of a prompt above which all of its request costs other rates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dearer_above: Vec<u64>,
    /// Service tiers with other rates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_tiers: Vec<String>,
}

impl From<&Rates> for LlmRates {
    fn from(rates: &Rates) -> Self {
        let base = rates.standard.base();
        let usd = |rate: Money| Usd(rate.times(MILLION));
        let fee = |fee: Money| (fee != Money::ZERO).then_some(Usd(fee));
        Self {
            input_usd: usd(base.input),
            output_usd: usd(base.output),
            cache_read_usd: usd(base.cache_read),
            cache_write_5m_usd: usd(base.cache_write_5m),
            cache_write_1h_usd: usd(base.cache_write_1h),
            reasoning_usd: usd(base.reasoning),
            per_request_usd: fee(rates.per_request),
            per_search_usd: rates.per_search.map(Usd),
            dearer_above: rates
                .standard
                .long()
                .iter()
                .map(|step| step.above)
                .collect(),
            service_tiers: rates.service.keys().cloned().collect(),
        }
    }
}

impl LlmPrice {
    /// Whether it should be looked up again.
    #[must_use]
    pub fn is_stale(&self, after_days: i32) -> bool {
        self.age_days.is_some_and(|days| days >= after_days)
    }
}

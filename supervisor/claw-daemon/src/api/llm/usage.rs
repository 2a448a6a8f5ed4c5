//! What calls used, summed up.

use claw_gateway::llm::money::Money;
use claw_store::llm::{Tokens, UsageBy, UsageRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Usd;
use crate::api::Time;

/// What calls used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LlmUsageList {
    /// Calls since then.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// By what it is summed up.
    pub by: LlmUsageBy,
    /// By name; runs with the last one first. A thousand at most.
    pub usage: Vec<LlmUsage>,
}

/// By what usage is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmUsageBy {
    /// By agent.
    Agent,
    /// By model, with the provider's id.
    Model,
    /// By day, in the time zone of the budgets.
    Day,
    /// By run. Calls outside of runs are left out.
    Run,
}

/// What some calls used together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LlmUsage {
    /// The agent, model, day or run.
    pub name: String,
    /// How many calls have ended.
    pub calls: u64,
    /// What they used.
    pub tokens: LlmTokens,
    /// What they cost, as far as it is known.
    #[schema(value_type = String)]
    pub spent_usd: Usd,
    /// What they may have cost besides.
    #[schema(value_type = String)]
    pub uncertain_usd: Usd,
}

/// Tokens by kind; none is counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct LlmTokens {
    /// Of prompts, neither from a cache nor for one.
    pub input: u64,
    /// Of prompts, from a cache.
    pub cache_read: u64,
    /// Of prompts, into a cache that lives for minutes.
    pub cache_write_5m: u64,
    /// Of prompts, into a cache that lives for an hour.
    pub cache_write_1h: u64,
    /// Of answers.
    pub output: u64,
    /// Of thought.
    pub reasoning: u64,
    /// Searches of the provider.
    pub searches: u64,
}

impl LlmTokens {
    /// All tokens of prompts.
    #[must_use]
    pub const fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// All tokens of answers.
    #[must_use]
    pub const fn answer(&self) -> u64 {
        self.output.saturating_add(self.reasoning)
    }
}

impl LlmUsageBy {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Model, Self::Day, Self::Run];

    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Day => "day",
            Self::Run => "run",
        }
    }
}

impl From<LlmUsageBy> for UsageBy {
    fn from(by: LlmUsageBy) -> Self {
        match by {
            LlmUsageBy::Agent => Self::Agent,
            LlmUsageBy::Model => Self::Model,
            LlmUsageBy::Day => Self::Day,
            LlmUsageBy::Run => Self::Run,
        }
    }
}

impl From<UsageRow> for LlmUsage {
    fn from(row: UsageRow) -> Self {
        Self {
            name: row.name,
            calls: row.calls,
            tokens: (&row.tokens).into(),
            spent_usd: Money::from_pico(row.spent).into(),
            uncertain_usd: Money::from_pico(row.uncertain).into(),
        }
    }
}

impl From<&Tokens> for LlmTokens {
    fn from(tokens: &Tokens) -> Self {
        let Tokens {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            searches,
        } = *tokens;
        Self {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            searches,
        }
    }
}

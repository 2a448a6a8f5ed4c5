//! What the configuration says, resolved: exchanged as a whole at run time.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::source::Source;
use crate::llm::rates::Rates;
use crate::llm::route::Rate;
use crate::llm::upstream::{BaseUrl, Key};
use crate::llm::validate::content_safety::ContentSafety;
use crate::llm::validate::json_schema::{OnViolation, SchemaRule};
use crate::llm::validate::pii::PiiFilter;
use crate::llm::wire;

/// All that a reload may exchange.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// By name.
    pub providers: BTreeMap<Arc<str>, Arc<Provider>>,
    /// By the name that agents use, aliases included.
    pub models: BTreeMap<Arc<str>, Arc<Model>>,
    /// By name. Others may call nothing.
    pub agents: BTreeMap<Arc<str>, Arc<AgentSettings>>,
    /// Where answers come from.
    pub source: Source,
    /// How answers are kept for equal requests, of agents that say so.
    pub cache: CacheSettings,
}

/// How answers are kept in memory, to be given again to equal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// For how long an answer is given again.
    pub ttl: Duration,
    /// Bytes of memory that all answers take together. One of more than a
    /// [sixteenth](Self::ANSWERS) of it is not kept.
    pub max_size: u64,
    /// Whose requests an answer is given to.
    pub scope: CacheScope,
}

impl CacheSettings {
    /// How many answers there is room for at least: one alone must not push out all others.
    pub const ANSWERS: u64 = 16;
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            max_size: 64 * 1024 * 1024,
            scope: CacheScope::Agent,
        }
    }
}

/// Whose requests the answer to another request is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Those of the same agent alone.
    Agent,
    /// Those of every agent whose requests are treated the same way: by the same models, with the
    /// same validators.
    Fleet,
}

/// Whether an agent's answers are kept, and given again to equal requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caching {
    /// They are not.
    #[default]
    Off,
    /// They are, as the [settings of the cache](CacheSettings) say.
    On,
}

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI, or one of the many that offer its interface.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Ollama, by its OpenAI interface.
    Ollama,
}

/// What is done about a stream whose agent has hung up. Whole answers are always read to their end,
/// because no provider stops to charge for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHangUp {
    /// The provider is known to stop charging when its connection is closed.
    Cancel,
    /// The stream is read on, so that its true cost is known.
    Drain,
}

/// A provider of models.
#[derive(Debug, Clone)]
pub struct Provider {
    /// How it is spoken to.
    pub kind: ProviderKind,
    /// Where it is.
    pub base_url: BaseUrl,
    /// Its key, if it wants one.
    pub key: Option<Key>,
    /// The most requests that it is sent.
    pub rate_limit: Option<Rate>,
    /// What is done about streams that nobody reads.
    pub on_hang_up: OnHangUp,
    /// Its name for the limit of an answer in chat completions.
    pub chat_limit: wire::ChatLimit,
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// This.
    Known(Arc<Rates>),
    /// Nothing, by declaration.
    Free,
    /// Nobody knows.
    Unknown,
}

/// A model of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Whose it is.
    pub provider: Arc<str>,
    /// The provider's id of it.
    pub id: Arc<str>,
    /// What it costs.
    pub price: Price,
    /// The most tokens it answers with.
    pub max_output: Option<u64>,
    /// Tokens of its context window.
    pub context: Option<u64>,
    /// The most tokens an image becomes.
    pub image_tokens: Option<u64>,
}

/// What is done about a call that may cost more than is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTight {
    /// It is refused: a truncated answer is worse for an agent than a clear error.
    Reject,
    /// Its answer is limited to what is left, if that is at least so many tokens.
    Clamp {
        /// See there.
        min_output: u64,
    },
}

/// The HTTP status of a refusal for want of money. Every SDK tried makes one request on 402; some
/// clients disable a key for minutes on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 402.
    PaymentRequired,
    /// 400.
    BadRequest,
}

/// What is done about a model of unknown price while a budget applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownPrice {
    /// Calls are refused.
    Reject,
    /// These rates are charged.
    Assume(Arc<Rates>),
}

/// What an agent may call, and how.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The models it may call, by the names that agents use; the first is its primary one.
    pub models: Vec<Arc<str>>,
    /// Models that are tried in this order after the one it asks for.
    pub fallback: Vec<Arc<str>>,
    /// How long a target may take: to the first byte of a stream, and to the end of a whole answer.
    pub timeout: Duration,
    /// How long a stream may be silent between two pieces.
    pub idle_timeout: Duration,
    /// How many attempts more than one a target has.
    pub max_retries: u32,
    /// What is done about calls that may cost more than is left.
    pub on_tight: OnTight,
    /// The limit of an answer that is sent with requests without one.
    pub default_output_cap: Option<u64>,
    /// The status of a refusal for want of money.
    pub refusal_status: RefusalStatus,
    /// What is done about models of unknown price.
    pub unknown_price: UnknownPrice,
    /// Tokens of prompts and answers within an hour.
    pub tokens_per_hour: Option<NonZeroU64>,
    /// What is done about personal data in prompts.
    pub prompts: Option<PiiFilter>,
    /// What is done about personal data in answers.
    pub answers: Option<PiiFilter>,
    /// The JSON schema that all answers have to follow. They are read to their end then, streams
    /// too, before the agent gets any of them. An answer that calls a tool is not looked at: it is a
    /// step on the way to an answer.
    pub schema: Option<SchemaRule>,
    /// What is done about answers that do not follow the schema that their own request names, where
    /// [`schema`](Self::schema) names none; `None` leaves it to the provider. A request whose schema
    /// cannot be used is refused then.
    pub requested_schema: Option<OnViolation>,
    /// Who judges prompts and answers. Answers are read to their end for it, streams too.
    pub content_safety: Option<ContentSafety>,
    /// Whether its answers are kept, and given again to equal requests.
    pub cache: Caching,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            fallback: Vec::new(),
            timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            max_retries: 2,
            on_tight: OnTight::Reject,
            default_output_cap: None,
            refusal_status: RefusalStatus::PaymentRequired,
            unknown_price: UnknownPrice::Reject,
            tokens_per_hour: None,
            prompts: None,
            answers: None,
            schema: None,
            requested_schema: None,
            content_safety: None,
            cache: Caching::Off,
        }
    }
}

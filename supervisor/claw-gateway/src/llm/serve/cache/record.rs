//! What is told and kept of requests where answers are cached.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::llm::budget::CallId;

/// A request that was answered from the cache. No provider was asked, no token was used and nothing
/// was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedCall {
    /// Its id, of those of [calls](super::super::host::CallRecord).
    pub id: CallId,
    /// The agent's request.
    pub request: Arc<str>,
    /// Whose it is.
    pub agent: Arc<str>,
    /// Of which life.
    pub instance: Arc<str>,
    /// Of which unit of work.
    pub run: Option<Arc<str>>,
    /// When it was answered.
    pub at: Timestamp,
    /// The day of it, where budgets count.
    pub day: Date,
    /// The provider that had given the answer.
    pub provider: Arc<str>,
    /// The model as the agent asked for it.
    pub model_asked: Arc<str>,
    /// The provider's id of the model that had given the answer.
    pub model: Arc<str>,
    /// SHA-256 of the request's body as the agent sent it, or as it was redacted.
    pub request_hash: [u8; 32],
}

/// What came of a request where answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheResult {
    /// It had an answer.
    Hit,
    /// It had none.
    Miss,
    /// It was not asked: the agent did not want it to be, or the request is none whose answer can
    /// be given again.
    Bypass,
}

impl CacheResult {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Bypass];

    /// The word for it in headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

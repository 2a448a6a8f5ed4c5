//! The endpoint that agents call: it routes, meters, budgets and records.
//!
//! ```text
//!   connection ──► request: who, what, which models        refusals, each with its reason
//!                     │──── an equal one was answered ──► the same answer, for nothing
//!                     │ one task for each call, which outlives its agent
//!                     ▼
//!   for each target: cooling? room? price, bound, hold ──► journal ──► provider
//!                     │ failed: again, or the next target
//!                     ▼
//!   answer, whole or as it comes ──► agent
//!                     │ on every path, once
//!                     ▼
//!                  settled ──► journal
//! ```
//!
//! [`Gateway`] is shared by the fleet. The ledger stands behind one lock, which is never held while
//! anything is waited for. What the host provides is in [`Journal`], [`Clock`] and [`Observer`].

mod admission;
mod attempt;
mod bodies;
mod body;
mod cache;
mod call;
mod chain;
mod checked;
mod conclusion;
mod crossing;
mod denial;
mod drain;
mod endpoint;
mod gateway;
mod hold;
mod host;
mod judge;
mod made_up;
mod models;
mod own_budget;
mod provider_state;
mod relay;
mod router;
mod said;
mod settings;
mod source;
mod stream;
mod tape;
mod tier;
mod validators;
mod whole;

pub use cache::{CacheResult, CachedCall};
pub use conclusion::Conclusion;
pub use endpoint::{MAX_BODY, REQUEST_ID};
pub use gateway::{Gateway, Host};
pub use host::{
    Attempt, AttemptFailure, CallEnd, CallRecord, Caller, Clock, Credential, Ending, Event,
    Journal, JournalError, Life, LifeOfToken, Observer, Place, Written,
};
pub use settings::{
    AgentSettings, CacheScope, CacheSettings, Caching, Model, OnHangUp, OnTight, Price, Provider,
    ProviderKind, RefusalStatus, Settings, UnknownPrice,
};
pub use source::Source;

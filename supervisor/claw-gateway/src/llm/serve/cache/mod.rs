//! Answers that are kept in memory, and given again to equal requests.
//!
//! ```text
//!   request that may pass ──► look ──hit──► the answer that is kept, and a row in the journal
//!                              │ miss, bypass
//!                              ▼
//!              call, as any other ──► agent
//!                              │ copied on its way: a whole success that every validator let pass
//!                              ▼
//!                           answers, the least used leave first
//! ```
//!
//! Requests are equal when nothing differs that the answer depends on, settings included. So nothing
//! has to be forgotten when settings are exchanged. Equal requests that are under way at once each
//! ask a provider.

mod answer;
mod answers;
mod control;
mod key;
mod lookup;
mod record;

pub(super) use answer::is_hit;
pub(super) use answers::Answers;
pub(super) use lookup::{Asked, Keeping, Looked, give_again, look};
pub use record::{CacheResult, CachedCall};

//! What models cost: a table of facts that is shipped, and what is imported on top of it.
//!
//! A model without a price is unknown, never free. What is free is declared so, provider by
//! provider. The shipped rows stand for public prices as LiteLLM's table (MIT) had collected them
//! on the day of `checked_on`; `source` is the provider's page that it names.
//!
//! Tokens of sound and images count as tokens of text here; where a provider charges more for
//! them, the configuration has to say so.

mod format;
mod import;
mod litellm;
mod merge;
mod table;

pub use format::{NotRates, rates_from_json, rates_to_json};
pub use import::{Import, NotATable, Skipped, SkippedBecause};
pub use litellm::read as read_litellm;
pub use merge::{Change, Diff, LARGE_CHANGE, LargeChanges};
pub use table::{ANY_MODEL, Entry, PriceTable, STALE_AFTER_DAYS};

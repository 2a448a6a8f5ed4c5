//! What the supervisor tells about itself and its agents in numbers.

pub(crate) mod exposition;
pub(crate) mod journal_histogram;
mod labels;
pub mod llm;
pub mod logging;
pub mod metrics;
pub(crate) mod sandboxes;
mod used;

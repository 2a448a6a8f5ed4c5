//! Placeholder.
pub mod log;

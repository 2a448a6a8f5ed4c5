//! Placeholder.
pub mod notification;

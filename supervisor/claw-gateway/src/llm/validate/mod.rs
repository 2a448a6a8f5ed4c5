//! What is looked at in prompts and answers before they pass.

pub mod content_safety;
pub mod json_schema;
pub mod pii;

//! The metered way to language models: agents hold no provider's key.
//!
//! What decides is pure and has no clock: amounts ([`money`]) and tokens ([`usage`]).

pub mod money;
pub mod route;
pub mod usage;

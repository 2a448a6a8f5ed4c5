//! The metered way to language models: agents hold no provider's key.
//!
//! What decides is pure and has no clock: amounts ([`money`]), tokens ([`usage`]) and what they
//! cost ([`rates`]).

pub mod money;
pub mod rates;
pub mod usage;

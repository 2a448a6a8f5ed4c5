//! The metered way to language models: agents hold no provider's key.
//!
//! What decides is pure and has no clock: amounts ([`money`]), tokens ([`usage`]), what they cost
//! ([`rates`], [`prices`]) and who may still spend it ([`budget`]).

pub mod budget;
pub mod money;
pub mod prices;
pub mod rates;
pub mod route;
pub mod serve;
pub mod translate;
pub mod upstream;
pub mod usage;
pub mod validate;
pub mod wire;

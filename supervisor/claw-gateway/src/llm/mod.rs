//! The metered way to language models: agents hold no provider's key.
//!
//! ```text
//!  agent ──► serve ── wire, translate, validate ── route, budget ──► upstream ──► provider
//!              │                                     ▲
//!              └── journal, clock, observer          └── rates, prices
//! ```
//!
//! What decides is pure and has no clock: amounts ([`money`]), tokens ([`usage`]), what they cost
//! ([`rates`], [`prices`]), who may still spend it ([`budget`]), what agents and providers say
//! ([`wire`], [`translate`], [`validate`]) and where a call goes next ([`route`]). [`serve`] owns
//! the connections of agents, [`upstream`] those to providers. What has to be kept, read off a clock
//! or told to somebody is the host's, behind three traits.

pub mod budget;
pub mod cassette;
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

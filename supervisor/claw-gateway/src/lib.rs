//! The data planes between agents and the outside: language models and the network.
//!
//! [`egress`] is the way out to the network, [`llm`] the metered way to language models; [`Halts`]
//! shuts both to an agent.
//! Lifecycles are unknown here.
#![forbid(unsafe_code)]

pub mod egress;
mod halts;
pub mod llm;

pub use halts::{Halt, Halts};

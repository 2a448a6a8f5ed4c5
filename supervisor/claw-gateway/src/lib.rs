//! The data planes between agents and the outside: language models and the network.
//!
//! [`egress`] is the way out to the network, [`llm`] the metered way to language models.
//! Lifecycles are unknown here.
#![forbid(unsafe_code)]

pub mod egress;
pub mod llm;

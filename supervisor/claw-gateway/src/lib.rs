//! The data planes between agents and the outside: language models and the network.
//!
//! [`egress`] is the way out to the network; the metered gateway to language models will stand
//! beside it. Lifecycles are unknown here.
#![forbid(unsafe_code)]

pub mod egress;

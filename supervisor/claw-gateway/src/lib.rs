//! The data planes between agents and the outside: language models and the network.
//!
//! It is empty so far. It will hold the metered gateway to language models and
//! the egress proxy; lifecycles stay unknown to it.
#![forbid(unsafe_code)]

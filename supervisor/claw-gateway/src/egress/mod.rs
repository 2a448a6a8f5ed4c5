//! The way out of an agent: a proxy that reaches the hosts its rules name, and nothing else.

pub mod policy;

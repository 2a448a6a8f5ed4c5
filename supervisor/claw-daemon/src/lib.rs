//! The daemon: it hosts the core, reads the fleet file, and answers the control API.
#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod http;
pub mod telemetry;

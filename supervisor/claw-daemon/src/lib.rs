//! The daemon: hosts the core, reads the fleet file, answers the API.
#![forbid(unsafe_code)]

pub mod api;
pub mod http;
pub mod telemetry;

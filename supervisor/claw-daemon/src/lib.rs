//! The daemon: hosts the core, reads the fleet file, answers the API.

pub mod config;

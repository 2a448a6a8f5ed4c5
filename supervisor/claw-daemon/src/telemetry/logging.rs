//! The supervisor's own log, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging with a filter such as `info` or `claw_daemon=debug,warn`. A filter that cannot
/// be read is said so and `info` is used: a typing error must not keep a fleet down.
pub fn start(filter: &str, format: Format) {
    let (filter, problem) = match EnvFilter::try_new(filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // A second start keeps the first: only a test starts twice in one process.
    let started = match format {
        Format::Text => builder.with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    if let (Ok(()), Some(error)) = (started, problem) {
        tracing::warn!("the log filter cannot be read, `info` is used: {error}");
    }
}

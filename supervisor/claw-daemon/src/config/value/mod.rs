//! Readers of single values: durations, quantities, signals, words, time zones. Each takes text
//! and says why it cannot be used; none knows about YAML.

pub(super) mod address;
pub(super) mod duration;
pub(super) mod engine;
pub(super) mod image;
pub(super) mod money;
pub(super) mod network;
pub(super) mod percent;
pub(super) mod port;
pub(super) mod quantity;
pub(super) mod rejected;
pub(super) mod signal;
pub(super) mod uids;
pub(super) mod words;

pub(super) use rejected::Rejected;

/// Reads a duration as the fleet file writes them, such as `1m30s`; for the command line.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text).map_err(|rejected| match rejected.help {
        Some(help) => format!("{}; {help}", rejected.why),
        None => rejected.why,
    })
}

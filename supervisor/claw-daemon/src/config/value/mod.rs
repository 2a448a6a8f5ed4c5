//! Readers of single values: durations, quantities, signals, words, time zones. Each takes text
//! and says why it cannot be used; none knows about YAML.

pub(super) mod address;
pub(super) mod duration;
pub(super) mod percent;
pub(super) mod quantity;
pub(super) mod rejected;
pub(super) mod signal;
pub(super) mod words;

pub(super) use rejected::Rejected;

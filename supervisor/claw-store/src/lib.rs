//! Durable things: the journal of lifecycles, always local.
#![forbid(unsafe_code)]

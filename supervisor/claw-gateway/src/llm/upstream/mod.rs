//! The way to providers: connections that are kept, and requests that carry the provider's key and
//! nothing of the agent's.

mod base_url;
mod client;
mod headers;
mod key;

pub use base_url::{BaseUrl, NotABaseUrl};
pub use client::{Client, Outgoing, SendError};
pub use headers::{seen_by_provider, to_agent, unknown_beta};
pub use key::Key;

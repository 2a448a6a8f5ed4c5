//! What the provider has seen and charges for.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

/// A request as it reached the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// When it had come.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// Its headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body, byte by byte.
    pub body: Vec<u8>,
    /// The model it asks for.
    pub model: String,
    /// Tokens of the prompt that are billed; none if it was refused.
    pub prompt_tokens: u64,
    /// Tokens of the answer that are billed.
    pub answer_tokens: u64,
    /// Tokens that were written to the client.
    pub tokens_sent: u64,
    /// Whether nothing will be added any more.
    pub ended: bool,
}

impl Seen {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({
            "path": self.path,
            "headers": self.headers,
            "body": self.json(),
            "model": self.model,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "tokens_sent": self.tokens_sent,
            "ended": self.ended,
        })
    }
}

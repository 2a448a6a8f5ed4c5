//! What the provider does with a request.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

/// What the provider does with one request. By default it answers at once with sixteen tokens, tells
/// its usage and keeps to the limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// The HTTP status; from 400 on the body is an error of the interface.
    pub status: u16,
    /// The status of an error that is the first event of a stream whose head is a success; nothing
    /// is billed.
    pub error_event: Option<u16>,
    /// Headers of the answer, such as `retry-after`.
    pub headers: Vec<(String, String)>,
    /// Before anything is answered.
    pub before_head: Pause,
    /// Between the head of a stream and its first event.
    pub before_first: Pause,
    /// Before each token of a stream.
    pub between: Pause,
    /// Tokens of the prompt; by default a quarter of the body's bytes.
    pub prompt_tokens: Option<u64>,
    /// How many of them came from a cache.
    pub cached_tokens: u64,
    /// How many of them went into a cache; Anthropic alone tells it.
    pub cache_written_tokens: u64,
    /// Tokens the answer would have without a limit.
    pub answer_tokens: u64,
    /// What is made of the request's limit.
    pub limit: OnLimit,
    /// What is told of the usage.
    pub report: Report,
    /// The service tier that chat completions name.
    pub service_tier: Option<String>,
    /// How the answer ends.
    pub ending: Ending,
    /// What is billed when the client goes away in the middle of a stream.
    pub hang_up: OnHangUp,
    /// A call of a tool in place of a text.
    pub tool: Option<Tool>,
    /// How long each counted word is made with dots, in bytes.
    pub word_bytes: usize,
    /// A text in place of counted words; each token is one character of it.
    pub text: Option<String>,
    /// A body in place of all that, in pieces; in a stream each waits for `between`. All of the
    /// answer is billed with the first.
    pub raw: Option<Vec<String>>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: 200,
            error_event: None,
            headers: Vec::new(),
            before_head: Pause::None,
            before_first: Pause::None,
            between: Pause::None,
            prompt_tokens: None,
            cached_tokens: 0,
            cache_written_tokens: 0,
            answer_tokens: 16,
            limit: OnLimit::Honoured,
            report: Report::True,
            service_tier: None,
            ending: Ending::Usual,
            hang_up: OnHangUp::StopsBilling,
            tool: None,
            word_bytes: 0,
            text: None,
            raw: None,
        }
    }
}

impl Behaviour {
    /// An answer of so many tokens.
    #[must_use]
    pub fn tokens(answer_tokens: u64) -> Self {
        Self {
            answer_tokens,
            ..Self::default()
        }
    }

    /// A refusal.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// The same with another header in the answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How long the provider waits.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "u64")]
pub enum Pause {
    /// Not at all.
    None,
    /// For so long; in JSON a number of milliseconds.
    For(Duration),
    /// Until the gate is opened for it.
    Until(Gate),
}

impl From<u64> for Pause {
    fn from(milliseconds: u64) -> Self {
        Self::For(Duration::from_millis(milliseconds))
    }
}

impl Pause {
    pub(crate) async fn wait(&self) {
        match self {
            Self::None => {}
            Self::For(time) => tokio::time::sleep(*time).await,
            Self::Until(gate) => gate.pass().await,
        }
    }
}

/// What a test holds answers back with: each permit lets one through, and an open gate all.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<u64>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Gate {
    /// Lets so many more pass.
    pub fn permit(&self, count: u64) {
        self.0
            .send_modify(|permits| *permits = permits.saturating_add(count));
    }

    /// Lets all pass from now on.
    pub fn open(&self) {
        self.0.send_replace(u64::MAX);
    }

    async fn pass(&self) {
        let mut permits = self.0.subscribe();
        loop {
            let passed = self.0.send_if_modified(|permits| match *permits {
                0 | u64::MAX => false,
                _ => {
                    *permits -= 1;
                    true
                }
            });
            if passed || *permits.borrow_and_update() == u64::MAX {
                return;
            }
            // The sender is ours, so it is not gone.
            if permits.wait_for(|permits| *permits > 0).await.is_err() {
                return;
            }
        }
    }
}

/// What is made of a request's limit of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// The answer has no more.
    Honoured,
    /// It has as many as it would without.
    Ignored,
}

/// What is told of the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// What is billed.
    True,
    /// Nothing.
    Missing,
    /// These numbers.
    Told {
        /// Of the prompt.
        prompt: i64,
        /// Of the answer.
        answer: i64,
    },
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// As the interface says.
    Usual,
    /// The connection breaks after so many tokens of a stream, or within the body.
    Cut {
        /// How many tokens go before.
        after: u64,
    },
    /// The connection breaks before there is an answer; nothing is billed.
    Unanswered,
}

/// What is billed when the client goes away in the middle of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHangUp {
    /// What was sent.
    StopsBilling,
    /// The whole answer.
    BillsAll,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its arguments, as JSON.
    pub arguments: String,
}

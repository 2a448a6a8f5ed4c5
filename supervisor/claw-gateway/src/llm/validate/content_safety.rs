//! Texts that are judged by a model for it: an endpoint of OpenAI's moderations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What an agent says and hears is judged before it passes. What is judged unsafe does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSafety {
    /// The provider whose `/moderations` is asked, with its key, by its name in the settings. OpenAI
    /// charges nothing for it (<https://developers.openai.com/api/docs/guides/moderation>); what
    /// another one charges is not counted.
    pub provider: Arc<str>,
    /// The model that judges; `None` leaves it to the provider.
    pub model: Option<Arc<str>>,
    /// Texts of these categories do not pass, as the provider names them; with none, texts that it
    /// flags for any.
    pub categories: BTreeSet<String>,
    /// What is judged.
    pub judged: Judged,
    /// What is done when nobody judges.
    pub on_failure: OnFailure,
    /// How long a judgement may take.
    pub timeout: Duration,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// What the agent asks.
    Prompts,
    /// What the model answers.
    Answers,
    /// Both.
    Both,
}

/// What is done with a text that could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It does not pass.
    #[default]
    Block,
    /// It passes.
    Allow,
}

impl ContentSafety {
    /// How long a judgement may take where nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// Judges prompts and answers for all categories, and lets nothing pass that is not judged.
    #[must_use]
    pub const fn new(provider: Arc<str>) -> Self {
        Self {
            provider,
            model: None,
            categories: BTreeSet::new(),
            judged: Judged::Both,
            on_failure: OnFailure::Block,
            timeout: Self::TIMEOUT,
        }
    }
}

//! A request in the form that both interfaces are read into and written from.

use crate::llm::wire::{ChatLimit, Delivery};

use super::node::Node;
use super::{Untranslatable, hints};

/// A request, whatever interface it came by.
///
/// Turns of one speaker that follow each other are one turn, empty texts are none, and results of
/// tools stand before what else their turn says: both interfaces mean the same by either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The model, as the request names it.
    pub model: String,
    /// The texts of the system prompt.
    pub system: Vec<String>,
    /// Who said what.
    pub turns: Vec<Turn>,
    /// The tools the model may call.
    pub tools: Vec<Tool>,
    /// Whether and which tool it is to call.
    pub choice: Choice,
    /// Whether it may call several at once.
    pub parallel: Parallel,
    /// The most tokens of the answer.
    pub limit: Option<u64>,
    /// Texts before which the answer ends.
    pub stop: Vec<String>,
    /// The temperature, as it is written.
    pub temperature: Option<String>,
    /// The part of the likeliest tokens to choose from, as it is written.
    pub top_p: Option<String>,
    /// The JSON schema of the answer, as JSON.
    pub schema: Option<String>,
    /// How the answer is to come.
    pub delivery: Delivery,
}

/// What one side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The user, or the tools in their stead.
    User(Vec<Part>),
    /// The model.
    Assistant(Vec<Said>),
}

/// A part of what the user said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text.
    Text(String),
    /// An image.
    Image(Image),
    /// What a tool gave back.
    Result {
        /// The call it belongs to.
        call: String,
        /// Its texts.
        texts: Vec<String>,
    },
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// Sent along.
    Inline {
        /// Its media type.
        media: String,
        /// Its bytes in base64.
        data: String,
    },
    /// Fetched by the provider.
    Url(String),
}

/// A part of what the model said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A text.
    Text(String),
    /// A call of a tool.
    Call {
        /// Its id.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments, a JSON object.
        arguments: String,
    },
}

/// A tool the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments, as JSON.
    pub schema: String,
    /// Whether the schema is enforced, where the request says so.
    pub strict: Option<bool>,
}

/// Whether the model is to call a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// As it likes.
    Auto,
    /// It may not.
    Never,
    /// It must call one.
    Any,
    /// It must call this one.
    Named(String),
}

/// Whether the model may call several tools at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parallel {
    /// It may.
    Allowed,
    /// One at a time.
    One,
}

/// Whom a request is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The provider's id of the model.
    pub model: &'a str,
    /// The limit of the answer, where it is to be set.
    pub limit: Option<u64>,
    /// The limit of the answer where it is not set and the request has none: messages need one.
    pub default_limit: u64,
    /// What the provider calls that limit in chat completions.
    pub chat_limit: ChatLimit,
}

impl Conversation {
    pub(super) fn empty() -> Self {
        Self {
            model: String::new(),
            system: Vec::new(),
            turns: Vec::new(),
            tools: Vec::new(),
            choice: Choice::Auto,
            parallel: Parallel::Allowed,
            limit: None,
            stop: Vec::new(),
            temperature: None,
            top_p: None,
            schema: None,
            delivery: Delivery::Whole,
        }
    }

    /// Leaves out what says nothing without tools, or when none may be called.
    pub(super) fn settled(mut self) -> Self {
        if self.tools.is_empty() {
            self.choice = Choice::Auto;
        }
        if self.tools.is_empty() || self.choice == Choice::Never {
            self.parallel = Parallel::Allowed;
        }
        self
    }

    pub(super) fn user_says(&mut self, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        let merged = if let Some(Turn::User(last)) = self.turns.last_mut() {
            last.extend(parts);
            last
        } else {
            self.turns.push(Turn::User(parts));
            let Some(Turn::User(last)) = self.turns.last_mut() else {
                return;
            };
            last
        };
        // The sort is stable: only results move, to the front.
        merged.sort_by_key(|part| !matches!(part, Part::Result { .. }));
    }

    pub(super) fn assistant_says(&mut self, said: Vec<Said>) {
        if said.is_empty() {
            return;
        }
        if let Some(Turn::Assistant(last)) = self.turns.last_mut() {
            last.extend(said);
            last.sort_by_key(|said| matches!(said, Said::Call { .. }));
        } else {
            let mut said = said;
            said.sort_by_key(|said| matches!(said, Said::Call { .. }));
            self.turns.push(Turn::Assistant(said));
        }
    }
}

/// Refuses a member of a block unless it is a hint.
pub(super) fn only_hint(key: &str, node: &Node<'_>) -> Result<(), Untranslatable> {
    if hints::BLOCK.contains(&key) {
        return Ok(());
    }
    Err(node.unsupported())
}

/// A text, unless it is empty.
pub(super) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

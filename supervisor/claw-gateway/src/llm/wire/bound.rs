//! The most that a call can use, known before it is sent.

use super::{Api, Excerpt, Hosted, Reference, Request};

/// Tokens allowed for the frame of a prompt.
pub const PROMPT_TOKENS: u64 = 64;
/// Tokens allowed for the frame of each message, and of each tool.
pub const MESSAGE_TOKENS: u64 = 16;
/// Tokens allowed once for a prompt with tools, and once for a schema of the answer. Anthropic adds up
/// to 804 of its own instructions when there are tools (its overview of tool use, under pricing), and
/// says of a schema only that it adds some.
pub const TOOLS_TOKENS: u64 = 1_024;
/// Tokens allowed for each tool that Anthropic describes itself: up to 735, and 499 of instructions
/// for a computer (its pages on these tools).
pub const DESCRIBED_TOOL_TOKENS: u64 = 1_280;

/// Bytes of text that are taken as one token where a provider told no usage. English text has four,
/// other text fewer bytes' worth of meaning but about as many tokens to the byte.
const BYTES_PER_TOKEN: u64 = 4;

/// What is known about a model and what is configured for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The most tokens the model answers with.
    pub answer: Option<u64>,
    /// Tokens of the model's context window.
    pub context: Option<u64>,
    /// The most tokens an image becomes.
    pub image: Option<u64>,
    /// A cap that is sent with requests that have none.
    pub default_answer: Option<u64>,
    /// Searches that the model makes for each request without being asked.
    pub searches: u64,
}

/// The most that a call can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of all answers together, those of thought included.
    pub answer_tokens: u64,
    /// Searches by the provider.
    pub searches: u64,
    /// The limit of one answer that the bound relies on and the request does not have: it must be
    /// sent.
    pub limit_to_send: Option<u64>,
}

/// Why a call has no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Boundless {
    /// The prompt has content without a size, and the model's context window is not known.
    #[error("the prompt has content whose size is not known, and so is the context of the model")]
    Content(Reference),
    /// The prompt has images, and neither their tokens nor the model's context window are known.
    #[error("what an image costs is not known for the model, nor is its context")]
    Images,
    /// Nothing limits the answer.
    #[error("nothing limits the answer; set its limit in the request, or a default cap")]
    Answer,
    /// The provider may search or fetch as often as it likes.
    #[error(
        "nothing limits the searches and fetches; set `max_uses` of the tool or `max_tool_calls`"
    )]
    Searches,
    /// A tool of the provider has a price that is not known here.
    #[error("the provider's tool `{kind}` has a price that cannot be bounded")]
    Tool {
        /// Its type.
        kind: Excerpt,
    },
}

impl Request {
    /// The most that the call can use of a model: every token of text is at least one byte of it,
    /// and what has no size is taken as the whole context window, once for each round that the
    /// provider may make by itself.
    ///
    /// # Errors
    /// When nothing bounds a part of it.
    pub fn bound(&self, limits: &Limits) -> Result<Bound, Boundless> {
        let (searches, rounds) = self.rounds(limits)?;
        let (answer_tokens, limit_to_send) = self.answer_bound(limits)?;
        Ok(Bound {
            prompt_tokens: self.prompt_bound(limits, rounds)?,
            answer_tokens,
            searches,
            limit_to_send,
        })
    }

    fn prompt_bound(&self, limits: &Limits, rounds: u64) -> Result<u64, Boundless> {
        let prompt = &self.prompt;
        let hosted = !prompt.hosted.is_empty() || limits.searches > 0;
        let reference = prompt.references.first();
        match limits.context {
            Some(context) if hosted => {
                return Ok(context.saturating_mul(rounds));
            }
            Some(context) if reference.is_some() => return Ok(context),
            None if hosted => {
                return Err(Boundless::Content(Reference::Unknown {
                    kind: "tools".to_owned(),
                }));
            }
            Some(_) | None => {}
        }
        if let Some(reference) = reference {
            return Err(Boundless::Content(reference.clone()));
        }
        let images = match (prompt.images, limits.image, limits.context) {
            (0, _, _) => 0,
            (images, Some(each), _) => images.saturating_mul(each),
            (_, None, Some(context)) => return Ok(context),
            (_, None, None) => return Err(Boundless::Images),
        };
        let instructed =
            u64::from(prompt.tools + prompt.described_tools > 0) + u64::from(self.schema.is_some());
        let tools = prompt
            .tools
            .saturating_mul(MESSAGE_TOKENS)
            .saturating_add(prompt.described_tools.saturating_mul(DESCRIBED_TOOL_TOKENS))
            .saturating_add(instructed * TOOLS_TOKENS);
        Ok(prompt
            .bytes
            .saturating_add(prompt.messages.saturating_mul(MESSAGE_TOKENS))
            .saturating_add(PROMPT_TOKENS)
            .saturating_add(tools)
            .saturating_add(images))
    }

    fn answer_bound(&self, limits: &Limits) -> Result<(u64, Option<u64>), Boundless> {
        if self.api == Api::Embeddings {
            return Ok((0, None));
        }
        let one = match (self.limit, limits.answer) {
            (Some(limit), Some(most)) => (limit.min(most), None),
            (Some(limit), None) => (limit, None),
            (None, most) => match (limits.default_answer, most) {
                (Some(cap), Some(most)) => (cap.min(most), Some(cap.min(most))),
                (Some(cap), None) => (cap, Some(cap)),
                (None, Some(most)) => (most, None),
                (None, None) => return Err(Boundless::Answer),
            },
        };
        let all = one
            .0
            .saturating_add(self.prompt.predicted_bytes)
            .saturating_mul(self.answers);
        Ok((all, one.1))
    }

    /// The most searches, and the most rounds: the first one, and one after each search and fetch.
    fn rounds(&self, limits: &Limits) -> Result<(u64, u64), Boundless> {
        let mut searches = limits.searches;
        let mut rounds = searches.saturating_add(1);
        for tool in &self.prompt.hosted {
            match tool {
                Hosted::Search { cap: Some(cap) } => {
                    searches = searches.saturating_add(*cap);
                    rounds = rounds.saturating_add(*cap);
                }
                Hosted::Fetch { cap: Some(cap) } => rounds = rounds.saturating_add(*cap),
                Hosted::Search { cap: None } | Hosted::Fetch { cap: None } => {
                    return Err(Boundless::Searches);
                }
                Hosted::Other { kind } => {
                    return Err(Boundless::Tool {
                        kind: kind.as_str().into(),
                    });
                }
            }
        }
        Ok((searches, rounds))
    }
}

/// Tokens of so many bytes of text, for calls whose provider told no usage: one for every four
/// bytes, rounded up, and never more than `bound`.
#[must_use]
pub const fn estimate(bytes: u64, bound: u64) -> u64 {
    let tokens = bytes.div_ceil(BYTES_PER_TOKEN);
    if tokens < bound { tokens } else { bound }
}

#[cfg(test)]
mod tests;

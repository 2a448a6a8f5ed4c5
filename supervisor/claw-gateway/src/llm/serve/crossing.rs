//! Calls whose provider has another interface than the agent used: translated on their way out and
//! back.

use std::sync::Arc;

use bytes::Bytes;

use super::chain::Target;
use super::denial::Denial;
use super::settings::{AgentSettings, ProviderKind};
use crate::llm::translate::{
    self, ChatToMessages, MessagesToChat, Shown, Untranslatable, chat_to_message, chat_to_messages,
    message_to_chat, messages_to_chat,
};
use crate::llm::wire::{Api, Excerpt, Frame, Request, Side, UsageChunk};

/// The limit of an answer for messages, which need one, where nobody names any.
const USUAL_LIMIT: u64 = 4096;

/// The request in the interface of a target's provider: itself, or translated.
///
/// # Errors
/// With the feature that cannot be translated.
pub(super) fn request_for(
    request: &Arc<Request>,
    target: &Target,
    agent: &AgentSettings,
) -> Result<Arc<Request>, Denial> {
    let side = match target.provider.kind {
        ProviderKind::OpenAi | ProviderKind::Ollama => Side::OpenAi,
        ProviderKind::Anthropic => Side::Anthropic,
    };
    if request.api.side() == side {
        return Ok(Arc::clone(request));
    }
    let limits = [agent.default_output_cap, target.model.max_output];
    let written_for = translate::Target {
        model: &target.model.id,
        limit: None,
        default_limit: limits.into_iter().flatten().min().unwrap_or(USUAL_LIMIT),
        chat_limit: target.provider.chat_limit,
    };
    let (api, body) = match request.api {
        Api::ChatCompletions => (
            Api::Messages,
            chat_to_messages(request.body(), &written_for),
        ),
        Api::Messages => (
            Api::ChatCompletions,
            messages_to_chat(request.body(), &written_for),
        ),
        Api::Responses | Api::Embeddings => {
            return Err(unsupported(request.api.path().into(), target));
        }
    };
    let body = body.map_err(|error| match error {
        Untranslatable::Unsupported { feature } => unsupported(feature, target),
        malformed @ Untranslatable::Malformed { .. } => Denial::Malformed(malformed),
    })?;
    Ok(Arc::new(Request::read(api, body.into_bytes())?))
}

fn unsupported(feature: Excerpt, target: &Target) -> Denial {
    Denial::Unsupported {
        feature,
        provider: target.provider_name.to_string(),
    }
}

/// A whole answer in the interface of the agent.
///
/// # Errors
/// With what the answer has and cannot be translated.
pub(super) fn answer_from(
    (theirs, ours): (Api, Api),
    body: &str,
    shown: &Shown<'_>,
) -> Result<Option<String>, Untranslatable> {
    match (theirs, ours) {
        (Api::Messages, Api::ChatCompletions) => message_to_chat(body, shown).map(Some),
        (Api::ChatCompletions, Api::Messages) => chat_to_message(body, shown).map(Some),
        (Api::ChatCompletions | Api::Responses | Api::Embeddings | Api::Messages, _) => Ok(None),
    }
}

/// A provider's refusal in the interface of the agent.
pub(super) fn refusal_from((theirs, ours): (Api, Api), status: u16, body: Bytes) -> Bytes {
    if theirs.side() == ours.side() {
        return body;
    }
    translate::error_for(ours.side(), status, &body).into()
}

/// A stream on its way from one interface into the other.
pub(super) enum Crossing {
    ToChat(Box<MessagesToChat>),
    ToMessages(Box<ChatToMessages>),
}

impl Crossing {
    /// What translates a stream; nothing, where nothing has to be.
    pub(super) fn new(
        (theirs, ours): (Api, Api),
        shown: &Shown<'_>,
        usage_chunk: UsageChunk,
    ) -> Option<Self> {
        match (theirs, ours) {
            (Api::Messages, Api::ChatCompletions) => {
                let translator = MessagesToChat::new(shown, usage_chunk);
                Some(Self::ToChat(Box::new(translator)))
            }
            (Api::ChatCompletions, Api::Messages) => {
                Some(Self::ToMessages(Box::new(ChatToMessages::new(shown))))
            }
            (Api::ChatCompletions | Api::Responses | Api::Embeddings | Api::Messages, _) => None,
        }
    }

    /// The frames for the agent in the place of one of the provider.
    pub(super) fn frames(&mut self, frame: &Frame) -> Vec<Frame> {
        match self {
            Self::ToChat(translator) => translator.frame(frame),
            Self::ToMessages(translator) => translator.frame(frame),
        }
    }

    /// The frames for the agent at the end of the provider's stream.
    pub(super) fn finish(&mut self) -> Vec<Frame> {
        match self {
            Self::ToChat(translator) => translator.finish(),
            Self::ToMessages(translator) => translator.finish(),
        }
    }
}

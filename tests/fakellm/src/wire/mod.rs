//! The interfaces, as their providers describe them:
//! <https://platform.openai.com/docs/api-reference> and <https://docs.anthropic.com/en/api>.

mod anthropic;
mod openai;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::Behaviour;
use crate::behaviour::{OnLimit, Report};

/// What a request asks for.
pub(crate) struct Asked {
    pub(crate) api: Api,
    pub(crate) model: String,
    pub(crate) streams: Streams,
    limit: Option<u64>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Chat,
    Responses,
    Embeddings,
    Messages,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    No,
    Yes,
    WithUsage,
}

impl Api {
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/responses" => Some(Self::Responses),
            "/v1/embeddings" => Some(Self::Embeddings),
            "/v1/messages" => Some(Self::Messages),
            _ => None,
        }
    }
}

impl Asked {
    pub(crate) fn read(api: Api, body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let usage = &json["stream_options"]["include_usage"];
        let streams = match (json["stream"] == true, api) {
            (false, _) | (true, Api::Embeddings) => Streams::No,
            (true, Api::Chat) if usage != true => Streams::Yes,
            (true, Api::Chat | Api::Responses | Api::Messages) => Streams::WithUsage,
        };
        let limits = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
        Some(Self {
            api,
            model: json["model"].as_str()?.to_owned(),
            streams,
            limit: limits.iter().find_map(|name| json[name].as_u64()),
            bytes: body.len(),
        })
    }
}

/// What is answered, in numbers and words.
pub(crate) struct Answer<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) behaviour: &'a Behaviour,
    pub(crate) prompt: u64,
    pub(crate) tokens: u64,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(asked: &'a Asked, behaviour: &'a Behaviour) -> Self {
        let bytes = u64::try_from(asked.bytes).unwrap_or(u64::MAX);
        let tokens = match &behaviour.text {
            Some(text) => u64::try_from(text.chars().count()).unwrap_or(u64::MAX),
            None => behaviour.answer_tokens,
        };
        let tokens = match (asked.api, asked.limit, behaviour.limit) {
            (Api::Embeddings, _, _) => 0,
            (_, Some(limit), OnLimit::Honoured) => tokens.min(limit),
            (_, Some(_), OnLimit::Ignored) | (_, None, _) => tokens,
        };
        Self {
            asked,
            behaviour,
            prompt: behaviour.prompt_tokens.unwrap_or(bytes / 4),
            tokens,
        }
    }

    /// A whole answer.
    pub(crate) fn body(&self) -> Value {
        match self.asked.api {
            Api::Chat => openai::chat(self),
            Api::Responses => openai::response(self, "completed"),
            Api::Embeddings => openai::embeddings(self),
            Api::Messages => anthropic::message(self),
        }
    }

    /// The events of a stream before its first token.
    pub(crate) fn opening(&self) -> Bytes {
        match self.asked.api {
            Api::Chat | Api::Embeddings => openai::chat_opening(self),
            Api::Responses => openai::response_opening(self),
            Api::Messages => anthropic::opening(self),
        }
    }

    /// The event of one token.
    pub(crate) fn token(&self, number: u64) -> Bytes {
        let word = self.word(number);
        match self.asked.api {
            Api::Chat | Api::Embeddings => openai::chat_token(self, &word),
            Api::Responses => openai::response_token(&word),
            Api::Messages => anthropic::token(self, &word),
        }
    }

    /// The events after the last token.
    pub(crate) fn closing(&self) -> Bytes {
        match self.asked.api {
            Api::Chat | Api::Embeddings => openai::chat_closing(self),
            Api::Responses => openai::response_closing(self),
            Api::Messages => anthropic::closing(self),
        }
    }

    fn word(&self, number: u64) -> String {
        let nth = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(tool) = &self.behaviour.tool {
            // The arguments go in as many pieces as there are tokens, the rest with the last.
            let bytes = tool.arguments.len();
            let pieces = usize::try_from(self.tokens).unwrap_or(usize::MAX).max(1);
            let each = bytes.div_ceil(pieces).max(1);
            let from = (nth * each).min(bytes);
            return tool.arguments[from..(from + each).min(bytes)].to_owned();
        }
        match &self.behaviour.text {
            Some(text) => text.chars().nth(nth).map(String::from).unwrap_or_default(),
            None => format!("w{number:.<width$} ", width = self.behaviour.word_bytes),
        }
    }

    fn words(&self) -> String {
        (0..self.tokens).map(|number| self.word(number)).collect()
    }

    fn was_limited(&self) -> bool {
        self.asked.limit == Some(self.tokens)
    }

    /// The numbers that are told: of the prompt, and of the answer.
    fn told(&self) -> Option<(i64, i64)> {
        let number = |tokens| i64::try_from(tokens).unwrap_or(i64::MAX);
        match self.behaviour.report {
            Report::True => Some((number(self.prompt), number(self.tokens))),
            Report::Missing => None,
            Report::Told { prompt, answer } => Some((prompt, answer)),
        }
    }
}

/// An error in the form of the interface.
pub(crate) fn error(api: Api, status: u16) -> Value {
    let message = format!("told to answer {status}");
    match api {
        Api::Messages => json!({
            "type": "error",
            "error": {"type": "api_error", "message": message},
        }),
        Api::Chat | Api::Responses | Api::Embeddings => json!({
            "error": {"message": message, "type": "server_error", "param": null, "code": null},
        }),
    }
}

/// An error in a stream, in the form of the interface.
pub(crate) fn error_event(api: Api, status: u16) -> Bytes {
    let message = format!("told to say {status}");
    let kind = match (api, status) {
        (_, 400) => "invalid_request_error",
        (_, 401) => "authentication_error",
        (Api::Messages, 429) => "rate_limit_error",
        (_, 429) => "rate_limit_exceeded",
        (Api::Messages, 529) => "overloaded_error",
        (Api::Messages, _) => "api_error",
        (_, _) => "server_error",
    };
    match api {
        Api::Messages => {
            let error = json!({"type": kind, "message": message});
            named(&json!({"type": "error", "error": error}))
        }
        Api::Responses => named(&json!({
            "type": "error", "code": kind, "message": message, "param": null,
            "sequence_number": 0,
        })),
        Api::Chat | Api::Embeddings => data(&json!({
            "error": {"message": message, "type": kind, "param": null, "code": null},
        })),
    }
    .into()
}

fn data(event: &Value) -> String {
    format!("data: {event}\n\n")
}

fn named(event: &Value) -> String {
    let name = event["type"].as_str().unwrap_or_default();
    format!("event: {name}\ndata: {event}\n\n")
}

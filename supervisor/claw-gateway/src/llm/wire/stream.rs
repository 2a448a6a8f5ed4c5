//! A stream of an answer, read alongside while its frames go to the agent.

mod chunk;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use self::chunk::Chunk;
use super::answer::{string, written};
use super::object::Text;
use super::usage::read_usage;
use super::{Api, Finish, Frame};
use crate::llm::usage::Usage;

/// The most answers of one stream whose ends are kept; no request may ask for more.
const MAX_CHOICES: usize = 128;

/// Bytes of text in a token at most, as far as texts go; most have about four.
const MOST_BYTES_OF_TOKEN: u64 = 8;

/// Tokens that a text of so many bytes has at least.
#[must_use]
pub const fn least_tokens(text_bytes: u64) -> u64 {
    text_bytes / MOST_BYTES_OF_TOKEN
}

/// The numbers of Anthropic's usage that are kept from event to event, each with those inside of it.
const USAGE: [(&str, &[&str]); 6] = [
    (
        "cache_creation",
        &["ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens"],
    ),
    ("cache_creation_input_tokens", &[]),
    ("cache_read_input_tokens", &[]),
    ("input_tokens", &[]),
    ("output_tokens", &[]),
    ("server_tool_use", &["web_search_requests"]),
];

/// What a frame is, for those who forward it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A part of the answer.
    Delta,
    /// The usage of chat completions and nothing else: agents that did not ask are to see none.
    UsageAlone,
    /// The frame that ends a stream properly.
    End,
    /// An error in place of the rest.
    Error,
    /// Anything else: comments, the begin and end of blocks.
    Other,
}

/// What the provider has said about usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// A part: the prompt is whole, the answer is not.
    SoFar(Usage),
    /// All of it.
    Whole(Usage),
}

/// Whether a stream has ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It has not.
    Open,
    /// As its interface says it ends.
    Properly,
    /// With an error in the provider's words.
    Failed {
        /// The error's type.
        kind: String,
        /// Its message.
        message: String,
    },
}

/// A block of an answer by Anthropic that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub index: u64,
}

/// Whether a message by Anthropic has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Not,
    Yes,
}

/// All that is known of a stream so far.
#[derive(Debug, Clone)]
pub struct StreamReading {
    /// The interface.
    pub api: Api,
    /// The model that answers, by the provider's id.
    pub model: Option<String>,
    /// Why the model stopped.
    pub finish: Option<Finish>,
    /// What was said about usage.
    pub told: Told,
    /// UTF-8 bytes of all that the model wrote so far.
    pub text_bytes: u64,
    /// Frames with a part of the answer; most providers send one token in each.
    pub deltas: u64,
    /// Whether it has ended.
    pub ended: Ended,
    pub(super) id: Option<String>,
    pub(super) created: Option<u64>,
    pub(super) begun: Begun,
    pub(super) block: Option<Block>,
    pub(super) unfinished: BTreeSet<u64>,
    pub(super) sequence: u64,
    usage: Map<String, Value>,
    searches: u64,
}

impl StreamReading {
    /// Before the first frame.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self {
            api,
            model: None,
            finish: None,
            told: Told::Nothing,
            text_bytes: 0,
            deltas: 0,
            ended: Ended::Open,
            id: None,
            created: None,
            begun: Begun::Not,
            block: None,
            unfinished: BTreeSet::new(),
            sequence: 0,
            usage: Map::new(),
            searches: 0,
        }
    }

    /// Reads a frame. What is not understood changes nothing: it goes to the agent in any case.
    pub fn frame(&mut self, frame: &Frame) -> Content {
        let data = frame.data();
        let data = data.trim();
        if data.is_empty() {
            return Content::Other;
        }
        if data == "[DONE]" {
            if self.ended == Ended::Open {
                self.ended = Ended::Properly;
            }
            return Content::End;
        }
        if self.api == Api::ChatCompletions
            && let Some(chunk) = Chunk::read(data)
        {
            return self.chunk(chunk);
        }
        let Ok(data) = serde_json::from_str::<Value>(data) else {
            return Content::Other;
        };
        match self.api {
            Api::ChatCompletions | Api::Embeddings => self.chat(&data),
            Api::Responses => self.response(&data),
            Api::Messages => self.message(&data),
        }
    }

    fn chunk(&mut self, chunk: Chunk<'_>) -> Content {
        let (Text(model), Text(id)) = (chunk.model, chunk.id);
        self.model.get_or_insert_with(|| model.into_owned());
        self.id.get_or_insert_with(|| id.into_owned());
        self.created.get_or_insert(chunk.created);
        let mut written = 0;
        for choice in &chunk.choices {
            written += choice.written();
            self.goes_on(choice.index);
        }
        if written == 0 {
            return Content::Other;
        }
        self.text_bytes += written;
        self.deltas += 1;
        Content::Delta
    }

    fn goes_on(&mut self, choice: u64) {
        if self.unfinished.len() < MAX_CHOICES {
            self.unfinished.insert(choice);
        }
    }

    fn chat(&mut self, data: &Value) -> Content {
        if data["error"].is_object() {
            return self.failed(&data["error"]);
        }
        self.keep(&data["model"], &data["id"]);
        self.created = self.created.or(data["created"].as_u64());
        let choices = data["choices"].as_array().map_or(&[][..], Vec::as_slice);
        let mut content = Content::Other;
        for choice in choices {
            let bytes = written(&choice["delta"]);
            if bytes > 0 {
                self.text_bytes += bytes;
                content = Content::Delta;
            }
            let index = choice["index"].as_u64().unwrap_or(0);
            if let Some(word) = choice["finish_reason"].as_str() {
                self.finish = Some(Finish::of(self.api, word));
                self.unfinished.remove(&index);
            } else {
                self.goes_on(index);
            }
        }
        self.deltas += u64::from(content == Content::Delta);
        let Some(usage) = read_usage(self.api, &data["usage"]) else {
            return content;
        };
        // Some providers tell the usage so far in every chunk.
        self.told = if choices.is_empty() || self.finish.is_some() {
            Told::Whole(usage)
        } else {
            Told::SoFar(usage)
        };
        if choices.is_empty() {
            return Content::UsageAlone;
        }
        content
    }

    fn message(&mut self, data: &Value) -> Content {
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => {
                self.begun = Begun::Yes;
                let message = &data["message"];
                self.keep(&message["model"], &message["id"]);
                self.told = self
                    .merged(&message["usage"])
                    .map_or(Told::Nothing, Told::SoFar);
                // Of the answer it tells a placeholder, which is no total yet.
                self.usage.remove("output_tokens");
            }
            "content_block_start" => {
                self.block = data["index"].as_u64().map(|index| Block { index });
            }
            "content_block_delta" => {
                self.text_bytes += written(&data["delta"]);
                self.deltas += 1;
                return Content::Delta;
            }
            "content_block_stop" => self.block = None,
            "message_delta" => {
                if let Some(word) = data["delta"]["stop_reason"].as_str() {
                    self.finish = Some(Finish::of(self.api, word));
                }
                if data["usage"]["output_tokens"].is_number()
                    && let Some(usage) = self.merged(&data["usage"])
                {
                    self.told = Told::Whole(usage);
                }
            }
            "message_stop" => {
                self.ended = Ended::Properly;
                return Content::End;
            }
            "error" => return self.failed(&data["error"]),
            _ => {}
        }
        Content::Other
    }

    fn response(&mut self, data: &Value) -> Content {
        self.sequence = data["sequence_number"].as_u64().unwrap_or(self.sequence);
        let kind = data["type"].as_str().unwrap_or_default();
        let response = &data["response"];
        if response.is_object() {
            self.keep(&response["model"], &response["id"]);
            self.created = self.created.or(response["created_at"].as_u64());
        }
        match kind {
            "response.completed" | "response.incomplete" => {
                self.end_response(response);
                Content::End
            }
            "response.failed" => {
                self.end_response(response);
                self.failed(&response["error"])
            }
            "error" => self.failed(data),
            "response.output_item.done" => {
                self.searches += u64::from(data["item"]["type"] == "web_search_call");
                Content::Other
            }
            _ if kind.ends_with(".delta") => {
                self.text_bytes += written(&data["delta"]);
                self.deltas += 1;
                Content::Delta
            }
            _ => Content::Other,
        }
    }

    fn end_response(&mut self, response: &Value) {
        let word = response["incomplete_details"]["reason"]
            .as_str()
            .or_else(|| response["status"].as_str());
        self.finish = word.map(|word| Finish::of(self.api, word));
        if let Some(usage) = read_usage(self.api, &response["usage"]) {
            self.told = Told::Whole(Usage {
                searches: self.searches,
                ..usage
            });
        }
        self.ended = Ended::Properly;
    }

    fn failed(&mut self, error: &Value) -> Content {
        self.ended = Ended::Failed {
            // The event of responses has its own type there.
            kind: string(&error["type"])
                .filter(|kind| kind != "error")
                .or_else(|| string(&error["code"]))
                .unwrap_or_default(),
            message: string(&error["message"]).unwrap_or_default(),
        };
        Content::Error
    }

    fn keep(&mut self, model: &Value, id: &Value) {
        if self.model.is_none() {
            self.model = string(model);
        }
        if self.id.is_none() {
            self.id = string(id);
        }
    }

    /// The numbers are totals, so of each the largest holds, whichever event tells it: some
    /// providers tell the prompt first and a zero in its place later.
    fn merged(&mut self, usage: &Value) -> Option<Usage> {
        let usage = usage.as_object()?;
        for (field, inner) in USAGE {
            let Some(value) = usage.get(field) else {
                continue;
            };
            if inner.is_empty() {
                keep_largest(&mut self.usage, field, value);
            } else if let Some(kept) = self
                .usage
                .entry(field)
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
            {
                for field in inner {
                    keep_largest(kept, field, &value[field]);
                }
            }
        }
        read_usage(self.api, &Value::Object(self.usage.clone()))
    }

    /// Tokens of the answer so far, as far as they can be told without a usage: one for each part,
    /// and more where a part is long.
    #[must_use]
    pub fn answer_tokens(&self) -> u64 {
        self.deltas.max(least_tokens(self.text_bytes))
    }

    /// Whether the model has stopped, in all answers of the stream, and said why. Some providers
    /// leave it at that and send no frame that ends the stream.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.finish.is_some() && self.unfinished.is_empty()
    }

    /// The model's name for frames of our own.
    pub(super) fn model_or<'a>(&'a self, alias: Option<&'a str>) -> Cow<'a, str> {
        Cow::Borrowed(alias.or(self.model.as_deref()).unwrap_or_default())
    }
}

/// What is no number stays as it came: it makes the usage none.
fn keep_largest(kept: &mut Map<String, Value>, field: &str, value: &Value) {
    let is_less = |old: &Value| old.as_u64() >= value.as_u64() && value.is_u64();
    if value.is_null() || kept.get(field).is_some_and(is_less) {
        return;
    }
    kept.insert(field.to_owned(), value.clone());
}

#[cfg(test)]
mod tests;

//! An answer in one piece, read.

use serde_json::Value;

use super::Api;
use super::usage::read_usage;
use crate::llm::usage::Usage;

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It had said all, or came to a stop sequence.
    Stop,
    /// Its limit of tokens was reached.
    Length,
    /// It waits for results of tools.
    ToolCalls,
    /// The provider's filter ended it, or the model refused.
    Refusal,
    /// Another reason, in the provider's word.
    Other(String),
}

impl Finish {
    /// The reason behind a provider's word.
    #[must_use]
    pub fn of(api: Api, word: &str) -> Self {
        match (api, word) {
            (Api::ChatCompletions, "stop")
            | (Api::Messages, "end_turn" | "stop_sequence")
            | (Api::Responses, "completed") => Self::Stop,
            (Api::ChatCompletions, "length")
            | (Api::Messages, "max_tokens" | "model_context_window_exceeded")
            | (Api::Responses, "max_output_tokens") => Self::Length,
            (Api::ChatCompletions, "tool_calls" | "function_call")
            | (Api::Messages, "tool_use") => Self::ToolCalls,
            (Api::ChatCompletions | Api::Responses, "content_filter")
            | (Api::Messages, "refusal") => Self::Refusal,
            (Api::ChatCompletions | Api::Responses | Api::Embeddings | Api::Messages, _) => {
                Self::Other(word.to_owned())
            }
        }
    }
}

/// What is read from an answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What the provider says was used.
    pub usage: Option<Usage>,
    /// The model that answered, by the provider's id.
    pub model: Option<String>,
    /// Why it stopped.
    pub finish: Option<Finish>,
    /// UTF-8 bytes of all that the model wrote, calls of tools and shown thought included: for
    /// estimates where no usage is told.
    pub text_bytes: u64,
    /// The answer's text, of the first answer where there are several.
    pub text: String,
}

impl Answer {
    /// Reads a body. What it does not say, or says in a form that is not known, is left empty: the
    /// body goes to the agent in any case.
    #[must_use]
    pub fn read(api: Api, body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let mut answer = match api {
            Api::ChatCompletions => chat(&body),
            Api::Responses => response(&body),
            Api::Embeddings => Self::default(),
            Api::Messages => message(&body),
        };
        answer.model = string(&body["model"]);
        let searches = answer.usage.map_or(0, |usage| usage.searches);
        answer.usage = read_usage(api, &body["usage"]).map(|usage| Usage {
            searches: usage.searches.max(searches),
            ..usage
        });
        answer
    }
}

fn chat(body: &Value) -> Answer {
    let choices = body["choices"].as_array().map_or(&[][..], Vec::as_slice);
    let mut answer = Answer::default();
    if let Some(first) = choices.first() {
        answer.finish = first["finish_reason"]
            .as_str()
            .map(|word| Finish::of(Api::ChatCompletions, word));
        answer.text = string(&first["message"]["content"]).unwrap_or_default();
    }
    answer.text_bytes = choices
        .iter()
        .map(|choice| written(&choice["message"]))
        .sum();
    answer
}

fn message(body: &Value) -> Answer {
    let mut answer = Answer {
        finish: body["stop_reason"]
            .as_str()
            .map(|word| Finish::of(Api::Messages, word)),
        ..Answer::default()
    };
    for block in body["content"].as_array().into_iter().flatten() {
        answer.text_bytes += written(block);
        if block["type"] == "text" {
            answer
                .text
                .push_str(block["text"].as_str().unwrap_or_default());
        }
    }
    answer
}

/// A response; its searches are items of its output and not part of its usage.
fn response(body: &Value) -> Answer {
    let mut answer = Answer::default();
    let mut searches = 0;
    let mut calls = false;
    for item in body["output"].as_array().into_iter().flatten() {
        answer.text_bytes += written(item);
        match item["type"].as_str().unwrap_or_default() {
            "web_search_call" => searches += 1,
            "function_call" | "custom_tool_call" => calls = true,
            "message" => {
                for part in item["content"].as_array().into_iter().flatten() {
                    answer
                        .text
                        .push_str(part["text"].as_str().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    let word = body["incomplete_details"]["reason"]
        .as_str()
        .or_else(|| body["status"].as_str());
    answer.finish = match word {
        Some("completed") if calls => Some(Finish::ToolCalls),
        Some(word) => Some(Finish::of(Api::Responses, word)),
        None => None,
    };
    answer.usage = Some(Usage {
        searches,
        ..Usage::default()
    });
    answer
}

/// Names of members whose texts the model did not write.
const NOT_WRITTEN: [&str; 13] = [
    "annotations",
    "call_id",
    "citations",
    "encrypted_content",
    "finish_reason",
    "id",
    "index",
    "item_id",
    "logprobs",
    "role",
    "signature",
    "status",
    "type",
];

/// UTF-8 bytes of what the model wrote in a message, a block or a delta of any interface.
pub(crate) fn written(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(written).sum(),
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !NOT_WRITTEN.contains(&key.as_str()))
            .map(|(_, value)| written(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

pub(crate) fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

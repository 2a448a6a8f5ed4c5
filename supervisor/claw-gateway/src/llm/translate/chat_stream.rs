//! A stream of messages as one of chat completions.
//!
//! ```text
//! message_start        → a chunk with the role
//! content_block_start  → for a tool: a chunk with its id and name
//! content_block_delta  → a chunk with the text, or a piece of the arguments
//! content_block_stop   → for a tool without arguments: a chunk with `{}`
//! message_delta        → a chunk with the finish reason
//! message_stop         → the usage, where it is wanted, and `[DONE]`
//! error                → a chunk with the error
//! ```

use serde_json::{Value, json};

use super::error::error_for;
use super::reply::{Shown, chat_finish};
use crate::llm::usage::Usage;
use crate::llm::wire::{Api, Ended, Frame, Side, StreamReading, Told, UsageChunk, chat_usage};

/// What the block that is open holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Text, or nothing.
    Text,
    /// The call of a tool of which no argument has come.
    EmptyCall,
    /// The call of a tool.
    Call,
    /// What has no counterpart and is left out.
    Hint,
}

/// Translates the frames of a stream of messages.
#[derive(Debug, Clone)]
pub struct MessagesToChat {
    reading: StreamReading,
    model: String,
    created: u64,
    usage_chunk: UsageChunk,
    id: String,
    open: Open,
    calls: u64,
}

impl MessagesToChat {
    /// Before the first frame.
    #[must_use]
    pub fn new(shown: &Shown<'_>, usage_chunk: UsageChunk) -> Self {
        Self {
            reading: StreamReading::new(Api::Messages),
            model: shown.model.to_owned(),
            created: shown.created,
            usage_chunk,
            id: String::new(),
            open: Open::Text,
            calls: 0,
        }
    }

    /// What has been read of the provider's stream.
    #[must_use]
    pub const fn reading(&self) -> &StreamReading {
        &self.reading
    }

    /// Takes a frame of the provider, and gives those for the agent.
    pub fn frame(&mut self, frame: &Frame) -> Vec<Frame> {
        if self.reading.ended != Ended::Open {
            return Vec::new();
        }
        self.reading.frame(frame);
        let data: Value = serde_json::from_str(&frame.data()).unwrap_or_default();
        match data["type"].as_str().unwrap_or_default() {
            "message_start" => {
                data["message"]["id"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut self.id);
                vec![self.delta(&json!({"role": "assistant", "content": ""}))]
            }
            "content_block_start" => self.start(&data["content_block"]),
            "content_block_delta" => self.piece(&data["delta"]),
            "content_block_stop" if self.open == Open::EmptyCall => vec![self.arguments("{}")],
            "message_delta" if data["delta"]["stop_reason"].is_string() => {
                let reason = chat_finish(self.reading.finish.as_ref());
                vec![self.chunk(&json!([
                    {"index": 0, "delta": {}, "logprobs": null, "finish_reason": reason}
                ]))]
            }
            "message_stop" => self.end(),
            "error" => vec![Frame::new(
                "",
                &error_for(Side::OpenAi, 500, data.to_string().as_bytes()),
            )],
            _ => Vec::new(),
        }
    }

    /// The frames that end the stream where the provider's has ended without saying so, but has
    /// said why its model stopped.
    pub fn finish(&mut self) -> Vec<Frame> {
        if self.reading.has_finished() && self.reading.ended == Ended::Open {
            self.reading.ended = Ended::Properly;
            return self.end();
        }
        Vec::new()
    }

    fn start(&mut self, block: &Value) -> Vec<Frame> {
        match block["type"].as_str().unwrap_or_default() {
            "tool_use" => {
                let index = self.calls;
                self.calls += 1;
                let input = block["input"].as_object().filter(|input| !input.is_empty());
                self.open = if input.is_some() {
                    Open::Call
                } else {
                    Open::EmptyCall
                };
                let arguments = input.map_or_else(String::new, |_| block["input"].to_string());
                vec![self.delta(&json!({"tool_calls": [{
                    "index": index,
                    "id": block["id"],
                    "type": "function",
                    "function": {"name": block["name"], "arguments": arguments},
                }]}))]
            }
            "text" => {
                self.open = Open::Text;
                match block["text"].as_str() {
                    Some("") | None => Vec::new(),
                    Some(text) => vec![self.delta(&json!({"content": text}))],
                }
            }
            _ => {
                self.open = Open::Hint;
                Vec::new()
            }
        }
    }

    fn piece(&mut self, delta: &Value) -> Vec<Frame> {
        match (self.open, delta["type"].as_str().unwrap_or_default()) {
            (Open::Text, "text_delta") => vec![self.delta(&json!({"content": delta["text"]}))],
            (Open::EmptyCall | Open::Call, "input_json_delta") => {
                match delta["partial_json"].as_str() {
                    Some("") | None => Vec::new(),
                    Some(piece) => vec![self.arguments(piece)],
                }
            }
            (Open::Text | Open::EmptyCall | Open::Call | Open::Hint, _) => Vec::new(),
        }
    }

    fn arguments(&mut self, piece: &str) -> Frame {
        self.open = Open::Call;
        self.delta(&json!({"tool_calls": [{
            "index": self.calls.saturating_sub(1),
            "function": {"arguments": piece},
        }]}))
    }

    fn end(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        if self.usage_chunk == UsageChunk::Wanted {
            let mut chunk = self.data(&json!([]));
            chunk["usage"] = chat_usage(&told(&self.reading));
            frames.push(Frame::new("", &chunk.to_string()));
        }
        frames.push(Frame::new("", "[DONE]"));
        frames
    }

    fn delta(&self, delta: &Value) -> Frame {
        self.chunk(&json!([
            {"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}
        ]))
    }

    fn chunk(&self, choices: &Value) -> Frame {
        Frame::new("", &self.data(choices).to_string())
    }

    fn data(&self, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

/// The usage as far as it was told.
pub(super) const fn told(reading: &StreamReading) -> Usage {
    match &reading.told {
        Told::SoFar(usage) | Told::Whole(usage) => *usage,
        Told::Nothing => Usage {
            input: 0,
            cache_read: 0,
            cache_write_5m: 0,
            cache_write_1h: 0,
            output: 0,
            reasoning: 0,
            searches: 0,
        },
    }
}

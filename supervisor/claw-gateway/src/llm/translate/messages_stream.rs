//! A stream of chat completions as one of messages.
//!
//! ```text
//!            text                  a call                 another call
//! Nothing ─────────▶ Text(index) ─────────▶ Call(index) ─────────────▶ Call(index + 1)
//!    every change closes the block that is open; the finish reason and the usage are kept
//!    until `[DONE]`, which closes the block and the message
//! ```

use serde_json::{Value, json};

use super::chat_stream::told;
use super::error::error_for;
use super::reply::{Shown, messages_finish};
use crate::llm::wire::{Api, Ended, Frame, Side, StreamReading, messages_usage};

/// The block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// None.
    Nothing,
    /// Text.
    Text,
    /// The call of a tool, by its number in chat completions.
    Call(u64),
}

/// Whether the message has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Not,
    Yes,
}

/// Translates the frames of a stream of chat completions.
#[derive(Debug, Clone)]
pub struct ChatToMessages {
    reading: StreamReading,
    model: String,
    begun: Begun,
    open: Open,
    /// How many blocks have been opened.
    blocks: u64,
    /// How many calls have been opened: their numbers grow.
    calls: u64,
}

impl ChatToMessages {
    /// Before the first frame.
    #[must_use]
    pub fn new(shown: &Shown<'_>) -> Self {
        Self {
            reading: StreamReading::new(Api::ChatCompletions),
            model: shown.model.to_owned(),
            begun: Begun::Not,
            open: Open::Nothing,
            blocks: 0,
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
        let mut frames = Vec::new();
        match &self.reading.ended {
            Ended::Properly => self.end(&mut frames),
            Ended::Failed { .. } => push(&mut frames, &failure(frame.data().as_bytes())),
            Ended::Open => {
                let data: Value = serde_json::from_str(&frame.data()).unwrap_or_default();
                if data["choices"].is_array() {
                    self.begin(&data, &mut frames);
                    self.delta(&data["choices"][0]["delta"], &mut frames);
                }
            }
        }
        frames
    }

    /// The frames that end the message where the provider's stream has ended without saying so, but
    /// has said why its model stopped.
    pub fn finish(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        if self.reading.has_finished() && self.reading.ended == Ended::Open {
            self.reading.ended = Ended::Properly;
            self.end(&mut frames);
        }
        frames
    }

    fn begin(&mut self, data: &Value, frames: &mut Vec<Frame>) {
        if self.begun == Begun::Yes {
            return;
        }
        self.begun = Begun::Yes;
        push(
            frames,
            &json!({"type": "message_start", "message": {
                "id": data["id"].as_str().unwrap_or_default(),
                "type": "message",
                "role": "assistant",
                "model": self.model,
                "content": [],
                "stop_reason": null,
                "stop_sequence": null,
                // Chat completions tell it at the end only; there all of it is told.
                "usage": {"input_tokens": 0, "output_tokens": 0},
            }}),
        );
    }

    fn delta(&mut self, delta: &Value, frames: &mut Vec<Frame>) {
        for field in ["content", "refusal"] {
            if let Some(text) = delta[field].as_str().filter(|text| !text.is_empty()) {
                if self.open != Open::Text {
                    self.start(Open::Text, &json!({"type": "text", "text": ""}), frames);
                }
                self.piece(&json!({"type": "text_delta", "text": text}), frames);
            }
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            self.call(call, frames);
        }
    }

    /// A piece of a call. A call that has been closed cannot be gone on with: calls come one after
    /// the other, and a provider that mixes them ends the stream with an error.
    fn call(&mut self, call: &Value, frames: &mut Vec<Frame>) {
        let index = call["index"].as_u64().unwrap_or(0);
        if self.open != Open::Call(index) {
            if index < self.calls {
                self.reading.ended = Ended::Failed {
                    kind: "api_error".to_owned(),
                    message: MIXED.to_owned(),
                };
                push(
                    frames,
                    &failure(json!({"error": {"message": MIXED}}).to_string().as_bytes()),
                );
                return;
            }
            self.calls = index.saturating_add(1);
            let id = call["id"]
                .as_str()
                .map_or_else(|| format!("call_{index}"), str::to_owned);
            let name = call["function"]["name"].as_str().unwrap_or_default();
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
            self.start(Open::Call(index), &block, frames);
        }
        if let Some(piece) = call["function"]["arguments"]
            .as_str()
            .filter(|piece| !piece.is_empty())
        {
            self.piece(
                &json!({"type": "input_json_delta", "partial_json": piece}),
                frames,
            );
        }
    }

    fn start(&mut self, open: Open, block: &Value, frames: &mut Vec<Frame>) {
        self.close(frames);
        self.open = open;
        push(
            frames,
            &json!({"type": "content_block_start", "index": self.blocks, "content_block": block}),
        );
        self.blocks += 1;
    }

    fn piece(&self, delta: &Value, frames: &mut Vec<Frame>) {
        let index = self.blocks.saturating_sub(1);
        push(
            frames,
            &json!({"type": "content_block_delta", "index": index, "delta": delta}),
        );
    }

    fn close(&mut self, frames: &mut Vec<Frame>) {
        if self.open != Open::Nothing {
            let index = self.blocks.saturating_sub(1);
            push(
                frames,
                &json!({"type": "content_block_stop", "index": index}),
            );
            self.open = Open::Nothing;
        }
    }

    fn end(&mut self, frames: &mut Vec<Frame>) {
        self.begin(&Value::Null, frames);
        self.close(frames);
        push(
            frames,
            &json!({
                "type": "message_delta",
                "delta": {
                    "stop_reason": messages_finish(self.reading.finish.as_ref()),
                    "stop_sequence": null,
                },
                "usage": messages_usage(&told(&self.reading)),
            }),
        );
        push(frames, &json!({"type": "message_stop"}));
    }
}

const MIXED: &str = "the provider mixed the pieces of two tool calls, which cannot be translated";

fn failure(body: &[u8]) -> Value {
    serde_json::from_str(&error_for(Side::Anthropic, 500, body)).unwrap_or_default()
}

fn push(frames: &mut Vec<Frame>, data: &Value) {
    let event = data["type"].as_str().unwrap_or_default();
    frames.push(Frame::new(event, &data.to_string()));
}

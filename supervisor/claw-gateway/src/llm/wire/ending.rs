//! The frames that end a stream properly when the gateway cuts it.

use serde_json::{Value, json};

use super::stream::Begun;
use super::{Api, Frame, StreamReading, UsageChunk};
use crate::llm::usage::Usage;

/// How a stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut<'a> {
    /// Why, in one word for programs: `budget`.
    pub reason: &'a str,
    /// The model as the agent knows it.
    pub model: Option<&'a str>,
    /// What was used, as far as known.
    pub usage: Usage,
    /// Whether the agent of a stream of chat completions is to see the usage.
    pub usage_chunk: UsageChunk,
}

/// The frames after which the stream has ended as its interface says, its answer cut for length.
#[must_use]
pub fn ending(reading: &StreamReading, cut: &Cut<'_>) -> Vec<Frame> {
    match reading.api {
        Api::ChatCompletions | Api::Embeddings => chat(reading, cut),
        Api::Responses => response(reading, cut),
        Api::Messages => message(reading, cut),
    }
}

/// OpenAI's usage of chat completions.
#[must_use]
pub fn chat_usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt(),
        "completion_tokens": usage.answer(),
        "total_tokens": usage.prompt().saturating_add(usage.answer()),
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// Anthropic's usage.
#[must_use]
pub fn messages_usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write_5m.saturating_add(usage.cache_write_1h),
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.answer(),
    })
}

fn chat(reading: &StreamReading, cut: &Cut<'_>) -> Vec<Frame> {
    let chunk = |choices: Value| {
        json!({
            "id": reading.id,
            "object": "chat.completion.chunk",
            "created": reading.created.unwrap_or(0),
            "model": reading.model_or(cut.model),
            "choices": choices,
        })
    };
    let cut_off = |index: &u64| json!({"index": index, "delta": {}, "finish_reason": "length"});
    let mut choices: Vec<Value> = reading.unfinished.iter().map(cut_off).collect();
    if choices.is_empty() && reading.finish.is_none() {
        choices.push(cut_off(&0));
    }
    let mut last = chunk(Value::Array(choices));
    last["openclaw"] = json!({"reason": cut.reason});
    let mut frames = vec![Frame::new("", &last.to_string())];
    if cut.usage_chunk == UsageChunk::Wanted {
        let mut usage = chunk(json!([]));
        usage["usage"] = chat_usage(&cut.usage);
        frames.push(Frame::new("", &usage.to_string()));
    }
    frames.push(Frame::new("", "[DONE]"));
    frames
}

fn message(reading: &StreamReading, cut: &Cut<'_>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut push = |data: &Value| {
        let event = data["type"].as_str().unwrap_or_default();
        frames.push(Frame::new(event, &data.to_string()));
    };
    if reading.begun == Begun::Not {
        push(&json!({"type": "message_start", "message": {
            "id": reading.id,
            "type": "message",
            "role": "assistant",
            "model": reading.model_or(cut.model),
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": messages_usage(&cut.usage),
        }}));
    }
    if let Some(block) = reading.block {
        push(&json!({"type": "content_block_stop", "index": block.index}));
    }
    push(&json!({
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens", "stop_sequence": null},
        "usage": messages_usage(&cut.usage),
        "openclaw": {"reason": cut.reason},
    }));
    push(&json!({"type": "message_stop"}));
    frames
}

/// The items of the output went out before, each by its own events; the response does not repeat
/// them, since they are not kept.
fn response(reading: &StreamReading, cut: &Cut<'_>) -> Vec<Frame> {
    let usage = &cut.usage;
    let data = json!({
        "type": "response.incomplete",
        "sequence_number": reading.sequence.saturating_add(1),
        "response": {
            "id": reading.id,
            "object": "response",
            "created_at": reading.created.unwrap_or(0),
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "model": reading.model_or(cut.model),
            "output": [],
            "usage": {
                "input_tokens": usage.prompt(),
                "input_tokens_details": {"cached_tokens": usage.cache_read},
                "output_tokens": usage.answer(),
                "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                "total_tokens": usage.prompt().saturating_add(usage.answer()),
            },
            "openclaw": {"reason": cut.reason},
        },
    });
    vec![Frame::new("response.incomplete", &data.to_string())]
}

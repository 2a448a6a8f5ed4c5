//! Anthropic's messages.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, named};

pub(super) fn message(answer: &Answer<'_>) -> Value {
    let content = match &answer.behaviour.tool {
        Some(tool) => {
            let input: Value = serde_json::from_str(&tool.arguments).unwrap_or_default();
            json!([{"type": "tool_use", "id": "toolu_1", "name": tool.name, "input": input}])
        }
        None => json!([{"type": "text", "text": answer.words()}]),
    };
    let mut body = frame(answer);
    body["content"] = content;
    body["stop_reason"] = json!(stop(answer));
    if let Some((input, output)) = answer.told() {
        body["usage"] = usage(answer, input, output);
    }
    body
}

pub(super) fn opening(answer: &Answer<'_>) -> Bytes {
    let mut body = frame(answer);
    if let Some((input, _)) = answer.told() {
        body["usage"] = usage(answer, input, 1);
    }
    let block = match &answer.behaviour.tool {
        Some(tool) => json!({"type": "tool_use", "id": "toolu_1", "name": tool.name, "input": {}}),
        None => json!({"type": "text", "text": ""}),
    };
    let start = json!({"type": "message_start", "message": body});
    let block = json!({"type": "content_block_start", "index": 0, "content_block": block});
    (named(&start) + &named(&block)).into()
}

pub(super) fn token(answer: &Answer<'_>, word: &str) -> Bytes {
    let delta = if answer.behaviour.tool.is_some() {
        json!({"type": "input_json_delta", "partial_json": word})
    } else {
        json!({"type": "text_delta", "text": word})
    };
    let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
    named(&event).into()
}

pub(super) fn closing(answer: &Answer<'_>) -> Bytes {
    let mut delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop(answer), "stop_sequence": null},
    });
    if let Some((_, output)) = answer.told() {
        delta["usage"] = json!({"output_tokens": output});
    }
    let events = [
        json!({"type": "content_block_stop", "index": 0}),
        delta,
        json!({"type": "message_stop"}),
    ];
    events.iter().map(named).collect::<String>().into()
}

fn frame(answer: &Answer<'_>) -> Value {
    json!({
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": answer.asked.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    })
}

fn stop(answer: &Answer<'_>) -> &'static str {
    if answer.behaviour.tool.is_some() {
        "tool_use"
    } else if answer.was_limited() {
        "max_tokens"
    } else {
        "end_turn"
    }
}

/// Anthropic's input excludes what is read from a cache or written to one.
fn usage(answer: &Answer<'_>, input: i64, output: i64) -> Value {
    let behaviour = answer.behaviour;
    let cached = behaviour.cached_tokens + behaviour.cache_written_tokens;
    let input = match behaviour.report {
        crate::Report::True => input - i64::try_from(cached).unwrap_or(i64::MAX),
        crate::Report::Missing | crate::Report::Told { .. } => input,
    };
    json!({
        "input_tokens": input,
        "cache_read_input_tokens": behaviour.cached_tokens,
        "cache_creation_input_tokens": behaviour.cache_written_tokens,
        "output_tokens": output,
    })
}

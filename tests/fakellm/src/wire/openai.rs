//! OpenAI's chat completions, responses and embeddings.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, Streams, data, named};

pub(super) fn chat(answer: &Answer<'_>) -> Value {
    let message = match &answer.behaviour.tool {
        Some(tool) => json!({
            "role": "assistant",
            "content": null,
            "tool_calls": [{
                "id": "call_1",
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments},
            }],
        }),
        None => json!({"role": "assistant", "content": answer.words()}),
    };
    let mut body = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": answer.asked.model,
        "choices": [{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish(answer),
        }],
    });
    if let Some(usage) = chat_usage(answer) {
        body["usage"] = usage;
    }
    if let Some(tier) = &answer.behaviour.service_tier {
        body["service_tier"] = json!(tier);
    }
    body
}

pub(super) fn chat_opening(answer: &Answer<'_>) -> Bytes {
    let delta = match &answer.behaviour.tool {
        Some(tool) => json!({
            "role": "assistant",
            "content": null,
            "tool_calls": [{
                "index": 0,
                "id": "call_1",
                "type": "function",
                "function": {"name": tool.name, "arguments": ""},
            }],
        }),
        None => json!({"role": "assistant", "content": ""}),
    };
    data(&chunk(answer, &delta, &Value::Null)).into()
}

pub(super) fn chat_token(answer: &Answer<'_>, word: &str) -> Bytes {
    let delta = if answer.behaviour.tool.is_some() {
        json!({"tool_calls": [{"index": 0, "function": {"arguments": word}}]})
    } else {
        json!({"content": word})
    };
    data(&chunk(answer, &delta, &Value::Null)).into()
}

pub(super) fn chat_closing(answer: &Answer<'_>) -> Bytes {
    let mut events = data(&chunk(answer, &json!({}), &json!(finish(answer))));
    let asked = answer.asked.streams == Streams::WithUsage;
    if let Some(usage) = chat_usage(answer).filter(|_usage| asked) {
        let mut last = chunk(answer, &json!({}), &Value::Null);
        last["choices"] = json!([]);
        last["usage"] = usage;
        events.push_str(&data(&last));
    }
    events.push_str("data: [DONE]\n\n");
    events.into()
}

fn chunk(answer: &Answer<'_>, delta: &Value, finish: &Value) -> Value {
    let mut chunk = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": answer.asked.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    if answer.asked.streams == Streams::WithUsage {
        chunk["usage"] = Value::Null;
    }
    if let Some(tier) = &answer.behaviour.service_tier {
        chunk["service_tier"] = json!(tier);
    }
    chunk
}

fn finish(answer: &Answer<'_>) -> &'static str {
    if answer.behaviour.tool.is_some() {
        "tool_calls"
    } else if answer.was_limited() {
        "length"
    } else {
        "stop"
    }
}

fn chat_usage(answer: &Answer<'_>) -> Option<Value> {
    let (prompt, completion) = answer.told()?;
    Some(json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt.saturating_add(completion),
        "prompt_tokens_details": {"cached_tokens": answer.behaviour.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }))
}

pub(super) fn embeddings(answer: &Answer<'_>) -> Value {
    let mut body = json!({
        "object": "list",
        "model": answer.asked.model,
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}],
    });
    if let Some((prompt, _)) = answer.told() {
        body["usage"] = json!({"prompt_tokens": prompt, "total_tokens": prompt});
    }
    body
}

pub(super) fn response(answer: &Answer<'_>, status: &str) -> Value {
    let whole = status != "in_progress";
    let output = match (&answer.behaviour.tool, whole) {
        (_, false) => json!([]),
        (Some(tool), true) => json!([{
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": tool.name,
            "arguments": tool.arguments,
            "status": "completed",
        }]),
        (None, true) => json!([{
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": answer.words(), "annotations": []}],
        }]),
    };
    let mut body = json!({
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": answer.asked.model,
        "output": output,
        "usage": null,
    });
    if whole && answer.was_limited() {
        body["status"] = json!("incomplete");
        body["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    if let Some((input, output)) = answer.told().filter(|_told| whole) {
        body["usage"] = json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": answer.behaviour.cached_tokens},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input.saturating_add(output),
        });
    }
    body
}

pub(super) fn response_opening(answer: &Answer<'_>) -> Bytes {
    let created = json!({
        "type": "response.created",
        "response": response(answer, "in_progress"),
    });
    let added = json!({
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []},
    });
    (named(&created) + &named(&added)).into()
}

pub(super) fn response_token(word: &str) -> Bytes {
    let delta = json!({
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": word,
    });
    named(&delta).into()
}

pub(super) fn response_closing(answer: &Answer<'_>) -> Bytes {
    let name = if answer.was_limited() {
        "response.incomplete"
    } else {
        "response.completed"
    };
    let last = json!({"type": name, "response": response(answer, "completed")});
    named(&last).into()
}

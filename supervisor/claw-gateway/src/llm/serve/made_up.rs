//! Answers that no model has given, in the form of each interface.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::body::AnswerBody;
use crate::llm::wire::{Api, Delivery, Frame, Request, UsageChunk};

/// What they all say.
const TEXT: &str = "This answer is made up; no model was asked.";

/// What says the same to a program that wants JSON.
const OBJECT: &str = "{}";

/// An answer to a request. It costs nothing and uses no tokens.
pub(super) fn answer(request: &Request) -> Response<AnswerBody> {
    let text = if request.schema.is_some() {
        OBJECT
    } else {
        TEXT
    };
    let (kind, body) = match (request.api, request.delivery) {
        (Api::Embeddings, _) => ("application/json", vectors(request).to_string()),
        (_, Delivery::Whole) => ("application/json", whole(request, text).to_string()),
        (_, Delivery::Stream(usage)) => ("text/event-stream", stream(request, text, usage)),
    };
    let mut response = Response::new(AnswerBody::whole(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn whole(request: &Request, text: &str) -> Value {
    let model = &request.model;
    match request.api {
        Api::ChatCompletions | Api::Embeddings => json!({
            "id": "chatcmpl-made-up", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": null,
                "message": {"role": "assistant", "content": text, "refusal": null},
            }],
            "usage": chat_usage(),
        }),
        Api::Messages => json!({
            "id": "msg_made_up", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }),
        Api::Responses => response_object(model, "completed", &json!([message(text)])),
    }
}

fn chat_usage() -> Value {
    json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
}

fn response_object(model: &str, status: &str, output: &Value) -> Value {
    json!({
        "id": "resp_made_up", "object": "response", "created_at": 0, "status": status,
        "model": model, "output": output, "error": null, "incomplete_details": null,
        "instructions": null, "metadata": {}, "parallel_tool_calls": true, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "usage": {
            "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    })
}

fn message(text: &str) -> Value {
    json!({
        "id": "msg_made_up", "type": "message", "role": "assistant", "status": "completed",
        "content": [part(text)],
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn stream(request: &Request, text: &str, usage: UsageChunk) -> String {
    let frames = match request.api {
        Api::ChatCompletions | Api::Embeddings => chat_stream(&request.model, text, usage),
        Api::Messages => messages_stream(&request.model, text),
        Api::Responses => responses_stream(&request.model, text),
    };
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(frame.bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn chat_stream(model: &str, text: &str, usage: UsageChunk) -> Vec<Frame> {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-made-up", "object": "chat.completion.chunk", "created": 0,
            "model": model, "choices": choices, "usage": usage,
        });
        Frame::new("", &chunk.to_string())
    };
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
    let said = json!({"role": "assistant", "content": text});
    let mut frames = vec![
        chunk(choice(said, Value::Null), Value::Null),
        chunk(choice(json!({}), json!("stop")), Value::Null),
    ];
    match usage {
        UsageChunk::Wanted => frames.push(chunk(json!([]), chat_usage())),
        UsageChunk::Unwanted => {}
    }
    frames.push(Frame::new("", "[DONE]"));
    frames
}

fn messages_stream(model: &str, text: &str) -> Vec<Frame> {
    let start = json!({
        "id": "msg_made_up", "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    });
    let events = [
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0,
               "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0,
               "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "usage": {"output_tokens": 0},
               "delta": {"stop_reason": "end_turn", "stop_sequence": null}}),
        json!({"type": "message_stop"}),
    ];
    events.into_iter().map(|event| named(&event)).collect()
}

fn responses_stream(model: &str, text: &str) -> Vec<Frame> {
    let began = response_object(model, "in_progress", &json!([]));
    let mut empty = message("");
    empty["status"] = json!("in_progress");
    empty["content"] = json!([]);
    let place = |kind: &str| {
        json!({
            "type": kind, "item_id": "msg_made_up", "output_index": 0, "content_index": 0,
        })
    };
    let with = |mut event: Value, key: &str, value: Value| {
        event[key] = value;
        event
    };
    let text_done = with(place("response.output_text.done"), "text", json!(text));
    let delta = with(place("response.output_text.delta"), "delta", json!(text));
    let events = [
        json!({"type": "response.created", "response": began}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": empty}),
        with(place("response.content_part.added"), "part", part("")),
        with(delta, "logprobs", json!([])),
        with(text_done, "logprobs", json!([])),
        with(place("response.content_part.done"), "part", part(text)),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message(text)}),
        json!({"type": "response.completed",
               "response": response_object(model, "completed", &json!([message(text)]))}),
    ];
    let numbered = events.into_iter().enumerate();
    numbered
        .map(|(number, event)| named(&with(event, "sequence_number", json!(number))))
        .collect()
}

/// An event under the name that its type is.
fn named(event: &Value) -> Frame {
    let name = event["type"].as_str().unwrap_or_default();
    Frame::new(name, &event.to_string())
}

/// As many vectors as there are inputs, all alike.
fn vectors(request: &Request) -> Value {
    /// `[1.0, 0.0]` as clients ask for it by default: 32-bit numbers, the low byte first, in Base64.
    const ENCODED: &str = "AACAPwAAAAA=";
    let body: Value = serde_json::from_str(request.body()).unwrap_or_default();
    // An array of numbers is one input, already cut into tokens.
    let many = body["input"]
        .as_array()
        .filter(|inputs| inputs.iter().all(|input| !input.is_number()));
    let inputs = many.map_or(1, Vec::len);
    let vector = if body["encoding_format"] == "base64" {
        json!(ENCODED)
    } else {
        json!([1.0, 0.0])
    };
    let data: Vec<Value> = (0..inputs)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    json!({
        "object": "list", "model": request.model, "data": data,
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    })
}

mod laws;
mod streams;

use serde_json::{Value, json};

use super::*;
use crate::llm::wire::{ChatLimit, Side};

pub(super) const TARGET: Target<'static> = Target {
    model: "the-model",
    limit: None,
    default_limit: 1_000,
    chat_limit: ChatLimit::MaxCompletionTokens,
};

pub(super) const SHOWN: Shown<'static> = Shown {
    model: "alias",
    created: 1_700_000_000,
};

fn pretty(text: &str) -> String {
    let value: Value = serde_json::from_str(text).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON")
}

fn chat() -> Value {
    json!({
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Use tools."}]},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
            ]},
            {"role": "assistant", "content": "Let me see.", "refusal": null, "annotations": [],
                "tool_calls": [
                    {"id": "call_1", "type": "function",
                        "function": {"name": "look", "arguments": "{\"z\": 1, \"a\": [2]}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "wait", "arguments": ""}},
                ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
            {"role": "tool", "tool_call_id": "call_2", "name": "wait", "content": ""},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "look", "description": "Looks.",
                "parameters": {"type": "object", "properties": {"z": {}, "a": {}}}, "strict": true}},
            {"type": "function", "function": {"name": "wait"}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": false,
        "max_completion_tokens": 77,
        "stop": "END",
        "temperature": 0.5,
        "top_p": 0.9,
        "response_format": {"type": "json_schema", "json_schema":
            {"name": "thing", "strict": true, "schema": {"type": "object"}}},
        "stream": true,
        "user": "u-1",
        "seed": 7,
        "n": 1,
        "frequency_penalty": 0,
    })
}

fn messages() -> Value {
    json!({
        "model": "claude-x",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"z": 1, "a": 2}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": false,
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"type": "text", "text": "Well?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
            ]},
        ],
        "tools": [{"type": "custom", "name": "look", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "stop_sequences": ["END", "STOP"],
        "temperature": 1,
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"a": 1}}},
        "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "u"},
    })
}

#[test]
fn a_chat_request_becomes_a_request_of_messages() {
    let written = chat_to_messages(&chat().to_string(), &TARGET).expect("a translation");
    insta::assert_snapshot!(pretty(&written));
}

#[test]
fn a_request_of_messages_becomes_a_chat_request() {
    let written = messages_to_chat(&messages().to_string(), &TARGET).expect("a translation");
    insta::assert_snapshot!(pretty(&written));
}

#[test]
fn a_message_becomes_a_chat_answer() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "Here", "citations": null},
            {"type": "text", "text": " goes."},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"z": 1, "a": 2}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 6, "output_tokens": 9},
    });
    let written = message_to_chat(&message.to_string(), &SHOWN).expect("a translation");
    insta::assert_snapshot!(pretty(&written));
}

#[test]
fn a_chat_answer_becomes_a_message() {
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "gpt-x",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "Here goes.", "refusal": null,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"z\":1}"}},
                {"id": "call_2", "type": "function", "function": {"name": "look", "arguments": "{oops"}},
            ]}}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 4}},
    });
    let written = chat_to_message(&answer.to_string(), &SHOWN).expect("a translation");
    insta::assert_snapshot!(pretty(&written));
}

#[test]
fn what_has_no_counterpart_is_refused_by_its_name() {
    let refused = |more: Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        match chat_to_messages(&body.to_string(), &TARGET) {
            Err(Untranslatable::Unsupported { feature }) => feature.to_string(),
            other => panic!("{body} gives {other:?}"),
        }
    };
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let features = [
        refused(json!({"n": 2})),
        refused(json!({"logprobs": true})),
        refused(json!({"frequency_penalty": 0.5})),
        refused(json!({"brand_new": 1})),
        refused(json!({"temperature": 1.5})),
        refused(json!({"response_format": {"type": "json_object"}})),
        refused(json!({"tools": [{"type": "custom", "custom": {}}]})),
        refused(json!({"tool_choice": {"type": "allowed_tools"}})),
        refused(user(json!([{"type": "input_audio", "input_audio": {}}]))),
        refused(user(
            json!([{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}]),
        )),
        refused(json!({"messages": [{"role": "user", "content": "x", "name": "bob"}]})),
        refused(json!({"messages": [{"role": "function", "content": "x"}]})),
        refused(json!({"messages": [
            {"role": "user", "content": "x"}, {"role": "system", "content": "y"}]})),
    ];
    insta::assert_snapshot!(features.join("\n"));
}

#[test]
fn what_chat_does_not_have_is_refused_by_its_name() {
    let refused = |more: Value| {
        let mut body = json!({"model": "m", "max_tokens": 5, "messages": []});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        match messages_to_chat(&body.to_string(), &TARGET) {
            Err(Untranslatable::Unsupported { feature }) => feature.to_string(),
            other => panic!("{body} gives {other:?}"),
        }
    };
    let user = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let features = [
        refused(json!({"top_k": 5})),
        refused(json!({"mcp_servers": []})),
        refused(json!({"stop_sequences": ["1", "2", "3", "4", "5"]})),
        refused(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})),
        refused(user(json!({"type": "document", "source": {}}))),
        refused(user(
            json!({"type": "image", "source": {"type": "file", "file_id": "f"}}),
        )),
        refused(user(json!({"type": "tool_result", "tool_use_id": "t",
            "content": [{"type": "image", "source": {}}]}))),
        refused(json!({"output_config": {"brand_new": 1}})),
    ];
    insta::assert_snapshot!(features.join("\n"));
}

#[test]
fn what_is_malformed_is_told_by_its_place() {
    let field = |body: &str| match chat_to_messages(body, &TARGET) {
        Err(Untranslatable::Malformed { field, .. }) => field.to_string(),
        other => panic!("{body} gives {other:?}"),
    };
    assert_eq!(field("[]"), "");
    assert_eq!(field("{}"), "messages");
    assert_eq!(
        field(r#"{"messages":[{"role":"user","content":[7]}]}"#),
        "messages[0].content[0]"
    );
    assert_eq!(
        field(
            r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":
            {"name":"f","arguments":"[]"}}]}]}"#
        ),
        "messages[0].tool_calls[0].function.arguments"
    );
}

#[test]
fn the_text_of_schemas_and_arguments_is_passed_on() {
    let schema = r#"{"z": {"b": 1.0}, "a": 12345678901234567890123}"#;
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"assistant","tool_calls":[{{"id":"1","function":
        {{"name":"f","arguments":{}}}}}]}}],
        "tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#,
        Value::from(schema)
    );
    let written = chat_to_messages(&body, &TARGET).expect("a translation");
    assert_eq!(written.matches(schema).count(), 2);
}

#[test]
fn a_limit_that_is_set_holds_over_the_request() {
    let set = Target {
        limit: Some(5),
        ..TARGET
    };
    let written = chat_to_messages(&chat().to_string(), &set).expect("a translation");
    assert!(written.contains("\"max_tokens\":5,"), "{written}");
    let written = messages_to_chat(&messages().to_string(), &set).expect("a translation");
    assert!(
        written.contains("\"max_completion_tokens\":5,"),
        "{written}"
    );
}

#[test]
fn an_error_has_the_form_of_the_other_side() {
    let openai = br#"{"error":{"message":"slow down","type":"rate_limit_exceeded","param":null}}"#;
    assert_eq!(
        error_for(Side::Anthropic, 429, openai),
        r#"{"error":{"message":"slow down","type":"rate_limit_error"},"type":"error"}"#
    );
    let anthropic = br#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    assert_eq!(
        error_for(Side::OpenAi, 529, anthropic),
        r#"{"error":{"code":null,"message":"busy","param":null,"type":"service_unavailable"}}"#
    );
    assert!(error_for(Side::OpenAi, 502, b"<html>").contains("the provider answered 502"));
}

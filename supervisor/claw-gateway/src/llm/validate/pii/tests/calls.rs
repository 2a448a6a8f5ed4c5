//! Personal data in what tools are called with, and in thought.

use super::*;

/// What tools are called with, in each interface, with an address and the number of a card.
fn calls() -> [(Api, &'static str, Value); 3] {
    let arguments = r#"{"to": "a@b.example", "card": 4111111111111111, "note": "plain"}"#;
    let chat = json!([{"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
        "function": {"name": "pay", "arguments": arguments}}]}]);
    let message = json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1",
        "name": "pay", "input": {"to": ["a@b.example"], "card": 4111111111111111_u64}}]}]);
    let response = json!([{"type": "function_call", "call_id": "call_1", "name": "pay",
        "arguments": arguments}]);
    [
        (Api::ChatCompletions, "messages", chat),
        (Api::Messages, "messages", message),
        (Api::Responses, "input", response),
    ]
}

#[test]
fn what_tools_were_called_with_is_redacted_in_prompts_and_stays_json() {
    for (api, field, turns) in calls() {
        let body = json!({field: turns}).to_string();
        let Checked::Redacted { text, found } = request(&filter(Action::Redact), api, &body) else {
            panic!("nothing was found in {body}");
        };
        assert_eq!(found.to_string(), "1 email, 1 card", "{api}");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        let turn = &body[field][0];
        let arguments = turn
            .pointer("/tool_calls/0/function/arguments")
            .or_else(|| turn.get("arguments"));
        let inner = match arguments.and_then(Value::as_str) {
            Some(arguments) => serde_json::from_str(arguments).expect("JSON"),
            None => turn["content"][0]["input"].clone(),
        };
        assert_eq!(inner["card"], "[CARD]", "{api}");
        assert!(inner["to"].to_string().contains("[EMAIL]"), "{inner}");
    }
}

#[test]
fn an_answer_is_blocked_for_what_it_calls_a_tool_with() {
    let [(_, _, chat), (_, _, message), (_, _, response)] = calls();
    for (api, body) in [
        (
            Api::ChatCompletions,
            json!({"choices": [{"message": chat[0]}]}),
        ),
        (Api::Messages, json!({"content": message[0]["content"]})),
        (Api::Responses, json!({"output": response})),
    ] {
        let body = body.to_string();
        let blocked = answer(&filter(Action::Block), api, &body);
        assert!(matches!(blocked, Checked::Blocked(_)), "{api}: {blocked:?}");
        let clean = answer(&filter(Action::Redact), api, &body);
        assert_eq!(
            clean,
            Checked::Clean,
            "{api}: the tool gets what was meant for it"
        );
        let kept = kept_answer(&filter(Action::Redact), api, &body);
        assert!(matches!(kept, Checked::Redacted { .. }), "{api}: {kept:?}");
    }
}

#[test]
fn thought_that_is_signed_is_redacted_only_where_it_is_kept() {
    let thought = |signature: Value| {
        let block = json!({"type": "thinking", "thinking": "to a@b.example", "x": 1});
        let mut body = json!({"messages": [{"role": "assistant", "content": [block]}]});
        if !signature.is_null() {
            body["messages"][0]["content"][0]["signature"] = signature;
        }
        body.to_string()
    };
    let redact = filter(Action::Redact);
    let sent = |body: &str| request(&redact, Api::Messages, body);
    assert_eq!(sent(&thought(json!("abc"))), Checked::Clean);
    assert!(matches!(
        sent(&thought(Value::Null)),
        Checked::Redacted { .. }
    ));
    let kept = kept_request(&redact, Api::Messages, &thought(json!("abc")));
    assert!(matches!(kept, Checked::Redacted { .. }), "{kept:?}");
}

#[test]
fn what_a_tool_is_called_with_in_a_stream_is_looked_at_and_redacted_only_where_it_is_kept() {
    let pieces = [r#"{"to":"a@b.exa"#, r#"mple"}"#];
    for api in STREAMS {
        let mut frames = Vec::new();
        for piece in pieces {
            let data = match api {
                Api::ChatCompletions | Api::Embeddings => json!({"choices": [{"index": 0, "delta":
                    {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}),
                Api::Messages => json!({"type": "content_block_delta", "index": 1, "delta":
                    {"type": "input_json_delta", "partial_json": piece}}),
                Api::Responses => json!({"type": "response.function_call_arguments.delta",
                    "item_id": "i", "delta": piece}),
            };
            let kind = data["type"].as_str().unwrap_or_default();
            frames.push(Frame::new(kind, &data.to_string()));
        }
        let passed = filtered(api, Action::Redact, &frames);
        assert_eq!(passed.as_ref(), Ok(&frames), "{api}");
        let blocked = filtered(api, Action::Block, &frames);
        assert!(matches!(blocked, Err(Stop::Found(_))), "{api}: {blocked:?}");
        let mut filter = PiiFrames::kept(filter(Action::Redact), api);
        let mut kept = Vec::new();
        for frame in &frames {
            kept.extend(filter.frame(frame).expect("it passes"));
        }
        kept.extend(filter.finish().expect("it passes").0);
        let arguments: String = kept
            .iter()
            .map(|frame| {
                let data: Value = serde_json::from_str(&frame.data()).expect("JSON");
                let pointers = [
                    "/choices/0/delta/tool_calls/0/function/arguments",
                    "/delta/partial_json",
                    "/delta",
                ];
                let piece = pointers
                    .iter()
                    .find_map(|pointer| data.pointer(pointer)?.as_str());
                piece.unwrap_or_default().to_owned()
            })
            .collect();
        assert_eq!(arguments, r#"{"to":"[EMAIL]"}"#, "{api}");
    }
}

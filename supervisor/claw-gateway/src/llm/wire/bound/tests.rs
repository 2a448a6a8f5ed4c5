use serde_json::{Value, json};

use super::*;
use crate::llm::wire::{BadRequest, ChatLimit, Delivery, Upstream, UsageChunk};

const LIMITS: Limits = Limits {
    answer: Some(4_000),
    context: Some(100_000),
    image: Some(1_600),
    default_answer: None,
    searches: 0,
};

fn read(api: Api, body: &Value) -> Result<Request, BadRequest> {
    Request::read(api, body.to_string().into_bytes())
}

fn chat(more: &Value) -> Request {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    read(Api::ChatCompletions, &body).expect("a request")
}

fn bound(request: &Request) -> Result<Bound, Boundless> {
    request.bound(&LIMITS)
}

#[test]
fn text_is_at_most_a_token_for_each_byte_and_frames_are_allowed_for() {
    let request = chat(&json!({"messages": [
        {"role": "system", "content": "é\n"},
        {"role": "user", "content": [{"type": "text", "text": "four"}]},
    ]}));
    // The role's words, the parts' types and their quotes are counted too.
    let words = "\"system\"".len() + "\"user\"".len() + "\"text\"".len();
    let text = "é\n".len() + "four".len();
    let expected = (words + text) as u64 + 2 * MESSAGE_TOKENS + PROMPT_TOKENS;
    assert_eq!(bound(&request).expect("a bound").prompt_tokens, expected);
}

#[test]
fn every_byte_of_tools_and_schemas_counts() {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {}}});
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}});
    let plain = bound(&chat(&json!({}))).expect("a bound");
    let request = chat(&json!({"tools": [tool], "response_format": schema}));
    let more = (tool.to_string().len() + schema.to_string().len()) as u64;
    assert_eq!(
        bound(&request).expect("a bound").prompt_tokens,
        plain.prompt_tokens + more + MESSAGE_TOKENS + 2 * TOOLS_TOKENS
    );
    assert_eq!(request.schema.as_deref(), Some("{\"a\":1}"));
}

#[test]
fn a_tool_that_the_provider_describes_has_its_description_allowed_for() {
    let body = json!({"model": "m", "max_tokens": 5, "messages": [],
        "tools": [{"type": "computer_20250124", "name": "computer"}]});
    let request = read(Api::Messages, &body).expect("a request");
    let prompt = bound(&request).expect("a bound").prompt_tokens;
    // The tool with its instructions, and the most of those for tools.
    assert!(prompt >= 735 + 499 + 804, "{prompt}");
}

#[test]
fn images_have_their_own_bound_and_not_their_bytes() {
    let url = format!("data:image/png;base64,{}", "A".repeat(50_000));
    let request = chat(&json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}},
    ]}]}));
    let prompt = bound(&request).expect("a bound").prompt_tokens;
    assert!((1_600..1_800).contains(&prompt), "{prompt}");
    let unknown = Limits {
        image: None,
        ..LIMITS
    };
    assert_eq!(
        request.bound(&unknown).expect("a bound").prompt_tokens,
        100_000
    );
    let nothing = Limits {
        context: None,
        ..unknown
    };
    assert_eq!(request.bound(&nothing), Err(Boundless::Images));
}

#[test]
fn content_without_a_size_takes_the_context() {
    let bodies = [
        (
            Api::Responses,
            json!({"model": "m", "previous_response_id": "r"}),
        ),
        (
            Api::Responses,
            json!({"model": "m", "input": "x", "conversation": "c"}),
        ),
        (
            Api::Responses,
            json!({"model": "m", "input": [{"type": "item_reference", "id": "i"}]}),
        ),
        (
            Api::Responses,
            json!({"model": "m", "input": [{"role": "user", "content":
            [{"type": "input_file", "file_url": "https://x.example"}]}]}),
        ),
        (
            Api::ChatCompletions,
            json!({"model": "m", "messages": [{"role": "user", "content":
            [{"type": "hologram", "of": "me"}]}]}),
        ),
        (
            Api::Messages,
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user",
            "content": [{"type": "document", "source": {"type": "url", "url": "https://x"}}]}]}),
        ),
        (
            Api::Messages,
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content":
                [{"type": "document", "source": {"type": "base64", "data": ""}}]}]}]}),
        ),
    ];
    for (api, body) in bodies {
        let request = read(api, &body).expect("a request");
        assert_eq!(
            bound(&request).expect("a bound").prompt_tokens,
            100_000,
            "{body}"
        );
        let nothing = Limits {
            context: None,
            ..LIMITS
        };
        assert!(
            matches!(request.bound(&nothing), Err(Boundless::Content(_))),
            "{body}"
        );
    }
}

#[test]
fn searches_need_a_cap_and_take_the_context_in_each_round() {
    let searching = |tool: Value, cap: Value| {
        let body = json!({"model": "m", "input": "x", "tools": [tool], "max_tool_calls": cap});
        bound(&read(Api::Responses, &body).expect("a request"))
    };
    let capped = searching(json!({"type": "web_search"}), json!(3)).expect("a bound");
    assert_eq!((capped.searches, capped.prompt_tokens), (3, 400_000));
    assert_eq!(
        searching(json!({"type": "web_search"}), Value::Null),
        Err(Boundless::Searches)
    );
    assert_eq!(
        searching(json!({"type": "code_interpreter"}), json!(3)),
        Err(Boundless::Tool {
            kind: "code_interpreter".into()
        })
    );
    let body = json!({"model": "m", "max_tokens": 5, "messages": [],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]});
    let request = read(Api::Messages, &body).expect("a request");
    assert_eq!(bound(&request).expect("a bound").searches, 2);
}

#[test]
fn fetches_need_a_cap_and_take_the_context_in_each_round() {
    let fetching = |caps: &[Option<u64>]| {
        let mut tools = vec![json!({"type": "web_search_20250305", "name": "s", "max_uses": 2})];
        for cap in caps {
            tools.push(json!({"type": "web_fetch_20250910", "name": "f", "max_uses": cap}));
        }
        let body = json!({"model": "m", "max_tokens": 5, "messages": [], "tools": tools});
        bound(&read(Api::Messages, &body).expect("a request"))
    };
    let capped = fetching(&[Some(4)]).expect("a bound");
    assert_eq!((capped.searches, capped.prompt_tokens), (2, 700_000));
    assert_eq!(fetching(&[Some(4), None]), Err(Boundless::Searches));
}

#[test]
fn a_cap_of_another_interface_is_none() {
    let tool = json!({"type": "web_search", "max_uses": 1});
    let responses = json!({"model": "m", "input": "x", "tools": [tool]});
    let chat = json!({"model": "m", "messages": [], "tools": [tool], "max_tool_calls": 1});
    let messages = json!({"model": "m", "messages": [], "max_tokens": 5, "max_tool_calls": 1,
        "tools": [{"type": "web_search_20250305", "name": "s"}]});
    for (api, body) in [
        (Api::Responses, responses),
        (Api::ChatCompletions, chat),
        (Api::Messages, messages),
    ] {
        let request = read(api, &body).expect("a request");
        assert_eq!(bound(&request), Err(Boundless::Searches), "{body}");
    }
}

#[test]
fn the_answer_is_bounded_by_the_least_that_holds() {
    let answer = |more: Value, limits: Limits| {
        chat(&more)
            .bound(&limits)
            .map(|bound| (bound.answer_tokens, bound.limit_to_send))
    };
    assert_eq!(answer(json!({}), LIMITS), Ok((4_000, None)));
    assert_eq!(
        answer(json!({"max_tokens": 10, "n": 3}), LIMITS),
        Ok((30, None))
    );
    assert_eq!(
        answer(
            json!({"max_tokens": 10, "max_completion_tokens": 20}),
            LIMITS
        ),
        Ok((20, None))
    );
    assert_eq!(
        answer(json!({"max_tokens": 9_000}), LIMITS),
        Ok((4_000, None))
    );
    let capped = Limits {
        default_answer: Some(500),
        ..LIMITS
    };
    assert_eq!(answer(json!({}), capped), Ok((500, Some(500))));
    assert_eq!(answer(json!({"max_tokens": 900}), capped), Ok((900, None)));
    let unknown = Limits {
        answer: None,
        ..LIMITS
    };
    assert_eq!(answer(json!({}), unknown), Err(Boundless::Answer));
}

#[test]
fn an_embedding_has_no_answer() {
    for input in [
        json!("text"),
        json!(["a", "b"]),
        json!([1, 2]),
        json!([[1], [2, 3]]),
    ] {
        let request = read(Api::Embeddings, &json!({"model": "m", "input": input}));
        let bound = request.expect("a request").bound(&Limits::default());
        let bound = bound.expect("a bound");
        assert_eq!(bound.answer_tokens, 0);
        assert!(bound.prompt_tokens > PROMPT_TOKENS, "{input}");
    }
}

#[test]
fn an_estimate_is_never_more_than_the_bound() {
    assert_eq!(estimate(0, 10), 0);
    assert_eq!(estimate(5, 10), 2);
    assert_eq!(estimate(u64::MAX, 10), 10);
}

#[test]
fn a_bad_body_is_told_by_its_field() {
    let field = |api, body: &str| {
        let error = Request::read(api, body.as_bytes().to_vec()).expect_err("a bad request");
        error.field().map(str::to_owned)
    };
    let chat = [
        (r#"[]"#, None),
        (r#"{"messages":[]}"#, Some("model")),
        (r#"{"model":7,"messages":[]}"#, Some("model")),
        (r#"{"model":"","messages":[]}"#, Some("model")),
        (r#"{"model":"m"}"#, Some("messages")),
        (r#"{"model":"m","messages":[7]}"#, Some("messages[0]")),
        (
            r#"{"model":"m","messages":[{"content":[{}]}]}"#,
            Some("messages[0].content[0].type"),
        ),
        (
            r#"{"model":"m","messages":[{"content":"\ud800"}]}"#,
            Some("messages[0].content"),
        ),
        (
            r#"{"model":"m","messages":[{"a":1,"a":2}]}"#,
            Some("messages[0].a"),
        ),
        (
            r#"{"model":"m","messages":[],"max_tokens":-1}"#,
            Some("max_tokens"),
        ),
        (
            r#"{"model":"m","messages":[],"max_tokens":1,"max_tokens":2}"#,
            Some("max_tokens"),
        ),
        (r#"{"model":"m","messages":[],"n":0}"#, Some("n")),
        (r#"{"model":"m","messages":[],"n":1e3}"#, Some("n")),
        (r#"{"model":"m","messages":[],"stream":1}"#, Some("stream")),
        (
            r#"{"model":"m","messages":[],"stream":true,"stream_options":1}"#,
            Some("stream_options"),
        ),
        (
            r#"{"model":"m","messages":[],"modalities":["text","audio"]}"#,
            Some("modalities"),
        ),
    ];
    for (body, expected) in chat {
        assert_eq!(
            field(Api::ChatCompletions, body).as_deref(),
            expected,
            "{body}"
        );
    }
    assert_eq!(
        field(Api::Messages, r#"{"model":"m","messages":[]}"#).as_deref(),
        Some("max_tokens")
    );
    assert_eq!(
        field(
            Api::Responses,
            r#"{"model":"m","input":"x","background":true}"#
        )
        .as_deref(),
        Some("background")
    );
}

#[test]
fn a_request_goes_on_with_nothing_changed_but_what_must_be() {
    let body = "{ \"model\":\"alias\", \"x-new\" : 1.0e0, \"stream\":true,\n\"messages\":[] }";
    let request = Request::read(Api::ChatCompletions, body.as_bytes().to_vec()).expect("a request");
    assert_eq!(request.delivery, Delivery::Stream(UsageChunk::Unwanted));
    let upstream = Upstream {
        model: "id/1",
        limit: Some(9),
        chat_limit: ChatLimit::MaxTokens,
    };
    assert_eq!(
        request.for_upstream(&upstream),
        "{ \"model\":\"id/1\", \"x-new\" : 1.0e0, \"stream\":true,\n\"messages\":[],\
         \"max_tokens\":9,\"stream_options\":{\"include_usage\":true} }"
    );
}

#[test]
fn the_limit_in_force_stands_under_the_name_that_the_provider_reads() {
    let written = |api, body: &Value, limit, chat_limit| {
        let request = read(api, body).expect("a request");
        let upstream = Upstream {
            model: "id",
            limit,
            chat_limit,
        };
        serde_json::from_str::<Value>(&request.for_upstream(&upstream)).expect("JSON")
    };
    let chat = |limits: Value| {
        let mut body = json!({"model": "id", "messages": []});
        for (field, limit) in limits.as_object().expect("an object") {
            body[field] = limit.clone();
        }
        body
    };
    let older = chat(json!({"max_tokens": 50}));
    let newer = chat(json!({"max_completion_tokens": 50}));
    let both = chat(json!({"max_tokens": 50, "max_completion_tokens": 40}));
    for (name, chat_limit) in [
        ("max_tokens", ChatLimit::MaxTokens),
        ("max_completion_tokens", ChatLimit::MaxCompletionTokens),
    ] {
        for body in [&older, &newer, &both] {
            let own = |limit| written(Api::ChatCompletions, body, limit, chat_limit);
            assert_eq!(own(None), chat(json!({name: 50})), "{body}");
            assert_eq!(own(Some(9)), chat(json!({name: 9})), "{body}");
        }
    }
    let responses = json!({"model": "m", "input": "x"});
    let sent = written(Api::Responses, &responses, Some(9), ChatLimit::MaxTokens);
    assert_eq!(sent["max_output_tokens"], 9);
}

#[test]
fn other_options_of_a_stream_stay_when_usage_is_asked_for() {
    let request = chat(&json!({"stream": true,
        "stream_options": {"include_obfuscation": false, "include_usage": null}}));
    let upstream = Upstream {
        model: "m",
        limit: None,
        chat_limit: ChatLimit::MaxTokens,
    };
    let sent: Value = serde_json::from_str(&request.for_upstream(&upstream)).expect("JSON");
    assert_eq!(
        sent["stream_options"],
        json!({"include_obfuscation": false, "include_usage": true})
    );
}

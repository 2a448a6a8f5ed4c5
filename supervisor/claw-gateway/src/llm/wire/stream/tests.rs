use serde_json::json;

use super::*;
use crate::llm::money::Money;
use crate::llm::wire::{
    Answer, Cut, Frames, UsageChunk, alias_model, alias_model_in_frame, ending, with_cost,
};

const CHAT: &str = r#"data: {"id":"c1","created":5,"model":"gpt-x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"id":"c1","created":5,"model":"gpt-x","choices":[{"index":0,"delta":{"content":"Hällo"},"finish_reason":null}]}

: keep-alive

data: {"id":"c1","created":5,"model":"gpt-x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call","function":{"name":"f","arguments":"{}"}}]},"finish_reason":null}]}

data: {"id":"c1","created":5,"model":"gpt-x","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"c1","created":5,"model":"gpt-x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}

data: [DONE]

"#;

const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"m1","model":"claude-x","content":[],"usage":{"input_tokens":7,"cache_read_input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":12}}

event: message_stop
data: {"type":"message_stop"}

"#;

const RESPONSES: &str = r#"event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"r1","created_at":5,"model":"gpt-x","status":"in_progress","usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"i","delta":"Hello"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":2,"item":{"type":"web_search_call","id":"w"}}

event: response.completed
data: {"type":"response.completed","sequence_number":3,"response":{"id":"r1","model":"gpt-x","status":"completed","usage":{"input_tokens":9,"output_tokens":4,"output_tokens_details":{"reasoning_tokens":1}}}}

"#;

fn frames(text: &str) -> Vec<Frame> {
    let mut frames = Frames::default();
    frames.push(text.as_bytes());
    std::iter::from_fn(|| frames.next_frame().expect("short frames")).collect()
}

fn reading(api: Api, frames: &[Frame]) -> (StreamReading, Vec<Content>) {
    let mut reading = StreamReading::new(api);
    let contents = frames.iter().map(|frame| reading.frame(frame)).collect();
    (reading, contents)
}

fn cut(usage: Usage) -> Cut<'static> {
    Cut {
        reason: "budget",
        model: Some("alias"),
        usage,
        usage_chunk: UsageChunk::Wanted,
    }
}

#[test]
fn a_stream_of_chat_is_read() {
    let (reading, contents) = reading(Api::ChatCompletions, &frames(CHAT));
    assert_eq!(
        contents,
        [
            Content::Other,
            Content::Delta,
            Content::Other,
            Content::Delta,
            Content::Other,
            Content::UsageAlone,
            Content::End
        ]
    );
    assert_eq!(
        reading.text_bytes,
        "Hällo".len() as u64 + "f{}".len() as u64
    );
    assert_eq!(reading.deltas, 2);
    assert_eq!(reading.finish, Some(Finish::ToolCalls));
    assert_eq!(reading.ended, Ended::Properly);
    assert_eq!(reading.model.as_deref(), Some("gpt-x"));
    assert_eq!(
        reading.told,
        Told::Whole(Usage {
            input: 9,
            output: 4,
            ..Usage::default()
        })
    );
}

#[test]
fn the_last_numbers_of_a_stream_of_messages_hold() {
    let frames = frames(MESSAGES);
    let (started, _) = reading(Api::Messages, &frames[..1]);
    let mut usage = Usage {
        input: 7,
        cache_read: 3,
        output: 1,
        ..Usage::default()
    };
    assert_eq!(started.told, Told::SoFar(usage));
    let (ended, _) = reading(Api::Messages, &frames);
    usage.output = 12;
    assert_eq!(ended.told, Told::Whole(usage));
    assert_eq!(ended.text_bytes, 5);
    assert_eq!(
        (ended.finish, ended.ended),
        (Some(Finish::Stop), Ended::Properly)
    );
}

#[test]
fn totals_of_a_stream_of_messages_do_not_fall() {
    let usages = |first: serde_json::Value, last: serde_json::Value| {
        let start = json!({"type": "message_start", "message": {"usage": first}});
        let end = json!({"type": "message_delta", "delta": {}, "usage": last});
        let (reading, _) = reading(
            Api::Messages,
            &frames(&format!("data: {start}\n\ndata: {end}\n\n")),
        );
        reading.told
    };
    assert_eq!(
        usages(
            json!({"input_tokens": 9000, "cache_read_input_tokens": 5, "output_tokens": 1,
                   "server_tool_use": {"web_search_requests": 2}}),
            json!({"input_tokens": 0, "cache_read_input_tokens": null, "output_tokens": 7,
                   "server_tool_use": {"web_search_requests": 0}}),
        ),
        Told::Whole(Usage {
            input: 9000,
            cache_read: 5,
            output: 7,
            searches: 2,
            ..Usage::default()
        })
    );
    let zero = json!({"input_tokens": 0, "output_tokens": 0});
    for placeholder in [0, 1] {
        let first = json!({"input_tokens": 0, "output_tokens": placeholder});
        assert_eq!(
            usages(first, zero.clone()),
            Told::Whole(Usage::default()),
            "an explicit zero is a zero"
        );
    }
    let wrong = usages(
        json!({"input_tokens": 5, "output_tokens": 1}),
        json!({"output_tokens": -1}),
    );
    assert!(matches!(wrong, Told::SoFar(_)), "{wrong:?}");
}

#[test]
fn a_long_part_of_an_answer_is_more_than_one_token() {
    let part = |text: &str| {
        let data = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
        reading(Api::ChatCompletions, &frames(&format!("data: {data}\n\n")))
            .0
            .answer_tokens()
    };
    assert_eq!(part("a"), 1);
    assert_eq!(part(&"word ".repeat(800)), 500);
}

#[test]
fn searches_of_a_stream_of_responses_are_counted() {
    let (reading, _) = reading(Api::Responses, &frames(RESPONSES));
    assert_eq!(
        reading.told,
        Told::Whole(Usage {
            input: 9,
            output: 3,
            reasoning: 1,
            searches: 1,
            ..Usage::default()
        })
    );
    assert_eq!((reading.text_bytes, reading.ended), (5, Ended::Properly));
}

#[test]
fn an_error_in_a_stream_is_its_end() {
    let chat = r#"data: {"error":{"type":"server_error","message":"gone"}}"#;
    let messages = r#"data: {"type":"error","error":{"type":"overloaded_error","message":"gone"}}"#;
    let responses = r#"data: {"type":"error","code":"server_error","message":"gone"}"#;
    for (api, text) in [
        (Api::ChatCompletions, chat),
        (Api::Messages, messages),
        (Api::Responses, responses),
    ] {
        let (reading, contents) = reading(api, &frames(&format!("{text}\n\n")));
        assert_eq!(contents, [Content::Error]);
        let Ended::Failed { message, kind } = reading.ended else {
            panic!("{text} is an error");
        };
        assert_eq!(message, "gone");
        assert!(!kind.is_empty(), "{text}");
    }
}

#[test]
fn a_stream_that_is_cut_ends_as_its_interface_says() {
    for (api, text, kept) in [
        (Api::ChatCompletions, CHAT, 2),
        (Api::Messages, MESSAGES, 4),
        (Api::Responses, RESPONSES, 2),
    ] {
        let frames = &frames(text)[..kept];
        let (cut_off, _) = reading(api, frames);
        assert_eq!(cut_off.ended, Ended::Open);
        let usage = Usage {
            input: 7,
            cache_read: 3,
            output: 2,
            ..Usage::default()
        };
        let ends = ending(&cut_off, &cut(usage));
        let whole: Vec<Frame> = frames.iter().chain(&ends).cloned().collect();
        let (ended, _) = reading(api, &whole);
        assert_eq!(ended.ended, Ended::Properly, "{api}");
        assert_eq!(ended.finish, Some(Finish::Length), "{api}");
        assert_eq!(ended.told, Told::Whole(usage), "{api}");
        assert!(
            ends.iter()
                .any(|frame| frame.data().contains(r#""openclaw":{"reason":"budget"}"#)),
            "{api}"
        );
    }
}

#[test]
fn an_open_block_is_closed_before_a_message_ends() {
    let (open, _) = reading(Api::Messages, &frames(MESSAGES)[..4]);
    let names = |reading: &StreamReading| {
        ending(reading, &cut(Usage::default()))
            .iter()
            .map(|frame| frame.event().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&open),
        ["content_block_stop", "message_delta", "message_stop"]
    );
    let (closed, _) = reading(Api::Messages, &frames(MESSAGES)[..5]);
    assert_eq!(names(&closed), ["message_delta", "message_stop"]);
}

#[test]
fn a_stream_of_which_nothing_was_shown_begins_before_it_ends() {
    let shown = |api| {
        let frames = ending(&StreamReading::new(api), &cut(Usage::default()));
        reading(api, &frames).0
    };
    let message = shown(Api::Messages);
    assert_eq!(
        (message.begun, message.ended),
        (Begun::Yes, Ended::Properly)
    );
    let chat = shown(Api::ChatCompletions);
    assert_eq!(
        (chat.finish, chat.ended),
        (Some(Finish::Length), Ended::Properly)
    );
}

#[test]
fn the_model_has_its_alias_everywhere() {
    for (api, text) in [
        (Api::ChatCompletions, CHAT),
        (Api::Messages, MESSAGES),
        (Api::Responses, RESPONSES),
    ] {
        let renamed: Vec<Frame> = frames(text)
            .into_iter()
            .map(|frame| alias_model_in_frame(api, &frame, "alias").unwrap_or(frame))
            .collect();
        let (reading, _) = reading(api, &renamed);
        assert_eq!(reading.model.as_deref(), Some("alias"), "{api}");
        for frame in renamed {
            assert!(!frame.data().contains("gpt-x") && !frame.data().contains("claude-x"));
        }
    }
    for (data, expected) in [
        (
            r#"{"id":1, "model" : "x","a":2}"#,
            r#"{"id":1, "model" : "y","a":2}"#,
        ),
        (r#"{"model":"y"}"#, r#"{"model":"y"}"#),
        (
            r#"{"model":"x","model":"z"}"#,
            r#"{"model":"x","model":"z"}"#,
        ),
        ("{\"model\":\n\"x\"}", "{\"model\":\n\"y\"}"),
    ] {
        let frame = Frame::new("", data);
        let frame = alias_model_in_frame(Api::ChatCompletions, &frame, "y").unwrap_or(frame);
        assert_eq!(frame.data(), expected);
    }
    assert_eq!(
        alias_model(r#"{"a":1, "model":"x"}"#, "y"),
        r#"{"a":1, "model":"y"}"#
    );
    assert_eq!(alias_model("oops", "y"), "oops");
}

#[test]
fn the_cost_stands_in_the_usage() {
    let cost: Money = "0.0125".parse().expect("an amount");
    assert_eq!(
        with_cost(r#"{"id":1,"usage":{"a":2}}"#, cost).as_deref(),
        Some(r#"{"id":1,"usage":{"a":2,"cost_usd":0.0125}}"#)
    );
    assert_eq!(
        with_cost(r#"{"response":{"usage":{}}}"#, cost).as_deref(),
        Some(r#"{"response":{"usage":{"cost_usd":0.0125}}}"#)
    );
    assert_eq!(with_cost(r#"{"usage":null}"#, cost), None);
}

#[test]
fn an_answer_in_one_piece_is_read() {
    let chat = json!({"model": "gpt-x", "choices": [{"message": {"role": "assistant",
        "content": "Hello"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4}});
    let answer = Answer::read(Api::ChatCompletions, chat.to_string().as_bytes());
    assert_eq!(answer.text, "Hello");
    assert_eq!(answer.text_bytes, 5);
    assert_eq!(answer.finish, Some(Finish::Length));
    assert_eq!(answer.usage.map(|usage| usage.answer()), Some(4));

    let response = json!({"model": "gpt-x", "status": "completed", "output": [
        {"type": "web_search_call", "id": "w", "status": "completed"},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
        "usage": {"input_tokens": 9, "output_tokens": 4}});
    let answer = Answer::read(Api::Responses, response.to_string().as_bytes());
    assert_eq!((answer.text.as_str(), answer.text_bytes), ("Hello", 5));
    assert_eq!(answer.usage.map(|usage| usage.searches), Some(1));

    assert_eq!(Answer::read(Api::Messages, b"<html>"), Answer::default());
}

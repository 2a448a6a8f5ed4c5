use super::super::*;
use super::SHOWN;
use crate::llm::wire::{
    Api, Content, Ended, Finish, Frame, Frames, StreamReading, Told, UsageChunk,
};

const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","model":"claude-x","content":[],"usage":{"input_tokens":7,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hello"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":": 1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"wait","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":12}}

event: message_stop
data: {"type":"message_stop"}

"#;

fn frames(text: &str) -> Vec<Frame> {
    let mut frames = Frames::default();
    frames.push(text.as_bytes());
    std::iter::from_fn(|| frames.next_frame().expect("short frames")).collect()
}

fn text(frames: &[Frame]) -> String {
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|frame| frame.bytes().to_vec())
        .collect();
    String::from_utf8(bytes).expect("text")
}

fn to_chat(frames: &[Frame], usage: UsageChunk) -> Vec<Frame> {
    let mut translation = MessagesToChat::new(&SHOWN, usage);
    frames
        .iter()
        .flat_map(|frame| translation.frame(frame))
        .collect()
}

fn to_messages(frames: &[Frame]) -> Vec<Frame> {
    let mut translation = ChatToMessages::new(&SHOWN);
    frames
        .iter()
        .flat_map(|frame| translation.frame(frame))
        .collect()
}

fn reading(api: Api, frames: &[Frame]) -> StreamReading {
    let mut reading = StreamReading::new(api);
    for frame in frames {
        reading.frame(frame);
    }
    reading
}

#[test]
fn a_stream_of_messages_becomes_chunks() {
    insta::assert_snapshot!(text(&to_chat(&frames(MESSAGES), UsageChunk::Wanted)));
}

#[test]
fn chunks_become_a_stream_of_messages() {
    let chat = to_chat(&frames(MESSAGES), UsageChunk::Wanted);
    insta::assert_snapshot!(text(&to_messages(&chat)));
}

#[test]
fn a_stream_tells_the_same_on_both_sides() {
    let original = frames(MESSAGES);
    let chat = to_chat(&original, UsageChunk::Wanted);
    let messages = to_messages(&chat);
    let expected = reading(Api::Messages, &original).told;
    let (chat, messages) = (
        reading(Api::ChatCompletions, &chat),
        reading(Api::Messages, &messages),
    );
    for reading in [&chat, &messages] {
        assert_eq!(reading.ended, Ended::Properly);
        assert_eq!(reading.finish, Some(Finish::ToolCalls));
        assert_eq!(reading.told, expected);
        assert_eq!(reading.model.as_deref(), Some("alias"));
    }
}

#[test]
fn usage_is_told_only_where_it_is_wanted() {
    let frames = to_chat(&frames(MESSAGES), UsageChunk::Unwanted);
    let mut reading = StreamReading::new(Api::ChatCompletions);
    for frame in &frames {
        assert_ne!(reading.frame(frame), Content::UsageAlone);
    }
    assert_eq!(
        (reading.told, reading.ended),
        (Told::Nothing, Ended::Properly)
    );
}

#[test]
fn an_error_ends_a_stream_on_the_other_side_too() {
    let error = "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    let mut begun = frames(MESSAGES);
    begun.truncate(6);
    begun.extend(frames(error));
    let chat = to_chat(&begun, UsageChunk::Wanted);
    assert!(matches!(
        reading(Api::ChatCompletions, &chat).ended,
        Ended::Failed { message, .. } if message == "busy"
    ));
    let messages = to_messages(&chat);
    assert!(matches!(
        reading(Api::Messages, &messages).ended,
        Ended::Failed { message, .. } if message == "busy"
    ));
}

#[test]
fn calls_that_are_mixed_end_the_stream_with_an_error() {
    let call = |index: u64| {
        let data = serde_json::json!({"choices": [{"index": 0, "delta": {"tool_calls": [
            {"index": index, "id": "c", "function": {"name": "f", "arguments": "{"}}]}}]});
        Frame::new("", &data.to_string())
    };
    let messages = to_messages(&[call(0), call(1), call(0), call(1)]);
    let reading = reading(Api::Messages, &messages);
    assert!(matches!(reading.ended, Ended::Failed { .. }), "{reading:?}");
    let last = messages.last().expect("frames");
    assert_eq!(last.event(), "error");
}

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::llm::wire::{Answer, Api, Frame};

mod calls;

fn filter(action: Action) -> PiiFilter {
    PiiFilter {
        kinds: Kind::ALL.into_iter().collect(),
        action,
    }
}

fn redacted(text: &str) -> String {
    match filter(Action::Redact).check(text) {
        Checked::Redacted { text, .. } => text,
        Checked::Clean => text.to_owned(),
        other @ (Checked::Warned(_) | Checked::Blocked(_) | Checked::Unreadable) => {
            panic!("{text} is {other:?}")
        }
    }
}

#[test]
fn personal_data_is_replaced_by_its_kind() {
    for (text, expected) in [
        ("write to jane.doe+x@mail.example.com.", "write to [EMAIL]."),
        ("<müller@example.org>", "<[EMAIL]>"),
        ("mailto:a@b.co", "mailto:[EMAIL]"),
        ("SSN 078-05-1120!", "SSN [SSN]!"),
        (
            "my social security number is 078051120",
            "my social security number is [SSN]",
        ),
        ("card 4111 1111 1111 1111, 12/30", "card [CARD], 12/30"),
        ("4111-1111-1111-1111 2030", "[CARD] 2030"),
        ("amex 378282246310005", "amex [CARD]"),
        (
            "IBAN GB82 WEST 1234 5698 7654 32 AND MORE",
            "IBAN [IBAN] AND MORE",
        ),
        ("DE89370400440532013000", "[IBAN]"),
        ("call (212) 555-2187 now", "call [PHONE] now"),
        ("212-555-2187", "[PHONE]"),
        ("+49 (30) 901820", "[PHONE]"),
        ("my phone: 2125552187", "my phone: [PHONE]"),
    ] {
        assert_eq!(redacted(text), expected);
    }
}

#[test]
fn what_only_looks_like_it_stays() {
    for text in [
        "4111 1111 1111 1112",
        "000-12-3456 and 666-12-3456 and 078-00-1120",
        "order 078051120",
        "GB83 WEST 1234 5698 7654 32",
        "2125552187 tokens",
        "1700000000000",
        "version 3.4111111111111111",
        "@someone and a@b and user@localhost",
        "550e8400-e29b-41d4-a716-446655440000",
        "2026-11-22 02:25:32",
        "x4111111111111111",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn an_action_is_taken_and_what_was_found_is_counted() {
    let text = "a@b.example and c@d.example, 4111 1111 1111 1111";
    let Checked::Blocked(found) = filter(Action::Block).check(text) else {
        panic!("it passes");
    };
    assert_eq!(found.to_string(), "2 email, 1 card");
    assert_eq!(filter(Action::Warn).check(text), Checked::Warned(found));
    assert_eq!(filter(Action::Block).check("nothing"), Checked::Clean);
    let only_cards = PiiFilter {
        kinds: [Kind::Card].into(),
        action: Action::Block,
    };
    assert_eq!(only_cards.check("a@b.example"), Checked::Clean);
}

#[test]
fn the_texts_of_a_request_are_looked_at_and_nothing_else() {
    let body = r#"{"model":"a@b.example", "messages":[ {"role":"user","content":"I am a@b.example"},
        {"role":"user","content":[{"type":"text","text":"and c@d.example"},
        {"type":"image_url","image_url":{"url":"https://x@y.example/"}}]}],"user":"u@v.example"}"#;
    let Checked::Redacted { text, found } =
        request(&filter(Action::Redact), Api::ChatCompletions, body)
    else {
        panic!("nothing was found");
    };
    assert_eq!(
        text,
        r#"{"model":"a@b.example", "messages":[{"role":"user","content":"I am [EMAIL]"},{"role":"user","content":[{"type":"text","text":"and [EMAIL]"},{"type":"image_url","image_url":{"url":"https://x@y.example/"}}]}],"user":"u@v.example"}"#
    );
    assert_eq!(found.to_string(), "2 email");
    let embedding = r#"{"input":["x","a@b.example"]}"#;
    let Checked::Redacted { text, .. } =
        request(&filter(Action::Redact), Api::Embeddings, embedding)
    else {
        panic!("nothing was found");
    };
    assert_eq!(text, r#"{"input":["x","[EMAIL]"]}"#);
}

#[test]
fn the_texts_of_an_answer_are_looked_at_and_its_calls_are_not() {
    let chat = json!({"choices": [{"message": {"content": "a@b.example", "tool_calls": [
        {"function": {"arguments": "{\"to\":\"a@b.example\"}"}}]}}]});
    let message = json!({"content": [{"type": "text", "text": "a@b.example"}]});
    let response = json!({"output": [{"type": "message", "content":
        [{"type": "output_text", "text": "a@b.example"}]}]});
    for (api, body) in [
        (Api::ChatCompletions, chat),
        (Api::Messages, message),
        (Api::Responses, response),
    ] {
        let Checked::Redacted { text, found } =
            answer(&filter(Action::Redact), api, &body.to_string())
        else {
            panic!("nothing was found in {body}");
        };
        assert_eq!(Answer::read(api, text.as_bytes()).text, "[EMAIL]");
        assert_eq!(found.to_string(), "1 email");
    }
}

#[test]
fn the_input_of_a_call_stays_as_it_is_in_every_interface() {
    let to = "a@b.example";
    let chat = json!({"choices": [{"message": {"tool_calls": [
        {"type": "custom", "custom": {"name": "f", "input": to}}]}}]});
    let message = json!({"content": [
        {"type": "tool_use", "name": "f", "input": {"text": to}},
        {"type": "server_tool_use", "name": "f", "input": {"content": to}}]});
    let response = json!({"output": [{"type": "custom_tool_call", "name": "f", "input": to}]});
    for (api, body) in [
        (Api::ChatCompletions, chat),
        (Api::Messages, message),
        (Api::Responses, response),
    ] {
        let checked = answer(&filter(Action::Redact), api, &body.to_string());
        assert_eq!(checked, Checked::Clean, "{body}");
    }
    let done = json!({"type": "response.output_item.done",
        "item": {"type": "custom_tool_call", "name": "f", "input": to}});
    let done = Frame::new("response.output_item.done", &done.to_string());
    let mut frames = PiiFrames::new(filter(Action::Redact), Api::Responses);
    assert_eq!(frames.frame(&done), Ok(vec![done.clone()]));
}

/// A stream of an interface with a text in pieces.
fn stream(api: Api, pieces: &[&str]) -> Vec<Frame> {
    let frame =
        |data: &Value| Frame::new(data["type"].as_str().unwrap_or_default(), &data.to_string());
    let mut frames = Vec::new();
    match api {
        Api::ChatCompletions | Api::Embeddings => {
            for piece in pieces {
                frames.push(frame(&json!({"id": "c", "choices":
                    [{"index": 0, "delta": {"content": piece}, "finish_reason": null}]})));
            }
            frames.push(frame(&json!({"id": "c", "choices":
                [{"index": 0, "delta": {}, "finish_reason": "stop"}]})));
            frames.push(Frame::new("", "[DONE]"));
        }
        Api::Messages => {
            frames.push(frame(&json!({"type": "content_block_start", "index": 0,
                "content_block": {"type": "text", "text": ""}})));
            for piece in pieces {
                frames.push(frame(&json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "text_delta", "text": piece}})));
            }
            frames.push(frame(&json!({"type": "content_block_stop", "index": 0})));
            frames.push(frame(&json!({"type": "message_stop"})));
        }
        Api::Responses => {
            for piece in pieces {
                frames.push(frame(&json!({"type": "response.output_text.delta",
                    "item_id": "i", "content_index": 0, "delta": piece})));
            }
            let text = pieces.concat();
            frames.push(frame(&json!({"type": "response.output_text.done",
                "item_id": "i", "content_index": 0, "text": text})));
            frames.push(frame(&json!({"type": "response.completed", "response":
                {"status": "completed", "output": [{"type": "message", "content":
                    [{"type": "output_text", "text": text}]}]}})));
        }
    }
    frames
}

fn text_of(frames: &[Frame]) -> String {
    let mut text = String::new();
    for frame in frames {
        let data: Value = serde_json::from_str(&frame.data()).unwrap_or_default();
        for pointer in ["/choices/0/delta/content", "/delta/text", "/delta"] {
            if let Some(piece) = data.pointer(pointer).and_then(Value::as_str) {
                text.push_str(piece);
            }
        }
    }
    text
}

fn filtered(api: Api, action: Action, frames: &[Frame]) -> Result<Vec<Frame>, Stop> {
    let mut filter = PiiFrames::new(filter(action), api);
    let mut passed = Vec::new();
    for frame in frames {
        passed.extend(filter.frame(frame)?);
    }
    passed.extend(filter.finish()?.0);
    Ok(passed)
}

const STREAMS: [Api; 3] = [Api::ChatCompletions, Api::Messages, Api::Responses];

#[test]
fn a_match_across_frames_is_replaced_and_no_frame_is_lost() {
    let pieces = [
        "Write to jane",
        ".doe@",
        "mail.exam",
        "ple. Or pay with 4111 1111",
        " 1111 1111",
    ];
    for api in STREAMS {
        let frames = stream(api, &pieces);
        let passed = filtered(api, Action::Redact, &frames).expect("they pass");
        assert_eq!(
            text_of(&passed),
            "Write to [EMAIL]. Or pay with [CARD]",
            "{api}"
        );
        assert_eq!(passed.len(), frames.len() + 1, "{api}");
        let whole: String = passed
            .iter()
            .map(|frame| frame.data().into_owned())
            .collect();
        assert!(
            !whole.contains("jane.doe") && !whole.contains("4111"),
            "{api}: {whole}"
        );
        assert_eq!(
            passed.last().map(Frame::event),
            frames.last().map(Frame::event)
        );
    }
}

#[test]
fn a_clean_stream_passes_byte_for_byte_when_nothing_is_held_back() {
    for api in STREAMS {
        let frames = stream(api, &["Hello, ", "all is well! "]);
        assert_eq!(filtered(api, Action::Block, &frames), Ok(frames), "{api}");
    }
}

#[test]
fn a_stream_is_blocked_before_the_match_passes() {
    for api in STREAMS {
        let frames = stream(api, &["Write to a@b.exa", "mple\n", "more"]);
        let mut filter = PiiFrames::new(filter(Action::Block), api);
        let mut passed = Vec::new();
        let blocked = frames.iter().find_map(|frame| match filter.frame(frame) {
            Ok(frames) => {
                passed.extend(frames);
                None
            }
            Err(stop) => Some(stop),
        });
        let Some(Stop::Found(found)) = blocked else {
            panic!("{blocked:?}");
        };
        assert_eq!(found.to_string(), "1 email");
        assert_eq!(text_of(&passed), "Write to ", "{api}");
    }
}

#[test]
fn a_long_frame_is_looked_at_too() {
    let long = format!("{} a@b.example", "word ".repeat(5_000));
    for api in STREAMS {
        for pieces in [vec![long.as_str()], vec!["x ", long.as_str(), " y"]] {
            let frames = stream(api, &pieces);
            let passed = filtered(api, Action::Redact, &frames).expect("they pass");
            assert_eq!(text_of(&passed), redacted(&pieces.concat()), "{api}");
        }
    }
}

#[test]
fn what_was_held_back_passes_when_a_stream_breaks_off() {
    for api in STREAMS {
        let frames = stream(api, &["Write to a@b.exa", "mple"]);
        let text = frames.len() - 2;
        let passed = filtered(api, Action::Redact, &frames[..text]).expect("they pass");
        assert_eq!(text_of(&passed), "Write to [EMAIL]", "{api}");
    }
}

#[test]
fn a_warning_changes_nothing() {
    for api in STREAMS {
        let frames = stream(api, &["Write to a@b.exa", "mple"]);
        let mut filter = PiiFrames::new(filter(Action::Warn), api);
        for frame in &frames {
            assert_eq!(filter.frame(frame), Ok(vec![frame.clone()]));
        }
        assert_eq!(filter.found().to_string(), "1 email", "{api}");
    }
}

fn nested(levels: usize, inner: &str) -> String {
    format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn a_body_that_cannot_be_read_is_not_taken_for_clean() {
    let deep = nested(100, r#"{"text":"a@b.example"}"#);
    let bodies = [
        r#"{"messages":[{"role":"user","content":{"text":"a@b.example","text":"x"}}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","content":"\ud800 a@b.example"}]}"#.to_owned(),
        format!(r#"{{"messages":[{{"role":"user","content":{deep}}}]}}"#),
        r#"{"messages":[],"messages":["a@b.example"]}"#.to_owned(),
        r#"["a@b.example"]"#.to_owned(),
    ];
    for body in bodies {
        for action in [Action::Block, Action::Redact] {
            let checked = request(&filter(action), Api::ChatCompletions, &body);
            assert_eq!(checked, Checked::Unreadable, "{body}");
        }
        let checked = request(&filter(Action::Warn), Api::ChatCompletions, &body);
        assert_eq!(checked, Checked::Clean, "{body}");
    }
}

#[test]
fn a_frame_that_cannot_be_read_does_not_pass() {
    let frames = [
        r#"{"choices":[{"delta":{"content":"a@b.example"},"delta":{"content":"x"}}]}"#.to_owned(),
        format!(r#"{{"choices":[{{"delta":{}}}]}}"#, nested(200, "1")),
        r#"{"choices":[{"delta":{"content":"a@b.example"}}"#.to_owned(),
    ];
    for data in frames {
        let frame = Frame::new("", &data);
        for action in [Action::Block, Action::Redact] {
            let mut frames = PiiFrames::new(filter(action), Api::ChatCompletions);
            assert_eq!(frames.frame(&frame), Err(Stop::Unreadable), "{data}");
        }
        let mut frames = PiiFrames::new(filter(Action::Warn), Api::ChatCompletions);
        assert_eq!(frames.frame(&frame), Ok(vec![frame.clone()]), "{data}");
    }
}

#[test]
fn a_text_that_comes_in_parts_in_place_of_a_piece_is_looked_at() {
    let data = json!({"choices": [{"index": 0, "delta":
        {"content": [{"type": "text", "text": "a@b.example"}]}}]});
    let frame = Frame::new("", &data.to_string());
    let passed = filtered(
        Api::ChatCompletions,
        Action::Redact,
        std::slice::from_ref(&frame),
    );
    let passed = passed.expect("it passes").remove(0);
    assert!(passed.data().contains("[EMAIL]"), "{}", passed.data());
    let blocked = filtered(Api::ChatCompletions, Action::Block, &[frame]);
    assert!(matches!(blocked, Err(Stop::Found(_))), "{blocked:?}");
}

#[test]
fn prose_is_not_held_back_for_longer_than_a_word() {
    let mut text = PiiText::new(Kind::ALL.into_iter().collect());
    assert_eq!(text.push("All is well so far"), "All is well so ");
    assert_eq!(text.push(" and"), "far ");
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,8}",
        2 => "\\PC{1,4}",
        2 => "[0-9]{1,12}",
        1 => "[A-Za-z0-9._@+-]{1,300}",
        4 => prop_oneof![
            Just("jane@mail.example"), Just("4111 1111 1111 1111"), Just("078-05-1120"),
            Just("GB82 WEST 1234 5698 7654 32"), Just("+49 30 901820"), Just("(212) 555-2187"),
            Just("phone"), Just("ssn"), Just("078051120"), Just("2125552187"),
        ].prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    vec(
        (
            word(),
            prop_oneof!["", " ", " ", "  ", ", ", "\n", "-", "."],
        ),
        0..12,
    )
    .prop_map(|words| {
        words
            .into_iter()
            .map(|(word, after)| word + &after)
            .collect()
    })
}

/// The text cut at some of its characters.
fn pieces<'a>(text: &'a str, cuts: &[proptest::sample::Index]) -> Vec<&'a str> {
    let mut places: Vec<usize> = cuts
        .iter()
        .map(|cut| text.floor_char_boundary(cut.index(text.len() + 1)))
        .collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn any_pieces_give_the_same_as_the_whole(
        text in text(), cuts in vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let kinds = Kind::ALL.into_iter().collect();
        let mut reading = PiiText::new(kinds);
        let mut written = String::new();
        for piece in pieces(&text, &cuts) {
            written.push_str(&reading.push(piece));
        }
        written.push_str(&reading.finish().0);
        prop_assert_eq!(written, redacted(&text));
    }

    #[test]
    fn any_frames_give_the_same_text_as_the_whole(
        text in text(), cuts in vec(any::<proptest::sample::Index>(), 0..12), api in 0..3_usize,
    ) {
        let frames = stream(STREAMS[api], &pieces(&text, &cuts));
        let passed = filtered(STREAMS[api], Action::Redact, &frames).expect("they pass");
        prop_assert_eq!(text_of(&passed), redacted(&text));
        prop_assert!(passed.len() >= frames.len());
    }

    #[test]
    fn no_more_is_held_back_than_a_match_has(text in "[A-Za-z0-9@. -]{0,900}") {
        let mut reading = PiiText::new(Kind::ALL.into_iter().collect());
        let written = reading.push(&text);
        let (rest, _) = reading.finish();
        prop_assert!(rest.len() <= WINDOW + 16, "{} after {}", rest.len(), written.len());
    }

    #[test]
    fn every_placeholder_is_counted(text in text()) {
        let found = match filter(Action::Redact).check(&text) {
            Checked::Redacted { found, .. } => found,
            Checked::Clean
            | Checked::Warned(_)
            | Checked::Blocked(_)
            | Checked::Unreadable => Found::default(),
        };
        let there: usize = Kind::ALL.iter().map(|kind| {
            redacted(&text).matches(kind.placeholder()).count()
                - text.matches(kind.placeholder()).count()
        }).sum();
        prop_assert_eq!(there as u64, found.iter().map(|(_, count)| count).sum::<u64>());
    }
}

//! What the model said in an answer that came whole.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::llm::wire::{Answer, Api, Finish, Frames};

/// One of the answers that a request asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// What was asked for.
    #[default]
    Answer,
    /// A step on the way to it: the model waits for results of tools.
    ToolCall,
}

/// The answers in a body.
pub(super) fn in_body(api: Api, body: &[u8]) -> Vec<Said> {
    match api {
        Api::ChatCompletions => chat(&serde_json::from_slice(body).unwrap_or_default()),
        Api::Responses | Api::Embeddings | Api::Messages => {
            let answer = Answer::read(api, body);
            let kind = match answer.finish {
                Some(Finish::ToolCalls) => Kind::ToolCall,
                Some(Finish::Stop | Finish::Length | Finish::Refusal | Finish::Other(_)) | None => {
                    Kind::Answer
                }
            };
            let text = answer.text;
            vec![Said { text, kind }]
        }
    }
}

/// The answers in all the bytes of a stream.
pub(super) fn in_stream(api: Api, bytes: &[u8]) -> Vec<Said> {
    let mut frames = Frames::default();
    frames.push(bytes);
    let mut answers = Answers::default();
    let mut read = |data: &str| {
        if let Ok(event) = serde_json::from_str(data) {
            answers.event(api, &event);
        }
    };
    // A frame that is too long has been refused on its way in.
    while let Ok(Some(frame)) = frames.next_frame() {
        read(&frame.data());
    }
    if let Some(frame) = frames.finish() {
        read(&frame.data());
    }
    answers.said()
}

fn chat(body: &Value) -> Vec<Said> {
    let choices = body["choices"].as_array().map_or(&[][..], Vec::as_slice);
    if choices.is_empty() {
        return vec![Said::default()];
    }
    let said = |choice: &Value| {
        let message = &choice["message"];
        let text = message["content"].as_str().unwrap_or_default();
        Said {
            text: text.to_owned(),
            kind: kind(message),
        }
    };
    choices.iter().map(said).collect()
}

fn kind(message: &Value) -> Kind {
    let calls = message["tool_calls"].as_array();
    if calls.is_some_and(|calls| !calls.is_empty()) || message["function_call"].is_object() {
        Kind::ToolCall
    } else {
        Kind::Answer
    }
}

/// The answers of a stream, by their numbers.
#[derive(Default)]
struct Answers(BTreeMap<u64, Said>);

impl Answers {
    fn event(&mut self, api: Api, event: &Value) {
        match api {
            Api::ChatCompletions => self.chunk(event),
            Api::Messages => self.message_event(event),
            Api::Responses => self.response_event(event),
            Api::Embeddings => {}
        }
    }

    fn chunk(&mut self, event: &Value) {
        for choice in event["choices"].as_array().into_iter().flatten() {
            let delta = &choice["delta"];
            let one = self.one(choice["index"].as_u64().unwrap_or_default());
            one.text
                .push_str(delta["content"].as_str().unwrap_or_default());
            if kind(delta) == Kind::ToolCall {
                one.kind = Kind::ToolCall;
            }
        }
    }

    fn message_event(&mut self, event: &Value) {
        let one = self.one(0);
        for text in [&event["content_block"]["text"], &event["delta"]["text"]] {
            one.text.push_str(text.as_str().unwrap_or_default());
        }
        if event["content_block"]["type"] == "tool_use" {
            one.kind = Kind::ToolCall;
        }
    }

    /// The last event of a stream has the response as a whole. One that was cut here has not: of
    /// that the pieces are what was said.
    fn response_event(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => {
                let piece = event["delta"].as_str().unwrap_or_default();
                self.one(0).text.push_str(piece);
            }
            "response.completed" | "response.incomplete" => {
                let whole = in_body(Api::Responses, event["response"].to_string().as_bytes());
                let is_there = |said: &Said| !said.text.is_empty() || said.kind == Kind::ToolCall;
                if let Some(said) = whole.into_iter().find(is_there) {
                    *self.one(0) = said;
                }
            }
            _ => {}
        }
    }

    fn one(&mut self, number: u64) -> &mut Said {
        self.0.entry(number).or_default()
    }

    fn said(mut self) -> Vec<Said> {
        if self.0.is_empty() {
            self.one(0);
        }
        self.0.into_values().collect()
    }
}

//! Personal data in the text of a stream, replaced while frames pass.
//!
//! A frame stays a frame: one whose text is held back passes with an empty text, and what was held
//! back comes with a later one, or in a frame of its own before the one that ends its text.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::body::{Reach, Unreadable, redacted};
use super::{Action, Found, PiiFilter, PiiText, strict};
use crate::llm::wire::{Api, Frame};

/// The most texts of a stream at once: as many as a request may ask for answers, each with the text
/// of its thought.
const MAX_TEXTS: usize = 256;

/// The longest frame that is kept as a form for one of our own, in bytes. Providers send a few words
/// in each.
const MAX_FORM: usize = 16 * 1024;

/// The longest id that is kept, in characters.
const MAX_ID: usize = 128;

/// The texts of a delta of chat completions.
const CHAT_TEXTS: [&str; 4] = ["content", "reasoning", "reasoning_content", "refusal"];

/// The deltas of responses that are text.
const RESPONSE_TEXTS: [&str; 4] = [
    "response.output_text.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.refusal.delta",
];

/// The deltas of responses that are what a tool is called with.
const RESPONSE_CALLS: [&str; 3] = [
    "response.custom_tool_call_input.delta",
    "response.function_call_arguments.delta",
    "response.mcp_call_arguments.delta",
];

/// Why a stream may not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// This was found in it.
    Found(Found),
    /// A frame could not be read, so nobody knows what is in it.
    Unreadable,
}

impl From<Unreadable> for Stop {
    fn from(_unreadable: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// A text in a frame's data.
struct Spot {
    /// Which text of the stream it goes on with.
    name: String,
    /// Where it is, as a JSON pointer (RFC 6901).
    pointer: String,
}

/// Which texts end with a frame.
enum Ends {
    None,
    /// Those whose name begins like this.
    Named(String),
    All,
}

/// A text that is open.
#[derive(Debug, Clone)]
struct Open {
    text: PiiText,
    /// The last frame with a piece of it, as a form for a frame of our own.
    frame: Frame,
    pointer: String,
}

/// Filters the frames of a stream.
#[derive(Debug, Clone)]
pub struct PiiFrames {
    filter: PiiFilter,
    reach: Reach,
    api: Api,
    open: BTreeMap<String, Open>,
    found: Found,
}

impl PiiFrames {
    /// Before the first frame. What tools are called with is not redacted, as in an
    /// [answer](super::answer) that comes whole.
    #[must_use]
    pub const fn new(filter: PiiFilter, api: Api) -> Self {
        let reach = Reach::of_answer(filter.action);
        Self::reaching(filter, reach, api)
    }

    /// The same for whoever keeps the stream: all that was said in it is looked at.
    #[must_use]
    pub const fn kept(filter: PiiFilter, api: Api) -> Self {
        Self::reaching(filter, Reach::All, api)
    }

    const fn reaching(filter: PiiFilter, reach: Reach, api: Api) -> Self {
        Self {
            filter,
            reach,
            api,
            open: BTreeMap::new(),
            found: Found(BTreeMap::new()),
        }
    }

    /// Takes a frame, and gives those that pass for it: it or its like, and before it what was held
    /// back of texts that it ends.
    ///
    /// # Errors
    /// When it is not to pass. The stream has to be ended then.
    pub fn frame(&mut self, frame: &Frame) -> Result<Vec<Frame>, Stop> {
        let text = frame.data();
        let Some(mut data) = strict::value(&text) else {
            let mut frames = Vec::new();
            match (text.trim(), self.filter.action) {
                ("[DONE]", _) => self.end(&Ends::All, None, &mut frames),
                ("", _) | (_, Action::Warn) => {}
                (_, Action::Block | Action::Redact) => return Err(Stop::Unreadable),
            }
            return self.passed(frames, frame, None);
        };
        let (spots, ends) = match self.api {
            Api::ChatCompletions | Api::Embeddings => chat(&data, self.reach),
            Api::Messages => messages(&data, self.reach),
            Api::Responses => responses(&data, self.reach),
        };
        let before = data.clone();
        for spot in &spots {
            self.take(spot, frame, &mut data);
        }
        let mut frames = Vec::new();
        self.end(&ends, Some((&spots, &mut data)), &mut frames);
        self.in_one_piece(&mut data)?;
        let changed = (data != before).then(|| frame.with_data(&data.to_string()));
        self.passed(frames, frame, changed)
    }

    /// What was held back when the stream ends without its proper end, and all that was found.
    ///
    /// # Errors
    /// As with a [frame](Self::frame).
    pub fn finish(mut self) -> Result<(Vec<Frame>, Found), Stop> {
        let mut frames = Vec::new();
        self.end(&Ends::All, None, &mut frames);
        match self.filter.action {
            Action::Block if !self.found.is_empty() => Err(Stop::Found(self.found)),
            Action::Warn => Ok((Vec::new(), self.found)),
            Action::Block | Action::Redact => Ok((frames, self.found)),
        }
    }

    /// All that was found in texts that have ended, or was decided in those that have not.
    #[must_use]
    pub fn found(&self) -> Found {
        let mut found = self.found.clone();
        for open in self.open.values() {
            found.add_all(open.text.found());
        }
        found
    }

    fn passed(
        &self,
        mut before: Vec<Frame>,
        frame: &Frame,
        changed: Option<Frame>,
    ) -> Result<Vec<Frame>, Stop> {
        match self.filter.action {
            Action::Warn => Ok(vec![frame.clone()]),
            Action::Block if !self.found().is_empty() => Err(Stop::Found(self.found())),
            Action::Block | Action::Redact => {
                before.push(changed.unwrap_or_else(|| frame.clone()));
                Ok(before)
            }
        }
    }

    fn take(&mut self, spot: &Spot, frame: &Frame, data: &mut Value) {
        let Some(Value::String(text)) = data.pointer_mut(&spot.pointer) else {
            return;
        };
        let is_long = frame.bytes().len() > MAX_FORM;
        if (is_long || self.open.len() >= MAX_TEXTS) && !self.open.contains_key(&spot.name) {
            let (written, found) = self.filter.redacted(text);
            self.found.add_all(&found);
            *text = written;
            return;
        }
        let open = self.open.entry(spot.name.clone()).or_insert_with(|| Open {
            text: PiiText::new(self.filter.kinds.clone()),
            frame: frame.clone(),
            pointer: String::new(),
        });
        if !is_long {
            open.frame = frame.clone();
            spot.pointer.clone_into(&mut open.pointer);
        }
        *text = open.text.push(text);
    }

    /// Ends texts. What was held back joins the text of this frame where it has one of the same
    /// name, and else goes before it.
    fn end(
        &mut self,
        ends: &Ends,
        mut here: Option<(&Vec<Spot>, &mut Value)>,
        frames: &mut Vec<Frame>,
    ) {
        let ended: Vec<String> = match ends {
            Ends::None => return,
            Ends::Named(prefix) => self
                .open
                .keys()
                .filter(|name| name.starts_with(prefix.as_str()))
                .cloned()
                .collect(),
            Ends::All => self.open.keys().cloned().collect(),
        };
        for name in ended {
            let Some(open) = self.open.remove(&name) else {
                continue;
            };
            let (rest, found) = open.text.finish();
            self.found.add_all(&found);
            if rest.is_empty() {
                continue;
            }
            let spot = here.as_mut().and_then(|(spots, data)| {
                let spot = spots.iter().find(|spot| spot.name == name)?;
                data.pointer_mut(&spot.pointer)
            });
            match spot {
                Some(Value::String(text)) => text.push_str(&rest),
                Some(_) | None => {
                    frames.extend(held_back(self.api, &open.frame, &open.pointer, &rest));
                }
            }
        }
    }

    /// Texts that come whole: responses repeat those of each part at its end, and all of them at
    /// the very end, a message may begin with some, and some providers of chat completions send
    /// parts in place of a piece.
    fn in_one_piece(&self, data: &mut Value) -> Result<(), Stop> {
        let mut found = Found::default();
        for pointer in whole_texts(self.api, data, self.reach) {
            let Some(value) = data.pointer_mut(&pointer) else {
                continue;
            };
            let key = pointer.rsplit('/').next().unwrap_or_default();
            let text = value.to_string();
            match redacted(&self.filter, (key, &text), self.reach, &mut found) {
                Ok(Some(written)) => {
                    *value = serde_json::from_str(&written).map_err(|_not| Stop::Unreadable)?;
                }
                Ok(None) => {}
                Err(Unreadable) if self.filter.action == Action::Warn => {}
                Err(Unreadable) => return Err(Stop::Unreadable),
            }
        }
        match self.filter.action {
            Action::Block if !found.is_empty() => Err(Stop::Found(found)),
            Action::Block | Action::Redact | Action::Warn => Ok(()),
        }
    }
}

/// Where a frame may have texts that are whole.
fn whole_texts(api: Api, data: &Value, reach: Reach) -> Vec<String> {
    let fixed = |pointers: &[&str]| pointers.iter().map(ToString::to_string).collect();
    match api {
        Api::Responses => {
            let said = ["/text", "/refusal", "/part", "/item", "/response/output"];
            let mut pointers: Vec<String> = fixed(&said);
            if reach.has_calls() {
                pointers.extend(["/arguments", "/input"].map(str::to_owned));
            }
            pointers
        }
        Api::Messages => fixed(&["/message/content"]),
        Api::ChatCompletions | Api::Embeddings => {
            let choices = data["choices"].as_array().map_or(0, Vec::len);
            let fields = |place| {
                let pointer = move |field| format!("/choices/{place}/delta/{field}");
                CHAT_TEXTS.into_iter().map(pointer)
            };
            let pointers = (0..choices).flat_map(fields);
            let is_in_parts = |pointer: &String| data.pointer(pointer).is_some_and(Value::is_array);
            pointers.filter(is_in_parts).collect()
        }
    }
}

fn chat(data: &Value, reach: Reach) -> (Vec<Spot>, Ends) {
    let mut spots = Vec::new();
    let mut ends = Ends::None;
    for (place, choice) in data["choices"].as_array().into_iter().flatten().enumerate() {
        let index = choice["index"].as_u64().unwrap_or(0);
        for field in CHAT_TEXTS {
            if choice["delta"][field].is_string() {
                spots.push(Spot {
                    name: format!("{index}/{field}"),
                    pointer: format!("/choices/{place}/delta/{field}"),
                });
            }
        }
        if reach.has_calls() {
            spots.extend(chat_calls(choice, (index, place)));
        }
        if choice["finish_reason"].is_string() {
            ends = match ends {
                Ends::None => Ends::Named(format!("{index}/")),
                Ends::Named(_) | Ends::All => Ends::All,
            };
        }
    }
    (spots, ends)
}

/// What tools are called with, in a choice.
fn chat_calls(choice: &Value, (index, place): (u64, usize)) -> impl Iterator<Item = Spot> {
    let calls = choice["delta"]["tool_calls"]
        .as_array()
        .into_iter()
        .flatten();
    calls.enumerate().filter_map(move |(nth, call)| {
        let number = call["index"].as_u64().unwrap_or(0);
        call["function"]["arguments"].is_string().then(|| Spot {
            name: format!("{index}/call/{number}"),
            pointer: format!("/choices/{place}/delta/tool_calls/{nth}/function/arguments"),
        })
    })
}

/// Thought is signed, so it stays as it is on its way to an agent.
fn messages(data: &Value, reach: Reach) -> (Vec<Spot>, Ends) {
    let index = data["index"].as_u64().unwrap_or(0);
    let spot = |pointer: &str| {
        vec![Spot {
            name: format!("{index}/"),
            pointer: pointer.to_owned(),
        }]
    };
    match data["type"].as_str().unwrap_or_default() {
        "content_block_start" if data["content_block"]["type"] == "text" => {
            (spot("/content_block/text"), Ends::None)
        }
        "content_block_delta" if data["delta"]["type"] == "text_delta" => {
            (spot("/delta/text"), Ends::None)
        }
        "content_block_delta" if reach.has_calls() => {
            match data["delta"]["type"].as_str().unwrap_or_default() {
                "input_json_delta" => (spot("/delta/partial_json"), Ends::None),
                "thinking_delta" => (spot("/delta/thinking"), Ends::None),
                _ => (Vec::new(), Ends::None),
            }
        }
        "content_block_stop" => (Vec::new(), Ends::Named(format!("{index}/"))),
        "message_delta" | "message_stop" | "error" => (Vec::new(), Ends::All),
        _ => (Vec::new(), Ends::None),
    }
}

fn responses(data: &Value, reach: Reach) -> (Vec<Spot>, Ends) {
    let kind = data["type"].as_str().unwrap_or_default();
    let is_text = |kind: &str| {
        RESPONSE_TEXTS.contains(&kind) || (reach.has_calls() && RESPONSE_CALLS.contains(&kind))
    };
    let name = |kind: &str| {
        let part = data["content_index"]
            .as_u64()
            .or_else(|| data["summary_index"].as_u64())
            .unwrap_or(0);
        let item = data["item_id"].as_str().unwrap_or_default();
        let item: String = item.chars().take(MAX_ID).collect();
        format!("{item}/{part}/{kind}")
    };
    if is_text(kind) {
        let spot = Spot {
            name: name(kind),
            pointer: "/delta".to_owned(),
        };
        return (vec![spot], Ends::None);
    }
    let delta = kind.strip_suffix("done").map(|kind| format!("{kind}delta"));
    match delta {
        Some(delta) if is_text(&delta) => (Vec::new(), Ends::Named(name(&delta))),
        Some(_) | None if matches!(kind, "response.output_item.done" | "error") => {
            (Vec::new(), Ends::All)
        }
        Some(_) | None if data["response"]["status"].is_string() && kind != "response.created" => {
            (Vec::new(), Ends::All)
        }
        Some(_) | None => (Vec::new(), Ends::None),
    }
}

/// A frame with what was held back, in the form of the last one of its text.
fn held_back(api: Api, form: &Frame, pointer: &str, rest: &str) -> Option<Frame> {
    let mut data: Value = serde_json::from_str(&form.data()).ok()?;
    match api {
        Api::ChatCompletions | Api::Embeddings => {
            let mut parts = pointer.split('/').skip(2);
            let place = parts.next()?;
            let field = parts.nth(1)?;
            let index = data["choices"][place.parse::<usize>().ok()?]["index"].clone();
            let delta = match field {
                "tool_calls" => {
                    let call = pointer.strip_suffix("/function/arguments")?;
                    let number = data.pointer(call)?["index"].clone();
                    json!({"tool_calls": [{"index": number, "function": {"arguments": rest}}]})
                }
                field => json!({ field: rest }),
            };
            let choice = json!({"index": index, "delta": delta, "finish_reason": null});
            data["choices"] = json!([choice]);
            data.as_object_mut()?.remove("usage");
            Some(Frame::new("", &data.to_string()))
        }
        Api::Messages => {
            let delta = match pointer {
                "/delta/partial_json" => json!({"type": "input_json_delta", "partial_json": rest}),
                "/delta/thinking" => json!({"type": "thinking_delta", "thinking": rest}),
                _ => json!({"type": "text_delta", "text": rest}),
            };
            let data = json!({
                "type": "content_block_delta",
                "index": data["index"],
                "delta": delta,
            });
            Some(Frame::new("content_block_delta", &data.to_string()))
        }
        Api::Responses => {
            *data.pointer_mut(pointer)? = json!(rest);
            Some(form.with_data(&data.to_string()))
        }
    }
}

//! A prompt, read from each interface.

use std::borrow::Cow;

use super::super::object::{RawObject, elements, text, typed};
use super::super::request::{missing, wrong};
use super::super::{Api, BadRequest, NotObject, refused};
use super::{Hosted, Prompt, Reference};

/// The most references that are kept by name; one is enough to lose the bound.
const MAX_REFERENCES: usize = 16;

impl Prompt {
    /// Reads a request's prompt.
    ///
    /// # Errors
    /// When a field has not the type that its interface gives it.
    pub(in crate::llm::wire) fn read(
        api: Api,
        request: &RawObject<'_>,
    ) -> Result<Self, BadRequest> {
        let mut prompt = Self::default();
        match api {
            Api::ChatCompletions => prompt.take_chat(request)?,
            Api::Responses => prompt.take_responses(request)?,
            Api::Embeddings => prompt.take_embeddings(request)?,
            Api::Messages => prompt.take_messages(request)?,
        }
        Ok(prompt)
    }

    fn take_chat(&mut self, request: &RawObject<'_>) -> Result<(), BadRequest> {
        let messages = request.get("messages").ok_or(missing("messages"))?;
        self.take_turns(messages, "messages")?;
        for field in ["tools", "functions"] {
            self.take_tools(request, field, Api::ChatCompletions)?;
        }
        self.take_raw(request.get("response_format"));
        if let Some(prediction) = request.get("prediction") {
            self.take_raw(Some(prediction));
            self.predicted_bytes = length(prediction);
        }
        if request.get("web_search_options").is_some() {
            self.hosted.push(Hosted::Search { cap: None });
        }
        Ok(())
    }

    fn take_messages(&mut self, request: &RawObject<'_>) -> Result<(), BadRequest> {
        let messages = request.get("messages").ok_or(missing("messages"))?;
        self.take_turns(messages, "messages")?;
        if let Some(system) = request.get("system") {
            self.take_content(system, "system")?;
        }
        self.take_tools(request, "tools", Api::Messages)?;
        self.take_raw(request.get("output_config"));
        self.take_raw(request.get("output_format"));
        for field in ["mcp_servers", "container"] {
            if request.get(field).is_some() {
                self.hosted.push(Hosted::Other {
                    kind: field.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn take_responses(&mut self, request: &RawObject<'_>) -> Result<(), BadRequest> {
        for field in ["previous_response_id", "conversation", "prompt"] {
            if request.get(field).is_some() {
                self.refer(Reference::Stored {
                    field: field.to_owned(),
                });
            }
        }
        match request.get("input") {
            Some(input) if input.starts_with('"') => {
                self.messages += 1;
                self.take_text(input, "input")?;
            }
            Some(input) => self.take_turns(input, "input")?,
            None if self.references.is_empty() => return Err(missing("input")),
            None => {}
        }
        self.take_raw(request.get("instructions"));
        self.take_tools(request, "tools", Api::Responses)?;
        self.take_raw(request.get("text"));
        Ok(())
    }

    fn take_embeddings(&mut self, request: &RawObject<'_>) -> Result<(), BadRequest> {
        let input = request.get("input").ok_or(missing("input"))?;
        if input.starts_with('"') {
            self.messages += 1;
            return self.take_text(input, "input");
        }
        // An array of texts, of token numbers, or of arrays of token numbers. A number is a token
        // and at least one byte of the array, so the bytes bound both.
        let inputs = elements(input)
            .ok_or_else(|| wrong("input", "a string or an array of strings or of tokens"))?;
        self.messages += inputs.len() as u64;
        self.bytes += length(input);
        Ok(())
    }

    fn take_turns(&mut self, turns: &str, field: &str) -> Result<(), BadRequest> {
        let turns = elements(turns).ok_or_else(|| wrong(field, "an array"))?;
        for (index, turn) in turns.into_iter().enumerate() {
            let place = format!("{field}[{index}]");
            self.messages += 1;
            self.take_turn(&object(turn, &place)?, &place)?;
        }
        Ok(())
    }

    /// A message, or an item of a response's input.
    fn take_turn(&mut self, turn: &RawObject<'_>, place: &str) -> Result<(), BadRequest> {
        if turn.get("type").is_some() {
            match kind_of(turn, place)?.as_ref() {
                "message"
                | "function_call"
                | "function_call_output"
                | "custom_tool_call"
                | "custom_tool_call_output" => {}
                "reasoning" if turn.get("encrypted_content").is_some() => {}
                "reasoning" | "item_reference" => self.refer(Reference::Stored {
                    field: place.into(),
                }),
                unknown => self.refer(Reference::Unknown {
                    kind: unknown.to_owned(),
                }),
            }
        }
        for (key, value) in turn.iter() {
            match key {
                "content" | "output" => self.take_content(value, &format!("{place}.{key}"))?,
                // An answer in sound that the provider kept: sound has a price of its own, and no
                // usage is read for it.
                "audio" => {
                    return Err(BadRequest::Uncounted {
                        field: format!("{place}.audio").into(),
                    });
                }
                _ => self.bytes += length(value),
            }
        }
        Ok(())
    }

    /// A text, or an array of parts.
    fn take_content(&mut self, content: &str, place: &str) -> Result<(), BadRequest> {
        if content.starts_with('"') {
            return self.take_text(content, place);
        }
        let parts = elements(content).ok_or_else(|| wrong(place, "a string or an array"))?;
        for (index, part) in parts.into_iter().enumerate() {
            let place = format!("{place}[{index}]");
            self.take_part(&object(part, &place)?, part, &place)?;
        }
        Ok(())
    }

    fn take_part(
        &mut self,
        part: &RawObject<'_>,
        raw: &str,
        place: &str,
    ) -> Result<(), BadRequest> {
        let kind = kind_of(part, place)?;
        match kind.as_ref() {
            "text" | "input_text" | "output_text" | "refusal" => {
                for (key, value) in part.iter() {
                    match key {
                        "text" | "refusal" => self.take_text(value, &format!("{place}.{key}"))?,
                        // A few fixed words, and citations, which are part of the prompt.
                        _ => self.bytes += length(value),
                    }
                }
            }
            "image_url" | "input_image" | "image" => self.take_image(part, &kind, place)?,
            // Their text is inline, whatever its form.
            "tool_use"
            | "server_tool_use"
            | "mcp_tool_use"
            | "thinking"
            | "redacted_thinking"
            | "search_result"
            | "web_search_tool_result"
            | "tool_reference" => {
                self.bytes += length(raw);
            }
            "tool_result" => self.take_turn_parts(part, place)?,
            "document" => self.take_document(part, raw, place)?,
            "input_audio" => {
                return Err(BadRequest::Uncounted {
                    field: place.into(),
                });
            }
            "file" | "input_file" | "web_fetch_tool_result" => {
                self.refer(Reference::Media {
                    kind: kind.into_owned(),
                });
            }
            unknown => self.refer(Reference::Unknown {
                kind: unknown.to_owned(),
            }),
        }
        Ok(())
    }

    /// What a tool gave back: its content may hold parts of its own, but no further results.
    fn take_turn_parts(&mut self, part: &RawObject<'_>, place: &str) -> Result<(), BadRequest> {
        for (key, value) in part.iter() {
            let place = format!("{place}.{key}");
            if key != "content" || value.starts_with('"') {
                self.bytes += length(value);
                continue;
            }
            let parts = elements(value).ok_or_else(|| wrong(&place, "a string or an array"))?;
            for (index, raw) in parts.into_iter().enumerate() {
                let place = format!("{place}[{index}]");
                let inner = object(raw, &place)?;
                if kind_of(&inner, &place)? == "tool_result" {
                    return Err(wrong(&format!("{place}.type"), "another type of content"));
                }
                self.take_part(&inner, raw, &place)?;
            }
        }
        Ok(())
    }

    fn take_image(
        &mut self,
        part: &RawObject<'_>,
        kind: &str,
        place: &str,
    ) -> Result<(), BadRequest> {
        self.images += 1;
        let (stored, inline) = match kind {
            "image" => {
                let source = part
                    .get("source")
                    .ok_or_else(|| missing(&format!("{place}.source")))?;
                let source_place = format!("{place}.source");
                let source = object(source, &source_place)?;
                let kind = kind_of(&source, &source_place)?;
                (kind == "file", kind == "base64")
            }
            _ => (part.get("file_id").is_some(), is_inline(part)),
        };
        self.linked_images += u64::from(!stored && !inline);
        // Of an image that the provider keeps nothing is seen here, so all of the context bounds it.
        if stored {
            self.refer(Reference::Stored {
                field: place.into(),
            });
        }
        Ok(())
    }

    fn take_document(
        &mut self,
        part: &RawObject<'_>,
        raw: &str,
        place: &str,
    ) -> Result<(), BadRequest> {
        let place = format!("{place}.source");
        let source = part.get("source").ok_or_else(|| missing(&place))?;
        match kind_of(&object(source, &place)?, &place)?.as_ref() {
            "text" => self.bytes += length(raw),
            "base64" => self.refer(Reference::Media {
                kind: "document".to_owned(),
            }),
            _ => self.refer(Reference::Stored { field: place }),
        }
        Ok(())
    }

    fn take_tools(
        &mut self,
        request: &RawObject<'_>,
        field: &str,
        api: Api,
    ) -> Result<(), BadRequest> {
        let Some(tools) = request.get(field) else {
            return Ok(());
        };
        // Each interface has a cap of its own, and ignores that of another.
        let calls_cap = match api {
            Api::Responses => cap_of(request, "max_tool_calls", "max_tool_calls")?,
            Api::ChatCompletions | Api::Embeddings | Api::Messages => None,
        };
        let tools = elements(tools).ok_or_else(|| wrong(field, "an array"))?;
        for (index, raw) in tools.into_iter().enumerate() {
            let place = format!("{field}[{index}]");
            let tool = object(raw, &place)?;
            let kind = match tool.get("type") {
                Some(_) => kind_of(&tool, &place)?,
                None => Cow::Borrowed("custom"),
            };
            self.bytes += length(raw);
            if matches!(kind.as_ref(), "function" | "custom") {
                self.tools += 1;
                continue;
            }
            if api == Api::Messages && is_described(&kind) {
                self.described_tools += 1;
                continue;
            }
            let cap = match api {
                Api::Messages => cap_of(&tool, "max_uses", &format!("{place}.max_uses"))?,
                Api::ChatCompletions | Api::Responses | Api::Embeddings => calls_cap,
            };
            self.hosted.push(hosted(&kind, cap));
        }
        Ok(())
    }

    fn take_text(&mut self, value: &str, place: &str) -> Result<(), BadRequest> {
        let text = text(value).ok_or_else(|| wrong(place, "a string"))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// JSON whose text, decoded, is never longer than it is here.
    fn take_raw(&mut self, value: Option<&str>) {
        self.bytes += value.map_or(0, length);
    }

    fn refer(&mut self, reference: Reference) {
        if self.references.len() < MAX_REFERENCES {
            self.references.push(reference);
        }
    }
}

/// Whether an image of OpenAI's interfaces is itself in its URL (RFC 2397).
fn is_inline(part: &RawObject<'_>) -> bool {
    let Some(image) = part.get("image_url") else {
        return false;
    };
    let object = RawObject::read(image).ok();
    let url = object
        .as_ref()
        .map_or(Some(image), |object| object.get("url"));
    let url = url.and_then(text);
    url.is_some_and(|url| {
        url.get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
    })
}

/// Whether Anthropic describes a tool itself whose calls come back to the agent.
fn is_described(kind: &str) -> bool {
    ["bash_", "text_editor_", "memory_", "computer_"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
}

fn cap_of(object: &RawObject<'_>, field: &str, place: &str) -> Result<Option<u64>, BadRequest> {
    match object.get(field) {
        Some(cap) => typed(cap)
            .map(Some)
            .ok_or_else(|| wrong(place, "a whole number")),
        None => Ok(None),
    }
}

fn hosted(kind: &str, cap: Option<u64>) -> Hosted {
    if kind.starts_with("web_search") {
        Hosted::Search { cap }
    } else if kind.starts_with("web_fetch") {
        Hosted::Fetch { cap }
    } else {
        Hosted::Other {
            kind: kind.to_owned(),
        }
    }
}

fn kind_of<'a>(part: &RawObject<'a>, place: &str) -> Result<Cow<'a, str>, BadRequest> {
    let place = format!("{place}.type");
    let kind = part.get("type").ok_or_else(|| missing(&place))?;
    text(kind).ok_or_else(|| wrong(&place, "a string"))
}

fn object<'a>(text: &'a str, place: &str) -> Result<RawObject<'a>, BadRequest> {
    let object = RawObject::read(text).map_err(|error| match error {
        NotObject::Malformed => wrong(place, "an object"),
        NotObject::Twice { key } => BadRequest::Twice {
            field: format!("{place}.{key}").into(),
        },
    })?;
    refused::other_case(&object, &format!("{place}."))?;
    Ok(object)
}

fn length(text: &str) -> u64 {
    text.len() as u64
}

//! Chat completions, written.

use super::super::conversation::{
    Choice, Conversation, Image, Parallel, Part, Said, Target, Tool, Turn,
};
use super::super::node::Untranslatable;
use super::super::writer::{Writer, array};
use crate::llm::wire::quoted;
use crate::llm::wire::{ChatLimit, Delivery};

/// The most stop sequences of a chat completion, by OpenAI's reference.
const MAX_STOPS: usize = 4;

impl Conversation {
    /// Writes a request of chat completions.
    ///
    /// # Errors
    /// When it has what they cannot say.
    pub fn write_chat(&self, target: &Target<'_>) -> Result<String, Untranslatable> {
        if self.stop.len() > MAX_STOPS {
            return Err(Untranslatable::Unsupported {
                feature: format!("stop_sequences with more than {MAX_STOPS} entries").into(),
            });
        }
        let mut messages = Vec::new();
        if !self.system.is_empty() {
            messages.push(
                Writer::new()
                    .text("role", "system")
                    .raw("content", &text_or_parts(&self.system))
                    .end(),
            );
        }
        for turn in &self.turns {
            match turn {
                Turn::User(parts) => write_user(parts, &mut messages),
                Turn::Assistant(said) => messages.push(write_assistant(said)),
            }
        }
        let limit_field = match target.chat_limit {
            ChatLimit::MaxCompletionTokens => "max_completion_tokens",
            ChatLimit::MaxTokens => "max_tokens",
        };
        let mut request = Writer::new()
            .text("model", target.model)
            .raw("messages", &array(messages));
        if let Some(limit) = target.limit.or(self.limit) {
            request = request.raw(limit_field, &limit.to_string());
        }
        if !self.tools.is_empty() {
            request = request.raw("tools", &array(self.tools.iter().map(write_tool)));
        }
        if self.choice != Choice::Auto {
            request = request.raw("tool_choice", &write_choice(&self.choice));
        }
        if self.parallel == Parallel::One {
            request = request.raw("parallel_tool_calls", "false");
        }
        if !self.stop.is_empty() {
            request = request.raw("stop", &array(self.stop.iter().map(|text| quoted(text))));
        }
        request = request
            .some("temperature", self.temperature.as_deref())
            .some("top_p", self.top_p.as_deref());
        if let Some(schema) = &self.schema {
            let named = Writer::new()
                .text("name", "answer")
                .raw("strict", "true")
                .raw("schema", schema);
            let format = Writer::new()
                .text("type", "json_schema")
                .raw("json_schema", &named.end());
            request = request.raw("response_format", &format.end());
        }
        if let Delivery::Stream(_) = self.delivery {
            request = request
                .raw("stream", "true")
                .raw("stream_options", r#"{"include_usage":true}"#);
        }
        Ok(request.end())
    }
}

fn write_user(parts: &[Part], messages: &mut Vec<String>) {
    let mut content = Vec::new();
    for part in parts {
        match part {
            Part::Result { call, texts } => messages.push(
                Writer::new()
                    .text("role", "tool")
                    .text("tool_call_id", call)
                    .raw("content", &text_or_parts(texts))
                    .end(),
            ),
            Part::Text(text) => content.push(text_part(text)),
            Part::Image(image) => {
                let url = match image {
                    Image::Inline { media, data } => format!("data:{media};base64,{data}"),
                    Image::Url(url) => url.clone(),
                };
                let url = Writer::new().text("url", &url).end();
                let part = Writer::new()
                    .text("type", "image_url")
                    .raw("image_url", &url);
                content.push(part.end());
            }
        }
    }
    let content = match (parts.last(), content.len()) {
        (_, 0) => return,
        (Some(Part::Text(text)), 1) => quoted(text),
        _ => array(content),
    };
    let message = Writer::new().text("role", "user").raw("content", &content);
    messages.push(message.end());
}

/// A call of a tool, in a message of either side.
pub(in super::super) fn write_call(id: &str, name: &str, arguments: &str) -> String {
    let function = Writer::new()
        .text("name", name)
        .text("arguments", arguments);
    let call = Writer::new()
        .text("id", id)
        .text("type", "function")
        .raw("function", &function.end());
    call.end()
}

fn write_assistant(said: &[Said]) -> String {
    let mut texts = Vec::new();
    let mut calls = Vec::new();
    for said in said {
        match said {
            Said::Text(text) => texts.push(text.clone()),
            Said::Call {
                id,
                name,
                arguments,
            } => {
                calls.push(write_call(id, name, arguments));
            }
        }
    }
    let content = if texts.is_empty() {
        "null".to_owned()
    } else {
        text_or_parts(&texts)
    };
    let message = Writer::new()
        .text("role", "assistant")
        .raw("content", &content);
    if calls.is_empty() {
        return message.end();
    }
    message.raw("tool_calls", &array(calls)).end()
}

fn text_or_parts(texts: &[String]) -> String {
    match texts {
        [] => quoted(""),
        [text] => quoted(text),
        texts => array(texts.iter().map(|text| text_part(text))),
    }
}

fn text_part(text: &str) -> String {
    Writer::new().text("type", "text").text("text", text).end()
}

fn write_tool(tool: &Tool) -> String {
    let description = tool.description.as_deref().map(quoted);
    let strict = tool.strict.map(|strict| strict.to_string());
    let function = Writer::new()
        .text("name", &tool.name)
        .some("description", description.as_deref())
        .raw("parameters", &tool.schema)
        .some("strict", strict.as_deref());
    Writer::new()
        .text("type", "function")
        .raw("function", &function.end())
        .end()
}

fn write_choice(choice: &Choice) -> String {
    match choice {
        Choice::Auto => quoted("auto"),
        Choice::Never => quoted("none"),
        Choice::Any => quoted("required"),
        Choice::Named(name) => {
            let function = Writer::new().text("name", name).end();
            Writer::new()
                .text("type", "function")
                .raw("function", &function)
                .end()
        }
    }
}

//! Answers in one piece, in the form that both interfaces are read into and written from.

use serde_json::Value;

use super::chat_request::{read_call as read_function_call, write_call};
use super::conversation::{Said, non_empty};
use super::hints;
use super::messages_request::{read_call, write_said};
use super::node::{Node, Untranslatable, member};
use super::writer::{Writer, array, is_object};
use crate::llm::usage::Usage;
use crate::llm::wire::quoted;
use crate::llm::wire::{Answer, Api, Finish, chat_usage, messages_usage};

/// An answer, whatever interface it came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its id at the provider.
    pub id: String,
    /// What the model said.
    pub said: Vec<Said>,
    /// Why it stopped.
    pub finish: Option<Finish>,
    /// The stop sequence it came to, where the provider tells it.
    pub stop_sequence: Option<String>,
    /// What it used.
    pub usage: Option<Usage>,
}

/// What an answer shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The model as the agent knows it.
    pub model: &'a str,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

impl Reply {
    /// Reads an answer of messages.
    ///
    /// # Errors
    /// When it has blocks that chat completions do not have, or is malformed.
    pub fn read_message(body: &str) -> Result<Self, Untranslatable> {
        let root = Node::root(body);
        let members = root.members()?;
        let mut said = Vec::new();
        let content = root.need(member(&members, "content"), "content", "there")?;
        for block in content.elements()? {
            let members = block.members()?;
            let kind = block.need(member(&members, "type"), "type", "there")?;
            match kind.text()?.as_str() {
                "text" => {
                    let text = block.need(member(&members, "text"), "text", "there")?;
                    said.extend(non_empty(text.text()?).map(Said::Text));
                }
                "tool_use" => said.push(read_call(&block, &members)?),
                other if hints::BLOCKS.contains(&other) => {}
                _ => return Err(kind.unsupported_value()),
            }
        }
        let read = Answer::read(Api::Messages, body.as_bytes());
        let stop_sequence = member(&members, "stop_sequence").map(|stop| stop.text());
        Ok(Self {
            id: id_of(&members)?,
            said,
            finish: read.finish,
            stop_sequence: stop_sequence.transpose()?,
            usage: read.usage,
        })
    }

    /// Reads an answer of chat completions.
    ///
    /// # Errors
    /// When it has what messages do not have, or is malformed.
    pub fn read_chat(body: &str) -> Result<Self, Untranslatable> {
        let root = Node::root(body);
        let members = root.members()?;
        let choices = root.need(member(&members, "choices"), "choices", "there")?;
        let elements = choices.elements()?;
        let [choice] = elements.as_slice() else {
            return Err(choices.malformed("one choice"));
        };
        let message = choice.need(member(&choice.members()?, "message"), "message", "there")?;
        let message_members = message.members()?;
        let mut said = Vec::new();
        for key in ["content", "refusal"] {
            if let Some(text) = member(&message_members, key) {
                said.extend(non_empty(text.text()?).map(Said::Text));
            }
        }
        if let Some(calls) = member(&message_members, "tool_calls") {
            for call in calls.elements()? {
                said.push(read_function_call(&call, |_, text| {
                    Ok(object_or_text(text))
                })?);
            }
        }
        let read = Answer::read(Api::ChatCompletions, body.as_bytes());
        Ok(Self {
            id: id_of(&members)?,
            said,
            finish: read.finish,
            stop_sequence: None,
            usage: read.usage,
        })
    }

    /// Writes an answer of chat completions. All text is one there, and stands before the calls.
    #[must_use]
    pub fn write_chat(&self, shown: &Shown<'_>) -> String {
        let mut text = String::new();
        let mut calls = Vec::new();
        for said in &self.said {
            match said {
                Said::Text(said) => text.push_str(said),
                Said::Call {
                    id,
                    name,
                    arguments,
                } => {
                    calls.push(write_call(id, name, arguments));
                }
            }
        }
        let content = non_empty(text).map_or_else(|| "null".to_owned(), |text| quoted(&text));
        let mut message = Writer::new()
            .text("role", "assistant")
            .raw("content", &content)
            .raw("refusal", "null");
        if !calls.is_empty() {
            message = message.raw("tool_calls", &array(calls));
        }
        let choice = Writer::new()
            .raw("index", "0")
            .raw("message", &message.end())
            .raw("logprobs", "null")
            .text("finish_reason", chat_finish(self.finish.as_ref()));
        let mut answer = Writer::new()
            .text("id", &self.id)
            .text("object", "chat.completion")
            .raw("created", &shown.created.to_string())
            .text("model", shown.model)
            .raw("choices", &array([choice.end()]));
        if let Some(usage) = &self.usage {
            answer = answer.raw("usage", &chat_usage(usage).to_string());
        }
        answer.end()
    }

    /// Writes an answer of messages. They always have a usage; one that is not known is nothing.
    #[must_use]
    pub fn write_message(&self, shown: &Shown<'_>) -> String {
        let stop_sequence = self.stop_sequence.as_deref().map(quoted);
        Writer::new()
            .text("id", &self.id)
            .text("type", "message")
            .text("role", "assistant")
            .text("model", shown.model)
            .raw("content", &array(self.said.iter().map(write_said)))
            .text("stop_reason", messages_finish(self.finish.as_ref()))
            .raw("stop_sequence", stop_sequence.as_deref().unwrap_or("null"))
            .raw(
                "usage",
                &messages_usage(&self.usage.unwrap_or_default()).to_string(),
            )
            .end()
    }
}

/// Why a model stopped, in the word of chat completions.
pub(super) const fn chat_finish(finish: Option<&Finish>) -> &'static str {
    match finish {
        Some(Finish::Length) => "length",
        Some(Finish::ToolCalls) => "tool_calls",
        Some(Finish::Refusal) => "content_filter",
        Some(Finish::Stop | Finish::Other(_)) | None => "stop",
    }
}

/// Why a model stopped, in the word of messages.
pub(super) const fn messages_finish(finish: Option<&Finish>) -> &'static str {
    match finish {
        Some(Finish::Length) => "max_tokens",
        Some(Finish::ToolCalls) => "tool_use",
        Some(Finish::Refusal) => "refusal",
        Some(Finish::Stop | Finish::Other(_)) | None => "end_turn",
    }
}

/// Arguments as a model wrote them, where they are an object; else an object that holds them, so
/// that the agent sees what was written.
fn object_or_text(arguments: &str) -> String {
    match arguments.trim() {
        "" => "{}".to_owned(),
        text if is_object(text) => text.to_owned(),
        text => Value::from_iter([("arguments", text)]).to_string(),
    }
}

fn id_of(members: &[(String, Node<'_>)]) -> Result<String, Untranslatable> {
    member(members, "id").map_or_else(|| Ok(String::new()), |id| id.text())
}

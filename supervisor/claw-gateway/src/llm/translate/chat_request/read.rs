//! Chat completions, read.

use super::super::conversation::{
    Choice, Conversation, Image, Parallel, Part, Said, Tool, non_empty,
};
use super::super::hints;
use super::super::node::{Node, Untranslatable, member};
use super::super::writer::is_object;
use crate::llm::wire::{Delivery, UsageChunk};

/// The schema of a tool that says none: it takes no arguments.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

impl Conversation {
    /// Reads a request of chat completions.
    ///
    /// # Errors
    /// When it has what messages cannot say, or is malformed.
    pub fn read_chat(body: &str) -> Result<Self, Untranslatable> {
        let root = Node::root(body);
        let members = root.members()?;
        let mut read = Self::empty();
        for (key, node) in &members {
            read.take_chat_field(key, node)?;
        }
        let messages = root.need(member(&members, "messages"), "messages", "there")?;
        for message in messages.elements()? {
            read.take_chat_message(&message)?;
        }
        if let Delivery::Stream(usage) = &mut read.delivery
            && member(&members, "stream_options")
                .is_some_and(|options| asks_usage(&options).unwrap_or(false))
        {
            *usage = UsageChunk::Wanted;
        }
        Ok(read.settled())
    }

    fn take_chat_field(&mut self, key: &str, node: &Node<'_>) -> Result<(), Untranslatable> {
        match key {
            "messages" => {}
            "model" => self.model = node.text()?,
            "max_tokens" | "max_completion_tokens" => {
                self.limit = self.limit.max(Some(node.number()?));
            }
            "stop" if node.is_text() => self.stop = vec![node.text()?],
            "stop" => {
                self.stop = node
                    .elements()?
                    .iter()
                    .map(Node::text)
                    .collect::<Result<_, _>>()?;
            }
            "temperature" => self.temperature = Some(node.fraction(1.0)?),
            "top_p" => self.top_p = Some(node.fraction(1.0)?),
            "stream" if node.flag()? => self.delivery = Delivery::Stream(UsageChunk::Unwanted),
            "stream" => {}
            "tools" => {
                self.tools = node
                    .elements()?
                    .iter()
                    .map(read_tool)
                    .collect::<Result<_, _>>()?;
            }
            "tool_choice" => self.choice = read_choice(node)?,
            "parallel_tool_calls" if node.flag()? => {}
            "parallel_tool_calls" => self.parallel = Parallel::One,
            "response_format" => self.schema = read_format(node)?,
            _ if hints::CHAT.contains(&key) => {}
            _ if hints::CHAT_NEUTRAL.contains(&(key, node.raw())) => {}
            _ => return Err(node.unsupported()),
        }
        Ok(())
    }

    fn take_chat_message(&mut self, message: &Node<'_>) -> Result<(), Untranslatable> {
        let members = message.members()?;
        let role = message.need(member(&members, "role"), "role", "there")?;
        let content = member(&members, "content");
        let known: &[&str] = match role.text()?.as_str() {
            "system" | "developer" => {
                if !self.turns.is_empty() {
                    return Err(role.unsupported_value());
                }
                self.system.extend(texts(content.as_ref())?);
                &[]
            }
            "user" => {
                self.user_says(parts(content.as_ref())?);
                &[]
            }
            "tool" => {
                let call =
                    message.need(member(&members, "tool_call_id"), "tool_call_id", "there")?;
                let call = call.text()?;
                let texts = texts(content.as_ref())?;
                self.user_says(vec![Part::Result { call, texts }]);
                &["tool_call_id", "name"]
            }
            "assistant" => {
                let mut said: Vec<Said> = texts(content.as_ref())?
                    .into_iter()
                    .map(Said::Text)
                    .collect();
                if let Some(refusal) = member(&members, "refusal") {
                    said.extend(non_empty(refusal.text()?).map(Said::Text));
                }
                if let Some(calls) = member(&members, "tool_calls") {
                    for call in calls.elements()? {
                        said.push(read_call(&call, object_in_text)?);
                    }
                }
                self.assistant_says(said);
                &["refusal", "tool_calls"]
            }
            _ => return Err(role.unsupported_value()),
        };
        for (key, node) in &members {
            let key = key.as_str();
            if !["role", "content"].contains(&key)
                && !known.contains(&key)
                && !hints::CHAT_MESSAGE.contains(&key)
            {
                return Err(node.unsupported());
            }
        }
        Ok(())
    }
}

fn asks_usage(options: &Node<'_>) -> Result<bool, Untranslatable> {
    match member(&options.members()?, "include_usage") {
        Some(usage) => usage.flag(),
        None => Ok(false),
    }
}

/// A content of texts alone.
fn texts(content: Option<&Node<'_>>) -> Result<Vec<String>, Untranslatable> {
    let place = content.map_or("", Node::place);
    let text = |part| match part {
        Part::Text(text) => Ok(text),
        Part::Image(_) | Part::Result { .. } => Err(Untranslatable::Unsupported {
            feature: format!("{place} with an image").into(),
        }),
    };
    parts(content)?.into_iter().map(text).collect()
}

fn parts(content: Option<&Node<'_>>) -> Result<Vec<Part>, Untranslatable> {
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    if content.is_text() {
        return Ok(non_empty(content.text()?)
            .map(Part::Text)
            .into_iter()
            .collect());
    }
    let mut parts = Vec::new();
    for node in content.elements()? {
        parts.extend(read_part(&node)?);
    }
    Ok(parts)
}

fn read_part(part: &Node<'_>) -> Result<Option<Part>, Untranslatable> {
    let members = part.members()?;
    let kind = part.need(member(&members, "type"), "type", "there")?;
    let value = |key: &str| part.need(member(&members, key), key, "there");
    match kind.text()?.as_str() {
        "text" => Ok(non_empty(value("text")?.text()?).map(Part::Text)),
        "refusal" => Ok(non_empty(value("refusal")?.text()?).map(Part::Text)),
        "image_url" => {
            let image = value("image_url")?;
            let url = image.need(member(&image.members()?, "url"), "url", "there")?;
            Ok(Some(Part::Image(read_image(&url)?)))
        }
        _ => Err(kind.unsupported_value()),
    }
}

fn read_image(url: &Node<'_>) -> Result<Image, Untranslatable> {
    let text = url.text()?;
    if let Some(inline) = text.strip_prefix("data:") {
        let (media, data) = inline
            .split_once(";base64,")
            .ok_or_else(|| url.malformed("a data URL in base64"))?;
        return Ok(Image::Inline {
            media: media.to_owned(),
            data: data.to_owned(),
        });
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Ok(Image::Url(text));
    }
    Err(url.malformed("an http, https or data URL"))
}

/// A call of a tool, with its arguments made an object by `arguments`.
pub(in crate::llm::translate) fn read_call(
    call: &Node<'_>,
    arguments: fn(&Node<'_>, &str) -> Result<String, Untranslatable>,
) -> Result<Said, Untranslatable> {
    let members = call.members()?;
    if let Some(kind) = member(&members, "type")
        && kind.text()? != "function"
    {
        return Err(kind.unsupported_value());
    }
    let id = call.need(member(&members, "id"), "id", "there")?;
    let function = call.need(member(&members, "function"), "function", "there")?;
    let inner = function.members()?;
    let name = function.need(member(&inner, "name"), "name", "there")?;
    let arguments = match member(&inner, "arguments") {
        Some(node) => arguments(&node, &node.text()?)?,
        None => "{}".to_owned(),
    };
    Ok(Said::Call {
        id: id.text()?,
        name: name.text()?,
        arguments,
    })
}

fn object_in_text(node: &Node<'_>, text: &str) -> Result<String, Untranslatable> {
    match text.trim() {
        "" => Ok("{}".to_owned()),
        object if is_object(object) => Ok(object.to_owned()),
        _ => Err(node.malformed("a JSON object in a string")),
    }
}

fn read_tool(tool: &Node<'_>) -> Result<Tool, Untranslatable> {
    let members = tool.members()?;
    let kind = tool.need(member(&members, "type"), "type", "there")?;
    if kind.text()? != "function" {
        return Err(kind.unsupported_value());
    }
    let function = tool.need(member(&members, "function"), "function", "there")?;
    let mut read = Tool {
        name: String::new(),
        description: None,
        schema: NO_ARGUMENTS.to_owned(),
        strict: None,
    };
    for (key, node) in function.members()? {
        match key.as_str() {
            "name" => read.name = node.text()?,
            "description" => read.description = Some(node.text()?),
            "parameters" => read.schema = node.raw().to_owned(),
            "strict" => read.strict = Some(node.flag()?),
            _ => return Err(node.unsupported()),
        }
    }
    Ok(read)
}

fn read_choice(choice: &Node<'_>) -> Result<Choice, Untranslatable> {
    if choice.is_text() {
        return match choice.text()?.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::Never),
            "required" => Ok(Choice::Any),
            _ => Err(choice.unsupported_value()),
        };
    }
    let members = choice.members()?;
    let kind = choice.need(member(&members, "type"), "type", "there")?;
    if kind.text()? != "function" {
        return Err(kind.unsupported_value());
    }
    let function = choice.need(member(&members, "function"), "function", "there")?;
    let name = function.need(member(&function.members()?, "name"), "name", "there")?;
    Ok(Choice::Named(name.text()?))
}

/// The schema of a response format. Any JSON at all cannot be asked of messages.
fn read_format(format: &Node<'_>) -> Result<Option<String>, Untranslatable> {
    let members = format.members()?;
    let kind = format.need(member(&members, "type"), "type", "there")?;
    match kind.text()?.as_str() {
        "text" => Ok(None),
        "json_schema" => {
            let named = format.need(member(&members, "json_schema"), "json_schema", "there")?;
            let schema = named.need(member(&named.members()?, "schema"), "schema", "there")?;
            Ok(Some(schema.raw().to_owned()))
        }
        _ => Err(kind.unsupported_value()),
    }
}

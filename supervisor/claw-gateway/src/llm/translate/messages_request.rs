//! Requests of Anthropic's messages.

use super::conversation::{
    Choice, Conversation, Image, Parallel, Part, Said, Target, Tool, Turn, non_empty, only_hint,
};
use super::hints;
use super::node::{Node, Untranslatable, member};
use super::writer::{Writer, array};
use crate::llm::wire::quoted;
use crate::llm::wire::{Delivery, UsageChunk};

/// The images that messages take, by Anthropic's page on vision.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

impl Conversation {
    /// Reads a request of messages.
    ///
    /// # Errors
    /// When it has what chat completions cannot say, or is malformed.
    pub fn read_messages(body: &str) -> Result<Self, Untranslatable> {
        let root = Node::root(body);
        let members = root.members()?;
        let mut read = Self::empty();
        for (key, node) in &members {
            read.take_messages_field(key, node)?;
        }
        let messages = root.need(member(&members, "messages"), "messages", "there")?;
        for message in messages.elements()? {
            read.take_message(&message)?;
        }
        Ok(read.settled())
    }

    fn take_messages_field(&mut self, key: &str, node: &Node<'_>) -> Result<(), Untranslatable> {
        match key {
            "messages" => {}
            "model" => self.model = node.text()?,
            "max_tokens" => self.limit = Some(node.number()?),
            "system" => self.system = texts(node)?,
            "stop_sequences" => {
                self.stop = node
                    .elements()?
                    .iter()
                    .map(Node::text)
                    .collect::<Result<_, _>>()?;
            }
            "temperature" => self.temperature = Some(node.fraction(1.0)?),
            "top_p" => self.top_p = Some(node.fraction(1.0)?),
            "stream" if node.flag()? => self.delivery = Delivery::Stream(UsageChunk::Wanted),
            "stream" => {}
            "tools" => {
                self.tools = node
                    .elements()?
                    .iter()
                    .map(read_tool)
                    .collect::<Result<_, _>>()?;
            }
            "tool_choice" => self.take_choice(node)?,
            "output_config" => {
                for (key, node) in node.members()? {
                    match key.as_str() {
                        "format" => self.schema = Some(read_format(&node)?),
                        // How much to spend on the answer, as `reasoning_effort` is.
                        "effort" => {}
                        _ => return Err(node.unsupported()),
                    }
                }
            }
            "output_format" => self.schema = Some(read_format(node)?),
            _ if hints::MESSAGES.contains(&key) => {}
            _ => return Err(node.unsupported()),
        }
        Ok(())
    }

    fn take_choice(&mut self, choice: &Node<'_>) -> Result<(), Untranslatable> {
        let members = choice.members()?;
        let kind = choice.need(member(&members, "type"), "type", "there")?;
        self.choice = match kind.text()?.as_str() {
            "auto" => Choice::Auto,
            "any" => Choice::Any,
            "none" => Choice::Never,
            "tool" => {
                let name = choice.need(member(&members, "name"), "name", "there")?;
                Choice::Named(name.text()?)
            }
            _ => return Err(kind.unsupported_value()),
        };
        if let Some(one) = member(&members, "disable_parallel_tool_use")
            && one.flag()?
        {
            self.parallel = Parallel::One;
        }
        Ok(())
    }

    fn take_message(&mut self, message: &Node<'_>) -> Result<(), Untranslatable> {
        let members = message.members()?;
        let role = message.need(member(&members, "role"), "role", "there")?;
        let content = message.need(member(&members, "content"), "content", "there")?;
        for (key, node) in &members {
            if !["role", "content"].contains(&key.as_str()) {
                return Err(node.unsupported());
            }
        }
        match role.text()?.as_str() {
            "user" => self.user_says(read_blocks(&content, Part::Text, read_user_block)?),
            "assistant" => {
                self.assistant_says(read_blocks(&content, Said::Text, read_said_block)?);
            }
            _ => return Err(role.unsupported_value()),
        }
        Ok(())
    }

    /// Writes a request of messages.
    ///
    /// # Errors
    /// When it has what they cannot say.
    pub fn write_messages(&self, target: &Target<'_>) -> Result<String, Untranslatable> {
        let mut messages = Vec::new();
        for turn in &self.turns {
            let (role, content) = match turn {
                Turn::User(parts) => ("user", write_parts(parts)?),
                Turn::Assistant(said) => ("assistant", array(said.iter().map(write_said))),
            };
            messages.push(
                Writer::new()
                    .text("role", role)
                    .raw("content", &content)
                    .end(),
            );
        }
        let limit = target.limit.or(self.limit).unwrap_or(target.default_limit);
        let mut request = Writer::new()
            .text("model", target.model)
            .raw("max_tokens", &limit.to_string());
        if !self.system.is_empty() {
            request = request.raw("system", &texts_or_blocks(&self.system));
        }
        request = request.raw("messages", &array(messages));
        if !self.tools.is_empty() {
            request = request.raw("tools", &array(self.tools.iter().map(write_tool)));
        }
        if self.choice != Choice::Auto || self.parallel == Parallel::One {
            request = request.raw("tool_choice", &write_choice(&self.choice, self.parallel));
        }
        if !self.stop.is_empty() {
            let stops = array(self.stop.iter().map(|text| quoted(text)));
            request = request.raw("stop_sequences", &stops);
        }
        request = request
            .some("temperature", self.temperature.as_deref())
            .some("top_p", self.top_p.as_deref());
        if let Some(schema) = &self.schema {
            let format = Writer::new()
                .text("type", "json_schema")
                .raw("schema", schema);
            let config = Writer::new().raw("format", &format.end());
            request = request.raw("output_config", &config.end());
        }
        if let Delivery::Stream(_) = self.delivery {
            request = request.raw("stream", "true");
        }
        Ok(request.end())
    }
}

/// A block of content that is no text.
struct Block<'n, 'a> {
    node: &'n Node<'a>,
    kind: &'n str,
    members: &'n [(String, Node<'a>)],
}

impl Block<'_, '_> {
    fn unsupported(&self) -> Untranslatable {
        member(self.members, "type")
            .map_or_else(|| self.node.unsupported(), |kind| kind.unsupported_value())
    }
}

/// A content as its parts: a text alone is one of them.
fn read_blocks<T>(
    content: &Node<'_>,
    of_text: fn(String) -> T,
    read: fn(&Block<'_, '_>) -> Result<T, Untranslatable>,
) -> Result<Vec<T>, Untranslatable> {
    if content.is_text() {
        return Ok(non_empty(content.text()?)
            .map(of_text)
            .into_iter()
            .collect());
    }
    let mut blocks = Vec::new();
    for block in content.elements()? {
        let members = block.members()?;
        let kind = block
            .need(member(&members, "type"), "type", "there")?
            .text()?;
        if hints::BLOCKS.contains(&kind.as_str()) {
            continue;
        }
        if kind == "text" {
            let text = block.need(member(&members, "text"), "text", "there")?;
            only(&members, &["text"])?;
            blocks.extend(non_empty(text.text()?).map(of_text));
            continue;
        }
        blocks.push(read(&Block {
            node: &block,
            kind: &kind,
            members: &members,
        })?);
    }
    Ok(blocks)
}

fn read_user_block(block: &Block<'_, '_>) -> Result<Part, Untranslatable> {
    let value = |key: &str| block.node.need(member(block.members, key), key, "there");
    match block.kind {
        "image" => {
            only(block.members, &["source"])?;
            read_image(&value("source")?).map(Part::Image)
        }
        "tool_result" => {
            only(block.members, &["tool_use_id", "content"])?;
            let texts = match member(block.members, "content") {
                Some(content) => texts(&content)?,
                None => Vec::new(),
            };
            let call = value("tool_use_id")?.text()?;
            Ok(Part::Result { call, texts })
        }
        _ => Err(block.unsupported()),
    }
}

fn read_said_block(block: &Block<'_, '_>) -> Result<Said, Untranslatable> {
    if block.kind == "tool_use" {
        only(block.members, &["id", "name", "input"])?;
        return read_call(block.node, block.members);
    }
    Err(block.unsupported())
}

/// A call of a tool, in a request as in an answer.
pub(super) fn read_call(
    block: &Node<'_>,
    members: &[(String, Node<'_>)],
) -> Result<Said, Untranslatable> {
    let value = |key: &str| block.need(member(members, key), key, "there");
    let input = value("input")?;
    // It is an object, or an error tells its place.
    input.members()?;
    Ok(Said::Call {
        id: value("id")?.text()?,
        name: value("name")?.text()?,
        arguments: input.raw().to_owned(),
    })
}

fn read_image(source: &Node<'_>) -> Result<Image, Untranslatable> {
    let members = source.members()?;
    let value = |key: &str| source.need(member(&members, key), key, "there");
    let kind = value("type")?;
    match kind.text()?.as_str() {
        "base64" => Ok(Image::Inline {
            media: value("media_type")?.text()?,
            data: value("data")?.text()?,
        }),
        "url" => Ok(Image::Url(value("url")?.text()?)),
        _ => Err(kind.unsupported_value()),
    }
}

fn texts(content: &Node<'_>) -> Result<Vec<String>, Untranslatable> {
    read_blocks(content, |text| text, |block| Err(block.unsupported()))
}

fn read_tool(tool: &Node<'_>) -> Result<Tool, Untranslatable> {
    let mut read = Tool {
        name: String::new(),
        description: None,
        schema: String::new(),
        strict: None,
    };
    for (key, node) in tool.members()? {
        match key.as_str() {
            "type" if node.text()? == "custom" => {}
            "type" => return Err(node.unsupported_value()),
            "name" => read.name = node.text()?,
            "description" => read.description = Some(node.text()?),
            "input_schema" => read.schema = node.raw().to_owned(),
            "strict" => read.strict = Some(node.flag()?),
            _ => only_hint(&key, &node)?,
        }
    }
    if read.schema.is_empty() {
        return Err(tool.malformed("a tool with an `input_schema`"));
    }
    Ok(read)
}

fn read_format(format: &Node<'_>) -> Result<String, Untranslatable> {
    let members = format.members()?;
    let kind = format.need(member(&members, "type"), "type", "there")?;
    if kind.text()? != "json_schema" {
        return Err(kind.unsupported_value());
    }
    let schema = format.need(member(&members, "schema"), "schema", "there")?;
    Ok(schema.raw().to_owned())
}

fn only(members: &[(String, Node<'_>)], known: &[&str]) -> Result<(), Untranslatable> {
    for (key, node) in members {
        if key != "type" && !known.contains(&key.as_str()) {
            only_hint(key, node)?;
        }
    }
    Ok(())
}

fn write_parts(parts: &[Part]) -> Result<String, Untranslatable> {
    let blocks: Result<Vec<String>, Untranslatable> = parts.iter().map(write_part).collect();
    Ok(array(blocks?))
}

fn write_part(part: &Part) -> Result<String, Untranslatable> {
    match part {
        Part::Text(text) => Ok(text_block(text)),
        Part::Image(Image::Url(url)) => {
            let source = Writer::new().text("type", "url").text("url", url);
            Ok(Writer::new()
                .text("type", "image")
                .raw("source", &source.end())
                .end())
        }
        Part::Image(Image::Inline { media, data }) => {
            if !IMAGES.contains(&media.as_str()) {
                let shown: String = media.chars().take(64).collect();
                return Err(Untranslatable::Unsupported {
                    feature: format!("image_url of type {shown}").into(),
                });
            }
            let source = Writer::new()
                .text("type", "base64")
                .text("media_type", media)
                .text("data", data);
            Ok(Writer::new()
                .text("type", "image")
                .raw("source", &source.end())
                .end())
        }
        Part::Result { call, texts } => Ok(Writer::new()
            .text("type", "tool_result")
            .text("tool_use_id", call)
            .raw("content", &texts_or_blocks(texts))
            .end()),
    }
}

pub(super) fn write_said(said: &Said) -> String {
    match said {
        Said::Text(text) => text_block(text),
        Said::Call {
            id,
            name,
            arguments,
        } => Writer::new()
            .text("type", "tool_use")
            .text("id", id)
            .text("name", name)
            .raw("input", arguments)
            .end(),
    }
}

fn texts_or_blocks(texts: &[String]) -> String {
    match texts {
        [text] => quoted(text),
        texts => array(texts.iter().map(|text| text_block(text))),
    }
}

fn text_block(text: &str) -> String {
    Writer::new().text("type", "text").text("text", text).end()
}

fn write_tool(tool: &Tool) -> String {
    let description = tool.description.as_deref().map(quoted);
    let strict = tool.strict.map(|strict| strict.to_string());
    Writer::new()
        .text("name", &tool.name)
        .some("description", description.as_deref())
        .raw("input_schema", &tool.schema)
        .some("strict", strict.as_deref())
        .end()
}

fn write_choice(choice: &Choice, parallel: Parallel) -> String {
    let written = match choice {
        Choice::Auto => Writer::new().text("type", "auto"),
        Choice::Never => Writer::new().text("type", "none"),
        Choice::Any => Writer::new().text("type", "any"),
        Choice::Named(name) => Writer::new().text("type", "tool").text("name", name),
    };
    match parallel {
        Parallel::Allowed => written.end(),
        Parallel::One => written.raw("disable_parallel_tool_use", "true").end(),
    }
}

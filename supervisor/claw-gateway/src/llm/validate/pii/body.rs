//! Personal data in the bodies of requests and answers.

use super::{Action, Checked, Found, PiiFilter};
use crate::llm::wire::{Api, RawObject, elements, typed};

/// Members whose texts are what is said. Ids, names and the bytes of media are none.
const TEXTS: [&str; 9] = [
    "content",
    "input",
    "instructions",
    "output",
    "reasoning",
    "reasoning_content",
    "refusal",
    "system",
    "text",
];

/// Deeper than any text of a request is.
const MAX_DEPTH: usize = 32;

/// Which texts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that are said, also where a tool is called with one of them.
    Said,
    /// The same without calls of tools: another text in them would be another call.
    Shown,
    /// Those that are said, what tools are called with, and thought that is not signed: a provider
    /// refuses signed thought with another text.
    Sent,
    /// Those that are said, what tools are called with, and all thought.
    All,
}

impl Reach {
    /// Of a request on its way.
    const fn of_request(action: Action) -> Self {
        match action {
            Action::Redact => Self::Sent,
            Action::Block | Action::Warn => Self::All,
        }
    }

    /// Of an answer on its way.
    pub(super) const fn of_answer(action: Action) -> Self {
        match action {
            Action::Redact => Self::Shown,
            Action::Block | Action::Warn => Self::All,
        }
    }

    /// Whether it has all that tools are called with.
    pub(super) const fn has_calls(self) -> bool {
        match self {
            Self::Sent | Self::All => true,
            Self::Said | Self::Shown => false,
        }
    }
}

/// Which members of a value are texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    /// Those with the name of one.
    Named,
    /// Every one: what a tool is called with has the names that the tool gives it.
    Every,
}

/// A part of a body could not be read: it names a member twice, nests too deep, or is no text where
/// it should be one. A reader with other rules might find a text there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Looks at the texts of a request, and at what tools were called with before it. Each is a text of
/// its own. Signed thought is not redacted, because its provider refuses it then.
#[must_use]
pub fn request(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    let reach = Reach::of_request(filter.action);
    check(filter, body, request_roots(api), reach)
}

/// Looks at all that was said in a request, for whoever keeps it.
#[must_use]
pub fn kept_request(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    check(filter, body, request_roots(api), Reach::All)
}

/// The texts of a request.
///
/// # Errors
/// When not all of them can be read.
pub fn request_texts(api: Api, body: &str) -> Result<Vec<String>, Unreadable> {
    let object = RawObject::read(body).map_err(|_twice_or_none| Unreadable)?;
    let mut texts = Vec::new();
    for root in request_roots(api) {
        let mut keep = |text: &str| {
            texts.push(text.to_owned());
            None
        };
        if let Some(value) = object.get(root) {
            walk((root, value), (Reach::Said, Members::Named, 0), &mut keep)?;
        }
    }
    Ok(texts)
}

const fn request_roots(api: Api) -> &'static [&'static str] {
    match api {
        Api::ChatCompletions => &["messages"],
        Api::Responses => &["input", "instructions"],
        Api::Embeddings => &["input"],
        Api::Messages => &["messages", "system"],
    }
}

/// Looks at the texts of an answer. Calls of tools are not redacted: their arguments are for a
/// program, and another text in their place would be another call. They are looked at where nothing
/// is changed.
#[must_use]
pub fn answer(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    let reach = Reach::of_answer(filter.action);
    check(filter, body, answer_roots(api), reach)
}

/// Looks at all that was said in an answer, for whoever keeps it.
#[must_use]
pub fn kept_answer(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    check(filter, body, answer_roots(api), Reach::All)
}

const fn answer_roots(api: Api) -> &'static [&'static str] {
    match api {
        Api::ChatCompletions => &["choices"],
        Api::Responses => &["output"],
        Api::Embeddings => &[],
        Api::Messages => &["content"],
    }
}

fn check(filter: &PiiFilter, body: &str, roots: &[&str], reach: Reach) -> Checked {
    let mut found = Found::default();
    let changed = changed(filter, body, (roots, reach), &mut found);
    match (filter.action, changed) {
        (Action::Redact | Action::Block, Err(Unreadable)) => Checked::Unreadable,
        (_, _) if found.is_empty() => Checked::Clean,
        (Action::Redact, Ok(changed)) => Checked::Redacted {
            text: changed.unwrap_or_else(|| body.to_owned()),
            found,
        },
        (Action::Block, Ok(_)) => Checked::Blocked(found),
        (Action::Warn, Ok(_) | Err(Unreadable)) => Checked::Warned(found),
    }
}

fn changed(
    filter: &PiiFilter,
    body: &str,
    (roots, reach): (&[&str], Reach),
    found: &mut Found,
) -> Result<Option<String>, Unreadable> {
    let object = RawObject::read(body).map_err(|_twice_or_none| Unreadable)?;
    let mut changes: Vec<(&str, String)> = Vec::new();
    for root in roots {
        if let Some(value) = object.get(root)
            && let Some(changed) = redacted(filter, (root, value), reach, found)?
        {
            changes.push((root, changed));
        }
    }
    Ok((!changes.is_empty()).then(|| object.with(&changes)))
}

/// The value with its texts redacted; `None` when nothing is in them.
pub(super) fn redacted(
    filter: &PiiFilter,
    (key, value): (&str, &str),
    reach: Reach,
    found: &mut Found,
) -> Result<Option<String>, Unreadable> {
    let mut redact = |text: &str| {
        let (written, in_text) = filter.redacted(text);
        found.add_all(&in_text);
        (!in_text.is_empty()).then_some(written)
    };
    let members = members_of(key, Members::Named, reach);
    walk((key, value), (reach, members, 0), &mut redact)
}

/// Whether an item, a block or a custom call of chat completions is the call of a tool.
fn is_call(object: &RawObject<'_>) -> bool {
    let kind: Option<String> = object.get("type").and_then(typed);
    kind.is_some_and(|kind| {
        kind.ends_with("tool_use") || kind.ends_with("_call") || kind == "custom"
    })
}

/// Which members of a member are texts.
fn members_of(key: &str, around: Members, reach: Reach) -> Members {
    match around {
        Members::Named if key == "arguments" && reach.has_calls() => Members::Every,
        Members::Named | Members::Every => around,
    }
}

/// Shows each text of a value, and gives the value with those that are changed.
fn walk(
    (key, value): (&str, &str),
    (reach, members, depth): (Reach, Members, usize),
    change: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Unreadable> {
    if depth > MAX_DEPTH {
        return Err(Unreadable);
    }
    match value.as_bytes().first() {
        Some(b'"') if members == Members::Every || is_text(key, reach) => {
            let text: String = typed(value).ok_or(Unreadable)?;
            let changed = if members == Members::Every {
                in_argument(&text, (reach, depth), change)?
            } else {
                change(&text)
            };
            Ok(changed.map(|written| serde_json::Value::from(written).to_string()))
        }
        // A number may be that of a card. What stands for it is a text.
        Some(b'-' | b'0'..=b'9') if members == Members::Every => {
            Ok(change(value).map(|written| serde_json::Value::from(written).to_string()))
        }
        Some(b'{') => walk_object(value, (reach, members, depth), change),
        Some(b'[') => {
            let mut changes = 0;
            let mut written = Vec::new();
            for element in elements(value).ok_or(Unreadable)? {
                let changed = walk((key, element), (reach, members, depth + 1), &mut *change)?;
                changes += usize::from(changed.is_some());
                written.push(changed.unwrap_or_else(|| element.to_owned()));
            }
            Ok((changes > 0).then(|| format!("[{}]", written.join(","))))
        }
        Some(_) | None => Ok(None),
    }
}

fn walk_object(
    value: &str,
    (reach, members, depth): (Reach, Members, usize),
    change: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Unreadable> {
    let object = RawObject::read(value).map_err(|_twice| Unreadable)?;
    let is_call = is_call(&object);
    if reach == Reach::Shown && is_call {
        return Ok(None);
    }
    let is_signed = object.get("signature").is_some();
    let mut changes: Vec<(&str, String)> = Vec::new();
    for (key, value) in object.iter() {
        if reach == Reach::Sent && is_signed && key == "thinking" {
            continue;
        }
        let members = if is_call && key == "input" && reach.has_calls() {
            Members::Every
        } else {
            members_of(key, members, reach)
        };
        if let Some(changed) = walk((key, value), (reach, members, depth + 1), &mut *change)? {
            changes.push((key, changed));
        }
    }
    Ok((!changes.is_empty()).then(|| object.with(&changes)))
}

/// A text in what a tool is called with, which may be JSON itself and stays so. What is no JSON, as
/// models write it at times, is a text like any other.
fn in_argument(
    text: &str,
    (reach, depth): (Reach, usize),
    change: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Unreadable> {
    let inner = text.trim();
    let is_json = match inner.as_bytes().first() {
        Some(b'{') => RawObject::read(inner).is_ok(),
        Some(b'[') => elements(inner).is_some(),
        Some(_) | None => false,
    };
    if is_json {
        walk(("", inner), (reach, Members::Every, depth + 1), change)
    } else {
        Ok(change(text))
    }
}

/// Whether a member of this name is a text.
fn is_text(key: &str, reach: Reach) -> bool {
    TEXTS.contains(&key) || (key == "thinking" && reach.has_calls())
}

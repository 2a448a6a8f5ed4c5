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

/// What happens to calls of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// Their texts are looked at like any other.
    Read,
    /// They stay as they are: another text in them would be another call.
    Kept,
}

/// A part of a body could not be read: it names a member twice, nests too deep, or is no text where
/// it should be one. A reader with other rules might find a text there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Looks at the texts of a request. Each is a text of its own.
#[must_use]
pub fn request(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    check(filter, body, request_roots(api), Calls::Read)
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
            walk((root, value), (Calls::Read, 0), &mut keep)?;
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

/// Looks at the texts of an answer. Calls of tools are not looked at: their arguments are for a
/// program, and another text in their place would be another call.
#[must_use]
pub fn answer(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    let roots: &[&str] = match api {
        Api::ChatCompletions => &["choices"],
        Api::Responses => &["output"],
        Api::Embeddings => &[],
        Api::Messages => &["content"],
    };
    check(filter, body, roots, Calls::Kept)
}

fn check(filter: &PiiFilter, body: &str, roots: &[&str], calls: Calls) -> Checked {
    let mut found = Found::default();
    let changed = changed(filter, body, (roots, calls), &mut found);
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
    (roots, calls): (&[&str], Calls),
    found: &mut Found,
) -> Result<Option<String>, Unreadable> {
    let object = RawObject::read(body).map_err(|_twice_or_none| Unreadable)?;
    let mut changes: Vec<(&str, String)> = Vec::new();
    for root in roots {
        if let Some(value) = object.get(root)
            && let Some(changed) = redacted(filter, (root, value), calls, found)?
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
    calls: Calls,
    found: &mut Found,
) -> Result<Option<String>, Unreadable> {
    let mut redact = |text: &str| {
        let (written, in_text) = filter.redacted(text);
        found.add_all(&in_text);
        (!in_text.is_empty()).then_some(written)
    };
    walk((key, value), (calls, 0), &mut redact)
}

/// Whether an item, a block or a custom call of chat completions is the call of a tool.
fn is_call(object: &RawObject<'_>) -> bool {
    let kind: Option<String> = object.get("type").and_then(typed);
    kind.is_some_and(|kind| {
        kind.ends_with("tool_use") || kind.ends_with("_call") || kind == "custom"
    })
}

/// Shows each text of a value, and gives the value with those that are changed.
fn walk(
    (key, value): (&str, &str),
    (calls, depth): (Calls, usize),
    change: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Option<String>, Unreadable> {
    if depth > MAX_DEPTH {
        return Err(Unreadable);
    }
    match value.as_bytes().first() {
        Some(b'"') if TEXTS.contains(&key) => {
            let text: String = typed(value).ok_or(Unreadable)?;
            Ok(change(&text).map(|written| serde_json::Value::from(written).to_string()))
        }
        Some(b'{') => {
            let object = RawObject::read(value).map_err(|_twice| Unreadable)?;
            if calls == Calls::Kept && is_call(&object) {
                return Ok(None);
            }
            let mut changes: Vec<(&str, String)> = Vec::new();
            for (key, value) in object.iter() {
                if let Some(changed) = walk((key, value), (calls, depth + 1), &mut *change)? {
                    changes.push((key, changed));
                }
            }
            Ok((!changes.is_empty()).then(|| object.with(&changes)))
        }
        Some(b'[') => {
            let mut changes = 0;
            let mut written = Vec::new();
            for element in elements(value).ok_or(Unreadable)? {
                let changed = walk((key, element), (calls, depth + 1), &mut *change)?;
                changes += usize::from(changed.is_some());
                written.push(changed.unwrap_or_else(|| element.to_owned()));
            }
            Ok((changes > 0).then(|| format!("[{}]", written.join(","))))
        }
        Some(_) | None => Ok(None),
    }
}

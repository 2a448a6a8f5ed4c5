//! Personal data in the bodies of requests and answers.

use serde_json::value::RawValue;

use super::{Action, Checked, Found, PiiFilter, PiiText};
use crate::llm::wire::{Api, RawObject};

/// Members whose texts are what is said. Ids, names and the bytes of media are none.
const TEXTS: [&str; 8] = [
    "content",
    "input",
    "instructions",
    "output",
    "reasoning_content",
    "refusal",
    "system",
    "text",
];

/// Deeper than any text of a request is.
const MAX_DEPTH: usize = 16;

/// What happens to calls of tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// Their texts are looked at like any other.
    Read,
    /// They stay as they are: another text in them would be another call.
    Kept,
}

/// Looks at the texts of a request. Each is a text of its own.
#[must_use]
pub fn request(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    let roots: &[&str] = match api {
        Api::ChatCompletions => &["messages"],
        Api::Responses => &["input", "instructions"],
        Api::Embeddings => &["input"],
        Api::Messages => &["messages", "system"],
    };
    check(filter, body, roots, Calls::Read)
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
    let changed = RawObject::read(body).ok().and_then(|object| {
        let changes: Vec<(&str, String)> = roots
            .iter()
            .filter_map(|root| {
                let value = object.get(root)?;
                Some((*root, redacted(filter, (root, value), calls, &mut found)?))
            })
            .collect();
        (!changes.is_empty()).then(|| object.with(&changes))
    });
    match filter.action {
        _ if found.is_empty() => Checked::Clean,
        Action::Redact => Checked::Redacted {
            text: changed.unwrap_or_else(|| body.to_owned()),
            found,
        },
        Action::Block => Checked::Blocked(found),
        Action::Warn => Checked::Warned(found),
    }
}

/// The value with its texts redacted; `None` when nothing is in them.
pub(super) fn redacted(
    filter: &PiiFilter,
    (key, value): (&str, &str),
    calls: Calls,
    found: &mut Found,
) -> Option<String> {
    walk(filter, (key, value), (found, calls), 0)
}

/// Whether an item, a block or a custom call of chat completions is the call of a tool.
fn is_call(object: &RawObject<'_>) -> bool {
    let kind: Option<String> = object
        .get("type")
        .and_then(|kind| serde_json::from_str(kind).ok());
    kind.is_some_and(|kind| {
        kind.ends_with("tool_use") || kind.ends_with("_call") || kind == "custom"
    })
}

fn walk(
    filter: &PiiFilter,
    (key, value): (&str, &str),
    (found, calls): (&mut Found, Calls),
    depth: usize,
) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value.as_bytes().first()? {
        b'"' if TEXTS.contains(&key) => {
            let text: String = serde_json::from_str(value).ok()?;
            let mut reading = PiiText::new(filter.kinds.clone());
            let mut written = reading.push(&text);
            let (rest, in_text) = reading.finish();
            if in_text.is_empty() {
                return None;
            }
            found.add_all(&in_text);
            written.push_str(&rest);
            Some(serde_json::Value::from(written).to_string())
        }
        b'{' => {
            let object = RawObject::read(value).ok()?;
            if calls == Calls::Kept && is_call(&object) {
                return None;
            }
            let changes: Vec<(String, String)> = object
                .iter()
                .filter_map(|(key, value)| {
                    let changed = walk(filter, (key, value), (&mut *found, calls), depth + 1)?;
                    Some((key.to_owned(), changed))
                })
                .collect();
            let changes: Vec<(&str, String)> = changes
                .iter()
                .map(|(key, value)| (key.as_str(), value.clone()))
                .collect();
            (!changes.is_empty()).then(|| object.with(&changes))
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            let mut changes = 0;
            let written: Vec<String> = elements
                .into_iter()
                .map(|element| {
                    let changed = walk(
                        filter,
                        (key, element.get()),
                        (&mut *found, calls),
                        depth + 1,
                    );
                    changes += usize::from(changed.is_some());
                    changed.unwrap_or_else(|| element.get().to_owned())
                })
                .collect();
            (changes > 0).then(|| format!("[{}]", written.join(",")))
        }
        _ => None,
    }
}

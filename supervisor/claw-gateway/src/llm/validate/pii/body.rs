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

/// Looks at the texts of a request. Each is a text of its own.
#[must_use]
pub fn request(filter: &PiiFilter, api: Api, body: &str) -> Checked {
    let roots: &[&str] = match api {
        Api::ChatCompletions => &["messages"],
        Api::Responses => &["input", "instructions"],
        Api::Embeddings => &["input"],
        Api::Messages => &["messages", "system"],
    };
    check(filter, body, roots)
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
    check(filter, body, roots)
}

fn check(filter: &PiiFilter, body: &str, roots: &[&str]) -> Checked {
    let mut found = Found::default();
    let changed = RawObject::read(body).ok().and_then(|object| {
        let changes: Vec<(&str, String)> = roots
            .iter()
            .filter_map(|root| {
                let value = object.get(root)?;
                Some((*root, redacted(filter, root, value, &mut found)?))
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
    key: &str,
    value: &str,
    found: &mut Found,
) -> Option<String> {
    walk(filter, (key, value), found, 0)
}

fn walk(
    filter: &PiiFilter,
    (key, value): (&str, &str),
    found: &mut Found,
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
            let changes: Vec<(String, String)> = object
                .iter()
                .filter_map(|(key, value)| {
                    let changed = walk(filter, (key, value), found, depth + 1)?;
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
                    let changed = walk(filter, (key, element.get()), found, depth + 1);
                    changes += usize::from(changed.is_some());
                    changed.unwrap_or_else(|| element.get().to_owned())
                })
                .collect();
            (changes > 0).then(|| format!("[{}]", written.join(",")))
        }
        _ => None,
    }
}

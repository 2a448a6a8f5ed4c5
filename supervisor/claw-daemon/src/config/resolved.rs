//! The running configuration as JSON, for people and programs that may not see secrets.

use serde_json::{Map, Value as Json, json};

use super::free::json_scalar;
use super::supervisor::SupervisorConfig;
use super::tree::{Entry, Node, Span, Value};

/// What a masked value looks like.
const MASK: &str = "***";
/// Parts of names whose values are not shown.
const TELLING: [&str; 9] = [
    "token",
    "secret",
    "password",
    "passwd",
    "apikey",
    "api_key",
    "private_key",
    "credential",
    "webhook",
];

/// The merged file with the supervisor's settings filled in. Variables stand as `${NAME}`, and
/// values under telling names as `***`.
pub(super) fn text(root: &Node, supervisor: &SupervisorConfig) -> String {
    let mut json = masked(root, "");
    if let Json::Object(map) = &mut json {
        map.remove("defaults");
        map.retain(|key, _| !key.starts_with("x-"));
        map.insert("supervisor".to_owned(), json!(supervisor));
    }
    format!("{json:#}\n")
}

fn masked(node: &Node, key: &str) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Text(scalar) if scalar.inserted.is_some() => Json::String(scalar.shown().to_owned()),
        Value::Text(_) if telling(key) => Json::String(MASK.to_owned()),
        Value::Text(scalar) => match json_scalar(scalar) {
            Ok(Json::String(text)) => Json::String(without_password(&text)),
            Ok(other) => other,
            Err(_) => Json::String(scalar.text.clone()),
        },
        Value::List(items) => items.iter().map(|item| masked(item, key)).collect(),
        Value::Map(map) => {
            let entry = |entry: &Entry| (entry.key.clone(), masked(&entry.node, &entry.key));
            Json::Object(map.entries.iter().map(entry).collect::<Map<_, _>>())
        }
    }
}

/// Names with a telling part whose values are shown all the same: `secrets: [NAME]` holds names, and
/// the others count tokens of language models.
const TOLD: [&str; 3] = ["secrets", "llm_tokens_per_hour", "image_tokens"];

/// Whether what is called so is a secret.
pub(super) fn telling(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    !TOLD.contains(&key.as_str())
        && (key.ends_with("_key") || TELLING.iter().any(|part| key.contains(part)))
}

/// Where secrets are written out in a tree whose variables are not put in yet.
pub(super) fn written_secrets(node: &Node) -> Vec<Span> {
    let mut found = Vec::new();
    collect(node, "", &mut found);
    found
}

fn collect(node: &Node, key: &str, found: &mut Vec<Span>) {
    match &node.value {
        Value::Null => {}
        Value::Text(scalar) => {
            let text = scalar.text.as_str();
            let in_url = text.contains("://") && text.contains('@');
            let secret = telling(key) || text.starts_with("sk-") || in_url;
            if secret && !text.starts_with('$') {
                found.push(node.span);
            }
        }
        Value::List(items) => items.iter().for_each(|item| collect(item, key, found)),
        Value::Map(map) => {
            let entries = map.entries.iter();
            entries.for_each(|entry| collect(&entry.node, &entry.key, found));
        }
    }
}

/// `scheme://user:password@host` without its password.
fn without_password(text: &str) -> String {
    let masked = || {
        let (scheme, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user, host) = authority.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        let after = &rest[authority.len()..];
        Some(format!("{scheme}://{name}:{MASK}@{host}{after}"))
    };
    masked().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        for (text, expected) in [
            ("postgres://u:p@db/x", "postgres://u:***@db/x"),
            ("amqp://u:p@ss@mq", "amqp://u:***@mq"),
            ("https://example.com/a@b:c", "https://example.com/a@b:c"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_password(text), expected);
        }
    }
}

//! The request for a better answer.

use serde_json::json;

use super::Violation;
use crate::llm::wire::{Api, RawObject, Request};

/// The body of a request that asks once more: the same one, with the answer and a message that names
/// what is wrong with it. `None` for embeddings, which are no conversation.
#[must_use]
pub fn repair(request: &Request, answer: &str, violations: &[Violation]) -> Option<String> {
    let field = match request.api {
        Api::ChatCompletions | Api::Messages => "messages",
        Api::Responses => "input",
        Api::Embeddings => return None,
    };
    let object = RawObject::read(request.body()).ok()?;
    let before = match object.get(field) {
        // The short form of one turn of the user.
        Some(text) if text.starts_with('"') => format!(r#"{{"role":"user","content":{text}}}"#),
        Some(turns) => turns
            .strip_prefix('[')?
            .strip_suffix(']')?
            .trim()
            .to_owned(),
        None => String::new(),
    };
    let mut turns = Vec::new();
    if !before.is_empty() {
        turns.push(before);
    }
    // Anthropic refuses a turn without text.
    if !answer.trim().is_empty() {
        turns.push(json!({"role": "assistant", "content": answer}).to_string());
    }
    turns.push(json!({"role": "user", "content": demand(violations)}).to_string());
    Some(object.with(&[(field, format!("[{}]", turns.join(",")))]))
}

fn demand(violations: &[Violation]) -> String {
    let wrong: Vec<String> = violations
        .iter()
        .map(|violation| format!("- {violation}"))
        .collect();
    format!(
        "Your answer does not follow the JSON schema that is required of it. Answer again with the \
         corrected JSON alone, without any other text. What is wrong, each with its place as a JSON \
         pointer:\n{}",
        wrong.join("\n")
    )
}

//! What no request may ask for, whatever its budget.

use super::object::{RawObject, elements};
use super::request::{text_of, wrong};
use super::{Api, BadRequest};

/// Refuses a request that asks for what the supervisor could not count, or what only it chooses.
///
/// # Errors
/// With the field at fault.
pub(super) fn refuse(api: Api, object: &RawObject<'_>) -> Result<(), BadRequest> {
    other_case(object, "")?;
    chosen(object)?;
    if api == Api::Messages {
        compaction(object)?;
    }
    uncounted(api, object)
}

/// Fields that decide what is counted and charged, at the top of a request and in its messages,
/// their parts and its tools.
const DECIDING: [&str; 51] = [
    "audio",
    "background",
    "container",
    "content",
    "content_policy_fallbacks",
    "context_management",
    "context_window_fallbacks",
    "conversation",
    "edits",
    "encrypted_content",
    "fallbacks",
    "file_id",
    "functions",
    "include_usage",
    "inference_geo",
    "input",
    "instructions",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "max_tool_calls",
    "max_uses",
    "mcp_servers",
    "messages",
    "modalities",
    "model",
    "models",
    "n",
    "output",
    "output_config",
    "output_format",
    "plugins",
    "prediction",
    "preset",
    "previous_response_id",
    "prompt",
    "provider",
    "refusal",
    "response_format",
    "route",
    "search_parameters",
    "service_tier",
    "source",
    "speed",
    "stream",
    "stream_options",
    "system",
    "text",
    "tools",
    "type",
    "web_search_options",
];

/// Refuses a field that decides and is not in lower case; `place` is before its name.
pub(super) fn other_case(object: &RawObject<'_>, place: &str) -> Result<(), BadRequest> {
    match object.in_other_case(&DECIDING) {
        Some(key) => Err(BadRequest::Case {
            field: format!("{place}{key}").into(),
        }),
        None => Ok(()),
    }
}

/// Fields by which gateways before a provider choose another model, who serves it, or a paid
/// extra: OpenRouter's reference of chat completions, LiteLLM's page on fallbacks, and xAI's on its
/// live search.
const CHOSEN: [&str; 9] = [
    "content_policy_fallbacks",
    "context_window_fallbacks",
    "fallbacks",
    "models",
    "plugins",
    "preset",
    "provider",
    "route",
    "search_parameters",
];

fn chosen(object: &RawObject<'_>) -> Result<(), BadRequest> {
    let mut fields = CHOSEN.into_iter();
    match fields.find(|field| object.get(field).is_some()) {
        Some(field) => Err(BadRequest::Chosen { field }),
        None => Ok(()),
    }
}

/// Anthropic's usage leaves the summary of a compaction out of its totals (its page on compaction);
/// only what clears parts of the prompt is known to add nothing.
fn compaction(object: &RawObject<'_>) -> Result<(), BadRequest> {
    const FIELD: &str = "context_management";
    let Some(value) = object.get(FIELD) else {
        return Ok(());
    };
    let read = |value| RawObject::read(value).map_err(|_malformed| wrong(FIELD, "an object"));
    let management = read(value)?;
    other_case(&management, "context_management.")?;
    let Some(edits) = management.get("edits") else {
        return Ok(());
    };
    let edits = elements(edits).ok_or_else(|| wrong(FIELD, "an object with an array of edits"))?;
    for edit in edits {
        let edit = read(edit)?;
        other_case(&edit, "context_management.edits.")?;
        let kind = text_of(&edit, "type")?.unwrap_or_default();
        if !kind.starts_with("clear_") {
            return Err(BadRequest::Uncounted {
                field: FIELD.into(),
            });
        }
    }
    Ok(())
}

/// Prices that no usage tells: `speed` and `inference_geo` multiply those of Anthropic, sound has
/// its own tokens, and an answer in the background comes without its usage.
fn uncounted(api: Api, object: &RawObject<'_>) -> Result<(), BadRequest> {
    let uncounted: &[(&str, &[&str])] = match api {
        Api::ChatCompletions => &[("modalities", &["[\"text\"]"]), ("audio", &[])],
        Api::Responses => &[("background", &["false"])],
        Api::Embeddings => &[],
        Api::Messages => &[
            ("speed", &["\"standard\""]),
            ("inference_geo", &["\"global\""]),
        ],
    };
    for (field, harmless) in uncounted {
        if let Some(value) = object.get(field) {
            let compact: String = value.split_ascii_whitespace().collect();
            if !harmless.contains(&compact.as_str()) {
                return Err(BadRequest::Uncounted {
                    field: (*field).into(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::llm::wire::Request;

    fn refused(api: Api, more: &Value) -> Option<String> {
        let mut body = json!({"model": "m", "messages": [], "input": "x", "max_tokens": 5});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let error = Request::read(api, body.to_string().into_bytes()).err()?;
        error.field().map(str::to_owned)
    }

    #[test]
    fn a_request_does_not_choose_what_only_the_supervisor_chooses() {
        for field in CHOSEN {
            for api in Api::ALL {
                let refused = refused(api, &json!({field: ["dear"]}));
                assert_eq!(refused.as_deref(), Some(field), "{api}");
            }
        }
        assert_eq!(
            refused(Api::ChatCompletions, &json!({"models": null})),
            None
        );
    }

    #[test]
    fn a_field_that_decides_is_in_lower_case_everywhere() {
        let chat = |more| refused(Api::ChatCompletions, &more);
        for field in ["Model", "MODELS", "max_To\u{212a}ens", "\u{17f}tream"] {
            assert_eq!(chat(json!({field: "dear"})).as_deref(), Some(field));
        }
        for (more, field) in [
            (
                json!({"messages": [{"role": "user", "Content": "x"}]}),
                "messages[0].Content",
            ),
            (
                json!({"messages": [{"content": [{"type": "text", "Type": "input_audio"}]}]}),
                "messages[0].content[0].Type",
            ),
            (
                json!({"tools": [{"type": "function", "Type": "web_search"}]}),
                "tools[0].Type",
            ),
            (
                json!({"stream": true, "stream_options": {"Include_usage": false}}),
                "stream_options.Include_usage",
            ),
        ] {
            assert_eq!(chat(more).as_deref(), Some(field));
        }
        assert_eq!(chat(json!({"Metadata": {"Model": 1}})), None);
    }

    #[test]
    fn a_compaction_is_not_counted_so_it_is_refused() {
        let edits = |edits: &[&str]| {
            let edits: Vec<_> = edits.iter().map(|kind| json!({"type": kind})).collect();
            refused(
                Api::Messages,
                &json!({"context_management": {"edits": edits}}),
            )
        };
        let field = Some("context_management".to_owned());
        assert_eq!(
            edits(&["clear_tool_uses_20250919", "compact_20260112"]),
            field
        );
        assert_eq!(edits(&["clear_tool_uses_20250919"]), None);
    }

    #[test]
    fn sound_in_a_prompt_has_a_price_of_its_own_so_it_is_refused() {
        let sound = json!({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}});
        let heard = json!({"messages": [{"role": "user", "content": [sound]}]});
        let field = "messages[0].content[0]";
        assert_eq!(
            refused(Api::ChatCompletions, &heard).as_deref(),
            Some(field)
        );
        let said = json!({"messages": [{"role": "assistant", "audio": {"id": "a"}}]});
        let field = "messages[0].audio";
        assert_eq!(refused(Api::ChatCompletions, &said).as_deref(), Some(field));
    }
}

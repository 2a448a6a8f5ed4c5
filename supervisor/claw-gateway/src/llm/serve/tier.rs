//! The service tier in which a provider says it served.

use crate::llm::wire::RawObject;

/// Reads the tier from an answer or the data of an event: beside the usage as OpenAI has it, or in
/// the usage as Anthropic has it, and in streams inside of the response or message.
pub(super) fn served(body: &str) -> Option<String> {
    // Most events name none, and this tells it without reading.
    if !body.contains("\"service_tier\"") {
        return None;
    }
    let object = RawObject::read(body).ok()?;
    let inner = object.get("response").or_else(|| object.get("message"));
    match inner.and_then(|inner| RawObject::read(inner).ok()) {
        Some(inner) => named(&inner),
        None => named(&object),
    }
}

fn named(object: &RawObject<'_>) -> Option<String> {
    let usage = object
        .get("usage")
        .and_then(|usage| RawObject::read(usage).ok());
    let in_usage = usage.and_then(|usage| usage.get("service_tier"));
    let tier = object.get("service_tier").or(in_usage)?;
    serde_json::from_str::<Option<String>>(tier).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_read_where_each_interface_has_it() {
        let bodies = [
            r#"{"service_tier": "priority", "usage": {}}"#,
            r#"{"type": "response.completed", "response": {"service_tier": "priority"}}"#,
            r#"{"usage": {"service_tier": "priority"}}"#,
            r#"{"type": "message_start", "message": {"usage": {"service_tier": "priority"}}}"#,
        ];
        for body in bodies {
            assert_eq!(served(body).as_deref(), Some("priority"), "{body}");
        }
        let without = [
            r#"{"service_tier": null}"#,
            r#"{"service_tier": 5}"#,
            r#"{"choices": [{"text": "\"service_tier\": 1"}]}"#,
            r#"{"service_tier""#,
            "[DONE]",
        ];
        for body in without {
            assert_eq!(served(body), None, "{body}");
        }
    }
}

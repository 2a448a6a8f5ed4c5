//! Values without the tags of the protocol, for languages and shells that do not know them.

use serde_json::{Map, Value as Json};

/// The value with sets and tuples as arrays, and bytes, times and decimals as text.
pub(crate) fn form(value: &[u8]) -> Vec<u8> {
    let plain = serde_json::from_slice(value).map(untag);
    let text = plain.and_then(|plain| serde_json::to_vec(&plain));
    text.unwrap_or_else(|_no_json| value.to_vec())
}

fn untag(value: Json) -> Json {
    match value {
        Json::Array(items) => items.into_iter().map(untag).collect(),
        Json::Object(map) => untag_object(map),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value,
    }
}

fn untag_object(mut map: Map<String, Json>) -> Json {
    let tag = match map.keys().next() {
        Some(key) if map.len() == 1 => key.clone(),
        Some(_) | None => String::new(),
    };
    match (tag.as_str(), map.get_mut(&tag)) {
        ("$set" | "$tuple", Some(items @ Json::Array(_))) => untag(items.take()),
        ("$bytes" | "$datetime" | "$decimal", Some(text @ Json::String(_))) => text.take(),
        ("$dict", Some(Json::Object(inner))) => {
            let inner = std::mem::take(inner).into_iter();
            Json::Object(inner.map(|(key, value)| (key, untag(value))).collect())
        }
        (_, _) => Json::Object(
            map.into_iter()
                .map(|(key, value)| (key, untag(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_what_they_stand_for() {
        let tagged = br#"{"a":{"$set":[1,{"$tuple":[2]}]},"b":{"$dict":{"$set":1}},"c":{"$bytes":"AA=="},"d":{"$set":1}}"#;
        let plain = String::from_utf8(form(tagged)).unwrap();
        assert_eq!(
            plain,
            r#"{"a":[1,[2]],"b":{"$set":1},"c":"AA==","d":{"$set":1}}"#
        );
    }
}

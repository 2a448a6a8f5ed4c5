//! A JSON object whose members stay the text that came.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Excerpt;

/// Why a text is not an object that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotObject {
    /// It is not a JSON object.
    #[error("not a JSON object")]
    Malformed,
    /// It names a member twice. Readers differ in which one they take, so what was counted might not
    /// be what is used.
    #[error("`{key}` is there twice")]
    Twice {
        /// The member.
        key: Excerpt,
    },
}

/// The members of a JSON object, in their order, with the text of each value.
#[derive(Debug, Clone)]
pub struct RawObject<'a> {
    text: &'a str,
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> RawObject<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// When the text is none, or has a member twice.
    pub fn read(text: &'a str) -> Result<Self, NotObject> {
        let Members(members) =
            serde_json::from_str(text).map_err(|_not_json| NotObject::Malformed)?;
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(NotObject::Twice {
                key: pair[0].into(),
            });
        }
        Ok(Self { text, members })
    }

    /// The text of a member's value; `None` also for `null`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.members
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
            .filter(|value| *value != "null")
    }

    /// Every member that is not `null`, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members
            .iter()
            .filter(|(_, value)| *value != "null")
            .map(|(key, value)| (key.as_ref(), *value))
    }

    /// A key that is one of some fields but for the case of its letters. Readers that fold case, as
    /// Go's `encoding/json` does, would take it for the field.
    pub(super) fn in_other_case(&self, fields: &[&str]) -> Option<&str> {
        let mut keys = self.members.iter().map(|(key, _)| key.as_ref());
        keys.find(|key| {
            !fields.contains(key) && fields.iter().any(|field| is_but_for_case(key, field))
        })
    }

    /// The text with some members set: in place where they are, else as the last ones.
    #[must_use]
    pub fn with(&self, changes: &[(&str, String)]) -> String {
        let added: usize = changes
            .iter()
            .map(|(key, value)| key.len() + value.len() + 6)
            .sum();
        let mut written = String::with_capacity(self.text.len() + added);
        let mut copied = 0;
        // What is left of it in the end has no place yet.
        let mut unplaced: BTreeMap<&str, &str> = changes
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        for (key, value) in &self.members {
            let Some(change) = unplaced.remove(key.as_ref()) else {
                continue;
            };
            let start = self.offset(value);
            written.push_str(&self.text[copied..start]);
            written.push_str(change);
            copied = start + value.len();
        }
        let end = self.end();
        written.push_str(&self.text[copied..end]);
        let mut separator = if self.members.is_empty() { "" } else { "," };
        for (key, value) in changes {
            if !unplaced.contains_key(key) {
                continue;
            }
            written.push_str(separator);
            written.push_str(&quoted(key));
            written.push(':');
            written.push_str(value);
            separator = ",";
        }
        written.push_str(&self.text[end..]);
        written
    }

    /// The text without a member; as it is, where it has no such member.
    pub(super) fn without(&self, key: &str) -> String {
        let Some(index) = self.members.iter().position(|(name, _)| name == key) else {
            return self.text.to_owned();
        };
        let end = |(_, value): &(Cow<'_, str>, &str)| self.offset(value) + value.len();
        let mut to = end(&self.members[index]);
        let from = match index.checked_sub(1) {
            Some(before) => end(&self.members[before]),
            None => {
                // The first takes the comma after it along.
                if self.members.len() > 1 {
                    to += self.text[to..].find(',').map_or(0, |comma| comma + 1);
                }
                self.text.find('{').map_or(0, |brace| brace + 1)
            }
        };
        [&self.text[..from], &self.text[to..]].concat()
    }

    /// Where the last member ends, or where the first would begin.
    fn end(&self) -> usize {
        match self.members.last() {
            Some((_, value)) => self.offset(value) + value.len(),
            None => self.text.find('{').map_or(0, |brace| brace + 1),
        }
    }

    /// Where a value begins in the text it is a part of.
    fn offset(&self, value: &str) -> usize {
        value.as_ptr().addr() - self.text.as_ptr().addr()
    }
}

/// Whether a key folds to a field in lower case. Two letters beyond ASCII fold into it: the long s
/// and the sign of the kelvin.
fn is_but_for_case(key: &str, field: &str) -> bool {
    key.chars()
        .map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .eq(field.chars())
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON value as a type, where it is one.
pub(crate) fn typed<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_str(value).ok()
}

/// A JSON string as the text it stands for, where it is one.
pub(crate) fn text(value: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(value).ok().map(|Text(text)| text)
}

/// The elements of a JSON array, each as its text.
pub(crate) fn elements(value: &str) -> Option<Vec<&str>> {
    let raw: Vec<&RawValue> = serde_json::from_str(value).ok()?;
    Some(raw.into_iter().map(RawValue::get).collect())
}

/// A text that borrows from its JSON where it has no escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Text(key)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            members.push((key, value.get()));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, changes: &[(&str, &str)]) -> String {
        let changes: Vec<(&str, String)> = changes
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        RawObject::read(text).expect("an object").with(&changes)
    }

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let text = "\n{ \"b\" : 1.50 ,\t\"a\\u0062\": [ 1,2 ], \"c\":null }\r\n";
        assert_eq!(with(text, &[]), text);
        assert_eq!(
            with(text, &[("ab", "7"), ("c", "true"), ("new", "\"x\"")]),
            "\n{ \"b\" : 1.50 ,\t\"a\\u0062\": 7, \"c\":true,\"new\":\"x\" }\r\n"
        );
        assert_eq!(with("{ }", &[("a", "1"), ("b", "2")]), "{\"a\":1,\"b\":2 }");
    }

    #[test]
    fn an_object_stays_one_without_a_member() {
        let without = |text: &str, key| RawObject::read(text).expect("an object").without(key);
        let text = " { \"a\" : \",\" , \"b\":[1,2],\n\"c\":3 } ";
        assert_eq!(without(text, "a"), " { \"b\":[1,2],\n\"c\":3 } ");
        assert_eq!(without(text, "b"), " { \"a\" : \",\",\n\"c\":3 } ");
        assert_eq!(without(text, "c"), " { \"a\" : \",\" , \"b\":[1,2] } ");
        assert_eq!(without(text, "d"), text);
        assert_eq!(without(r#"{ "a": 1 }"#, "a"), "{ }");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "{", "{}{}", "{\"a\":1,}", "7", "{\"a\":nul}"] {
            assert_eq!(
                RawObject::read(text).err(),
                Some(NotObject::Malformed),
                "{text}"
            );
        }
        assert_eq!(
            RawObject::read(r#"{"max_tokens":1,"max\u005ftokens":9}"#).err(),
            Some(NotObject::Twice {
                key: "max_tokens".into()
            })
        );
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let object = RawObject::read(r#"{"a":null,"b":0}"#).expect("an object");
        assert_eq!(object.get("a"), None);
        assert_eq!(object.iter().collect::<Vec<_>>(), [("b", "0")]);
    }
}

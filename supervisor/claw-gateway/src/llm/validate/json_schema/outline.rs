//! What is asked of a schema before it is prepared.

use serde_json::{Map, Value};

use super::{BadSchema, MAX_DEPTH, shortened};

/// The keywords that refer to another schema.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$recursiveRef", "$dynamicRef"];

/// The keywords whose members are schemas under names of their own.
const NAMED: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];

/// The keywords whose values are data and not schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// The schema at a reference, where there is one.
pub(super) fn target<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    // A JSON pointer in a fragment may have escapes of URLs, which are not read here.
    if reference.contains('%') {
        return None;
    }
    root.pointer(reference.strip_prefix('#')?)
}

/// The schema without its own id: nothing else refers to it, and `#` means the same without.
pub(super) fn without_name(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        for keyword in ["$id", "id"] {
            if members.get(keyword).is_some_and(Value::is_string) {
                members.remove(keyword);
            }
        }
    }
    schema
}

/// Refuses a schema that nests too deep or leads out of itself.
///
/// # Errors
/// With the first place at fault.
pub(super) fn check(schema: &Value) -> Result<(), BadSchema> {
    let mut outline = Outline {
        root: schema,
        place: Vec::new(),
        has_old_ids: is_draft_4(schema),
    };
    if is_too_deep(schema, MAX_DEPTH) {
        return Err(BadSchema::TooDeep);
    }
    outline.schema(schema)
}

fn is_draft_4(schema: &Value) -> bool {
    schema["$schema"]
        .as_str()
        .is_some_and(|draft| draft.contains("draft-04"))
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn is_too_deep(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(values) => {
            left == 0 || values.iter().any(|value| is_too_deep(value, left - 1))
        }
        Value::Object(members) => {
            left == 0 || members.values().any(|value| is_too_deep(value, left - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

struct Outline<'s> {
    root: &'s Value,
    place: Vec<String>,
    /// Draft 4 has `id` for what is `$id` since.
    has_old_ids: bool,
}

impl Outline<'_> {
    fn schema(&mut self, schema: &Value) -> Result<(), BadSchema> {
        match schema {
            Value::Object(members) => self.keywords(members),
            Value::Array(schemas) => schemas.iter().enumerate().try_for_each(|(at, schema)| {
                self.below(&at.to_string(), |outline| outline.schema(schema))
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn keywords(&mut self, members: &Map<String, Value>) -> Result<(), BadSchema> {
        for (keyword, value) in members {
            let is_id = keyword == "$id" || (self.has_old_ids && keyword == "id");
            if is_id && value.is_string() && !self.place.is_empty() {
                return Err(BadSchema::Named {
                    place: self.pointer(),
                });
            }
            if REFERENCES.contains(&keyword.as_str())
                && let Some(reference) = value.as_str()
                && target(self.root, reference).is_none()
            {
                return Err(BadSchema::LeadsOut {
                    place: self.pointer(),
                    reference: shortened(reference),
                });
            }
            if keyword == "multipleOf" && value.is_f64() && !is_whole(value) {
                return Err(BadSchema::Fraction {
                    place: self.pointer(),
                });
            }
            if DATA.contains(&keyword.as_str()) {
                continue;
            }
            self.below(keyword, |outline| match value {
                Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                    named.iter().try_for_each(|(name, schema)| {
                        outline.below(name, |inner| inner.schema(schema))
                    })
                }
                Value::Object(_) | Value::Array(_) => outline.schema(value),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
            })?;
        }
        Ok(())
    }

    fn below(
        &mut self,
        name: &str,
        look: impl FnOnce(&mut Self) -> Result<(), BadSchema>,
    ) -> Result<(), BadSchema> {
        self.place.push(name.replace('~', "~0").replace('/', "~1"));
        let looked = look(self);
        self.place.pop();
        looked
    }

    fn pointer(&self) -> String {
        if self.place.is_empty() {
            return "the top".to_owned();
        }
        let pointer: String = self.place.iter().flat_map(|name| ["/", name]).collect();
        shortened(&pointer)
    }
}

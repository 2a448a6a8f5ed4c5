//! How much work it is to check an answer.
//!
//! Schemas may look at one place of an answer again and again: two branches that both lead back to
//! the top double the work with every level of the answer. So the work is counted first, with a
//! bound, from what the schema leads to alone and without judging any of it.

use serde_json::{Map, Value};

use super::outline::{REFERENCES, target};

/// The most steps of a check. The library takes well under a microsecond for each.
const MAX_STEPS: u64 = 1_000_000;

/// The most schemas that are followed into each other, which is how deep the library recurses.
const MAX_NESTED: u32 = 512;

/// The bytes of a text that are looked at in one step.
const BYTES_A_STEP: usize = 64;

/// Whether a check may take more than its bounds.
pub(super) fn is_too_much(schema: &Value, answer: &Value) -> bool {
    let mut effort = Effort {
        root: schema,
        left: MAX_STEPS,
    };
    effort.look(schema, answer, MAX_NESTED) == Err(TooMuch)
}

#[derive(Debug, PartialEq, Eq)]
struct TooMuch;

struct Effort<'s> {
    root: &'s Value,
    left: u64,
}

impl Effort<'_> {
    fn look(&mut self, schema: &Value, value: &Value, nested: u32) -> Result<(), TooMuch> {
        let Value::Object(keywords) = schema else {
            return Ok(());
        };
        let nested = nested.checked_sub(1).ok_or(TooMuch)?;
        self.take(1 + steps(value) + alternatives(keywords))?;
        for (keyword, inner) in keywords {
            self.in_place(keyword, (inner, value), nested)?;
            match value {
                Value::Object(members) => {
                    self.members(keywords, (keyword, inner), members, nested)?;
                }
                Value::Array(elements) => self.elements(keyword, inner, elements, nested)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, steps: usize) -> Result<(), TooMuch> {
        let steps = u64::try_from(steps).map_err(|_huge| TooMuch)?;
        self.left = self.left.checked_sub(steps).ok_or(TooMuch)?;
        Ok(())
    }

    /// Schemas that look at the value itself.
    fn in_place(
        &mut self,
        keyword: &str,
        (inner, value): (&Value, &Value),
        nested: u32,
    ) -> Result<(), TooMuch> {
        match (keyword, inner) {
            (reference, Value::String(to)) if REFERENCES.contains(&reference) => {
                match target(self.root, to) {
                    Some(schema) => self.look(schema, value, nested),
                    None => Ok(()),
                }
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => schemas
                .iter()
                .try_for_each(|schema| self.look(schema, value, nested)),
            ("not" | "if" | "then" | "else", schema) => self.look(schema, value, nested),
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => schemas
                .values()
                .try_for_each(|schema| self.look(schema, value, nested)),
            _ => Ok(()),
        }
    }

    fn members(
        &mut self,
        keywords: &Map<String, Value>,
        (keyword, inner): (&str, &Value),
        members: &Map<String, Value>,
        nested: u32,
    ) -> Result<(), TooMuch> {
        match (keyword, inner) {
            ("properties", Value::Object(schemas)) => members
                .iter()
                .filter_map(|(name, value)| Some((schemas.get(name)?, value)))
                .try_for_each(|(schema, value)| self.look(schema, value, nested)),
            // Any pattern may be that of any name.
            ("patternProperties", Value::Object(schemas)) => {
                schemas.values().try_for_each(|schema| {
                    members
                        .values()
                        .try_for_each(|value| self.look(schema, value, nested))
                })
            }
            ("additionalProperties" | "unevaluatedProperties", schema) => members
                .iter()
                .filter(|(name, _)| {
                    keywords
                        .get("properties")
                        .and_then(|named| named.get(name))
                        .is_none()
                })
                .try_for_each(|(_, value)| self.look(schema, value, nested)),
            ("propertyNames", Value::Object(_)) => self.take(
                members
                    .keys()
                    .map(|name| 1 + name.len() / BYTES_A_STEP)
                    .sum(),
            ),
            _ => Ok(()),
        }
    }

    fn elements(
        &mut self,
        keyword: &str,
        inner: &Value,
        elements: &[Value],
        nested: u32,
    ) -> Result<(), TooMuch> {
        match (keyword, inner) {
            ("prefixItems" | "items", Value::Array(schemas)) => schemas
                .iter()
                .zip(elements)
                .try_for_each(|(schema, value)| self.look(schema, value, nested)),
            ("items" | "additionalItems" | "unevaluatedItems" | "contains", schema) => elements
                .iter()
                .try_for_each(|value| self.look(schema, value, nested)),
            _ => Ok(()),
        }
    }
}

fn steps(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() / BYTES_A_STEP,
        Value::Array(elements) => elements.len(),
        Value::Object(members) => members.len(),
    }
}

/// The values that a value is compared with.
fn alternatives(keywords: &Map<String, Value>) -> usize {
    let listed = ["enum", "required"].map(|keyword| {
        let values = keywords.get(keyword).and_then(Value::as_array);
        values.map_or(0, Vec::len)
    });
    listed.iter().sum()
}

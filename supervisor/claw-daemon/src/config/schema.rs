//! The JSON Schema of the fleet file, made from the same tables the loader checks with.

use serde_json::{Map, Value as Json, json};

use super::keys::FLEET;
use super::keys_life::{DEPENDENCY, HOOK, SCHEDULE};
use super::section::{Kind, Section};

/// A scalar may always be a variable.
const VARIABLE: &str = r"^.*\$\{.+\}.*$";
const DURATION: &str = "^([0-9]+(w|d|h|m|s|ms|us))+$";
const MEMORY: &str = "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$";
const MONEY: &str = "^[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?$";
const RATE: &str = "^[0-9]+ */ *(s|sec|second|m|min|minute|h|hour|d|day)$";
const CPU: &str = "^[0-9]+(\\.[0-9]+)?m?$";

/// The JSON Schema of `openclaw.yaml`.
#[must_use]
pub fn schema() -> Json {
    let mut schema = section(&FLEET);
    if let Json::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        map.insert("title".to_owned(), json!("OpenClaw fleet file"));
        map.insert(
            "required".to_owned(),
            json!(["project", "version", "agents"]),
        );
    }
    schema
}

fn section(section: &Section) -> Json {
    let mut properties = Map::new();
    for key in section.keys {
        let Some(Json::Object(mut value)) = kind(&key.kind) else {
            continue;
        };
        value.insert("description".to_owned(), json!(key.help));
        properties.insert(key.name.to_owned(), Json::Object(value));
    }
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
    })
}

/// The schema of a value; `None` for what is refused.
fn kind(kind: &Kind) -> Option<Json> {
    let variable = json!({"type": "string", "pattern": VARIABLE});
    let texts = json!({"type": "array", "items": {"type": ["string", "number", "boolean"]}});
    let or_variable = |schema: Json| json!({"anyOf": [schema, variable]});
    let pattern =
        |pattern: &str| or_variable(json!({"type": ["string", "number"], "pattern": pattern}));
    Some(match kind {
        Kind::Later(_) => return None,
        Kind::Text | Kind::Signal | Kind::Percent => json!({"type": ["string", "number"]}),
        Kind::Bool => or_variable(json!({"type": "boolean"})),
        Kind::Whole(min, max) => {
            or_variable(json!({"type": "integer", "minimum": min, "maximum": max}))
        }
        Kind::Numbers(numbers) => or_variable(json!({"enum": numbers})),
        Kind::WholeOr(min, max, word) => or_variable(json!({
            "anyOf": [{"type": "integer", "minimum": min, "maximum": max}, {"const": word}],
        })),
        Kind::Duration => pattern(DURATION),
        Kind::Memory => pattern(MEMORY),
        Kind::Cpu => pattern(CPU),
        Kind::Money => pattern(MONEY),
        Kind::Rate => pattern(RATE),
        Kind::BoolOr(inner) => {
            or_variable(json!({"anyOf": [{"type": "boolean"}, nullable(section(inner))]}))
        }
        Kind::Choice(words) => or_variable(json!({"enum": words})),
        Kind::ChoiceOr(words, inner) => {
            or_variable(json!({"anyOf": [{"enum": words}, section(inner)]}))
        }
        Kind::Command | Kind::TextOrList => json!({"anyOf": [{"type": "string"}, texts]}),
        Kind::Hook => json!({"anyOf": [{"type": "string"}, texts, section(&HOOK)]}),
        Kind::ExitCodes => {
            let code = json!({"type": "integer", "minimum": 0, "maximum": 255});
            json!({"anyOf": [code, {"type": "array", "items": code}]})
        }
        Kind::CleanExits => json!({"type": "array", "items": {"type": ["integer", "string"]}}),
        Kind::TextMap => json!({
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }),
        Kind::TextOr(inner) => json!({"anyOf": [{"type": "string"}, section(inner)]}),
        Kind::ListOf(inner) => json!({
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, section(inner)]},
        }),
        Kind::Free => json!({}),
        Kind::Flag => json!({"type": ["null", "boolean", "object"]}),
        Kind::Dependencies => json!({
            "anyOf": [
                texts,
                {"type": "object", "additionalProperties": nullable(section(&DEPENDENCY))},
            ],
        }),
        Kind::Schedule => json!({"anyOf": [{"type": "string"}, section(&SCHEDULE)]}),
        Kind::Section(inner) => nullable(section(inner)),
        Kind::Named(inner) => json!({
            "type": "object",
            "additionalProperties": section(inner),
        }),
    })
}

/// A section may stand empty, as when all its lines are commented out.
fn nullable(mut schema: Json) -> Json {
    if let Json::Object(map) = &mut schema {
        map.insert("type".to_owned(), json!(["object", "null"]));
    }
    schema
}

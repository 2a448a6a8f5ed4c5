//! The OpenAPI document, held against the routes and against itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fleet::Fleet;
use super::get;
use crate::api::{Code, routes};

const DESCRIBED: &[&str] = &[
    routes::HEALTH,
    routes::READY,
    routes::AGENTS,
    routes::AGENT,
    routes::START,
    routes::STOP,
    routes::RESTART,
    routes::PAUSE,
    routes::RESUME,
    routes::HALT,
    routes::RESUME_ALL,
    routes::TRIGGER,
    routes::RUNS,
    routes::CANCEL,
    routes::RUN,
    routes::DENIALS,
    routes::LEARNED,
    routes::EXEC,
    routes::STATE,
    routes::STATE_KEY,
    routes::STATE_VERSIONS,
    routes::STATE_DIFF,
    routes::STATE_ROLLBACK,
    routes::STATE_EXPORT,
    routes::STATE_IMPORT,
    routes::SHARED_STATE,
    routes::SHARED_STATE_KEY,
    routes::SHARED_STATE_VERSIONS,
    routes::SHARED_STATE_DIFF,
    routes::SHARED_STATE_ROLLBACK,
    routes::SHARED_STATE_EXPORT,
    routes::SHARED_STATE_IMPORT,
    routes::HOOK,
    routes::SANDBOXES,
    routes::SANDBOX_RUN,
    routes::IMAGE_RUN,
    routes::LLM_BUDGET,
    routes::LLM_USAGE,
    routes::LLM_CALLS,
    routes::LLM_RECONCILE,
    routes::LLM_PRICES,
    routes::EVENTS_REPLAY,
    routes::DEAD_LETTERS,
    routes::DEAD_LETTERS_REPLAY,
    routes::DEAD_LETTERS_DROP,
    routes::LOGS,
    routes::TRANSITIONS,
    routes::EVENTS,
    routes::CONFIG,
    routes::CONFIG_PLAN,
    routes::CONFIG_APPLY,
    routes::SHUTDOWN,
    routes::UPGRADE,
    routes::METRICS,
];

async fn document() -> Value {
    get(routes::OPENAPI).send(&Fleet::new()).await.json()
}

/// Every value under `$ref` anywhere in the document.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                found.insert(reference);
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let document = document().await;
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(described, DESCRIBED.iter().copied().collect());
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = document().await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

#[tokio::test]
async fn every_operation_says_what_it_is_and_names_its_path_parameters() {
    let document = document().await;
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{place} has no summary");
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|all| !all.is_empty()),
                "{place}"
            );
            let id = operation["operationId"].as_str().unwrap().to_owned() + path;
            assert!(ids.insert(id), "{place} has the id of another");
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|one| one["in"] == "path")
                .map(|one| one["name"].as_str().unwrap())
                .collect();
            let wanted: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(named, wanted, "{place}");
        }
    }
}

#[tokio::test]
async fn every_field_of_every_schema_is_explained() {
    let document = document().await;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let fields = schema["properties"].as_object();
        for (field, about) in fields.into_iter().flatten() {
            let choices = about["oneOf"].as_array().into_iter().flatten();
            let mut places = choices.chain([about]);
            let explained = places.any(|place| place["description"].is_string());
            assert!(explained, "{name}.{field} is not explained: {about}");
        }
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_the_network() {
    let page = get(routes::DOCS).send(&Fleet::new()).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        !page.body.contains("https://") && !page.body.contains("http://"),
        "{}",
        page.body
    );
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'")
    );
}

#[test]
fn a_code_of_a_newer_supervisor_is_read_as_unknown() {
    assert_eq!(
        serde_json::from_str::<Code>(r#""busy""#).unwrap(),
        Code::Busy
    );
    assert_eq!(
        serde_json::from_str::<Code>(r#""brand_new""#).unwrap(),
        Code::Unknown
    );
    for (code, text) in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), *text);
    }
}

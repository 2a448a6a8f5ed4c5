//! The configuration: show it, plan a change, apply one.

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde_json::Value;

use super::caller::Link;
use super::extract::{Whole, content_type};
use super::params::Params;
use super::ports::{ConfigSource, ReloadFailure};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Applied, Code, Plan, Problem, RunningConfig, routes};

/// What a body with a fleet file may be called.
const YAML: &[&str] = &["text/yaml", "application/yaml", "application/x-yaml"];

/// What is shown in place of a secret.
const MASK: &str = "***";

/// Words in the name of a variable that make its value a secret, whatever it is.
const SECRET_WORDS: &[&str] = &[
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "WEBHOOK",
];

/// The configuration in force
///
/// Defaults are filled in. Secrets, and variables that are named like secrets, are masked.
#[utoipa::path(
    get, path = routes::CONFIG, tag = "config",
    responses(
        (status = 200, description = "The configuration", body = RunningConfig),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<RunningConfig>, ApiError> {
    params.only(&[])?;
    let current = (state.ports.config.current)();
    let mut fleet = serde_json::to_value(&*current.fleet)
        .map_err(|error| ApiError::new(Code::Internal, format!("cannot show it: {error}")))?;
    mask(&mut fleet);
    plain_durations(&mut fleet);
    Ok(Json(RunningConfig {
        project: current.fleet.project.clone(),
        file: current.file,
        fleet,
    }))
}

/// What applying would change
///
/// An empty body means the fleet file on disk; else the body is a fleet file.
#[utoipa::path(
    post, path = routes::CONFIG_PLAN, tag = "config",
    request_body(content = Option<String>, content_type = "text/yaml"),
    responses(
        (status = 200, description = "The changes", body = Plan),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn plan(
    State(state): State<ApiState>,
    link: Link,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<Plan>, ApiError> {
    params.only(&[])?;
    let source = source(&link, &headers, &body)?;
    Ok(Json(state.ports.config.plan.call(source).await?))
}

/// Apply a configuration
///
/// An empty body means the fleet file on disk; else the body is a fleet file, which is taken on
/// the control socket only. A configuration with errors changes nothing.
#[utoipa::path(
    post, path = routes::CONFIG_APPLY, tag = "config",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    request_body(content = Option<String>, content_type = "text/yaml"),
    responses(
        (status = 200, description = "What was changed", body = Applied),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn apply(
    State(state): State<ApiState>,
    link: Link,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<Applied>, ApiError> {
    params.only(&[])?;
    let source = source(&link, &headers, &body)?;
    Ok(Json(state.ports.config.apply.call(source).await?))
}

/// A fleet file names programs, and may include files, that the supervisor's user may reach and
/// the caller may not; so a sent one is taken only from that user.
fn source(link: &Link, headers: &HeaderMap, body: &[u8]) -> Result<ConfigSource, ApiError> {
    if body.is_empty() {
        return Ok(ConfigSource::File);
    }
    content_type(headers, YAML)?;
    link.admin_only("sending a fleet file")?;
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8 from byte {} on", error.valid_up_to());
        ApiError::new(Code::InvalidConfig, detail)
    })?;
    Ok(ConfigSource::Text(text.to_owned()))
}

impl From<ReloadFailure> for ApiError {
    fn from(failure: ReloadFailure) -> Self {
        let detail = failure.to_string();
        match failure {
            ReloadFailure::Invalid(errors) => {
                let count = errors.len();
                let what = if count == 1 { "an error" } else { "errors" };
                let detail = format!("the configuration has {what}; nothing was changed");
                Self::new(Code::InvalidConfig, detail).errors(errors)
            }
            ReloadFailure::NeedsRestart(key) => {
                Self::new(Code::NeedsRestart, detail).parameter(&key)
            }
            ReloadFailure::Busy => Self::new(Code::ReloadBusy, detail),
            ReloadFailure::Ask(error) => error.into(),
        }
    }
}

/// Masks secrets, and variables that are named like secrets, in a fleet.
fn mask(fleet: &mut Value) {
    let agents = fleet.get_mut("agents").and_then(Value::as_object_mut);
    for agent in agents.into_iter().flat_map(|agents| agents.values_mut()) {
        let Some(launch) = agent.get_mut("launch") else {
            continue;
        };
        mask_in(launch, "secrets", |_name| true);
        mask_in(launch, "env", is_secret_name);
        mask_in(launch, "config", is_secret_name);
    }
}

/// Writes durations as seconds, as everywhere in the API.
fn plain_durations(value: &mut Value) {
    if let Some(seconds) = duration(value) {
        *value = seconds.into();
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(plain_durations),
        Value::Array(list) => list.iter_mut().for_each(plain_durations),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn duration(value: &Value) -> Option<f64> {
    let map = value.as_object().filter(|map| map.len() == 2)?;
    let nanos = u32::try_from(map.get("nanos")?.as_u64()?).ok()?;
    let duration = std::time::Duration::new(map.get("secs")?.as_u64()?, nanos);
    Some(duration.as_secs_f64())
}

fn mask_in(launch: &mut Value, key: &str, is_secret: impl Fn(&str) -> bool + Copy) {
    if let Some(values) = launch.get_mut(key) {
        mask_values(values, is_secret);
    }
}

fn mask_values(value: &mut Value, is_secret: impl Fn(&str) -> bool + Copy) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match is_secret(name) {
                    true => *value = MASK.into(),
                    false => mask_values(value, is_secret),
                }
            }
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| mask_values(value, is_secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

//! `GET /v1/agents/{name}/state`: what other agents keep, for reading.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use claw_core::AgentName;
use claw_store::state::{At, Namespace};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::admission::{Context, bytes};
use super::fault::{Code, Fault};
use super::state::{Shape, etag, head, text, value};
use super::wire;

/// `GET /v1/agents/{name}/state`: everything another agent keeps, at one version.
pub(super) async fn all(
    State(context): State<Context>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let namespace = readable(&context, &name)?;
    let known = headers.get(header::IF_NONE_MATCH).cloned();
    if known.is_some_and(|known| !known.is_empty()) {
        let version = head(&context.api, &namespace).await;
        if headers.get(header::IF_NONE_MATCH) == Some(&etag(version)) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(version))]).into_response());
        }
    }
    let snapshot = context
        .api
        .shared
        .store
        .snapshot(&namespace, At::Head)
        .await?;
    let entries: Vec<String> = (snapshot.entries.iter())
        .map(|(key, value)| format!("{}:{}", json!(key), text(&value.bytes)))
        .collect();
    let (entries, version) = (entries.join(","), snapshot.version);
    let agent = json!(name);
    let body = format!("{{\"agent\":{agent},\"version\":{version},\"state\":{{{entries}}}}}");
    let mut response = bytes(body.into());
    response.headers_mut().insert(header::ETAG, etag(version));
    Ok(response)
}

/// `GET /v1/agents/{name}/state/{key}`.
pub(super) async fn one(
    State(context): State<Context>,
    Path((name, key)): Path<(String, String)>,
    Query(shape): Query<Shape>,
) -> Result<Response, Fault> {
    wire::check_key(&key)?;
    let namespace = readable(&context, &name)?;
    let found = context
        .api
        .shared
        .store
        .get(&namespace, &key, At::Head)
        .await?;
    value(found, &key, shape.form.as_deref())
}

/// The state of an agent, if the one that asks may read it.
fn readable(context: &Context, name: &str) -> Result<Namespace, Fault> {
    let agent: AgentName = name
        .parse()
        .map_err(|_unusable| Fault::bad("bad_name", "that is not the name of an agent"))?;
    let endpoint = &context.endpoint;
    if agent != endpoint.agent && !endpoint.worker().may_read_from(&agent) {
        let message = format!(
            "the agent may not read the state of `{agent}`; see `read_from` in the fleet file"
        );
        return Err(Fault::new(Code::Forbidden, message));
    }
    Ok(Namespace::agent(agent.as_str()))
}

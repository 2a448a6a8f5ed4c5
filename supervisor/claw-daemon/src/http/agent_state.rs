//! `/api/agents/{name}/state`: what an agent keeps, its history, and changes of it from outside.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use claw_core::AgentName;
use claw_store::state::{
    At, Commit, CommitCause, Expect, Export, KeyInfo, Mark, Namespace, StateOp, VersionInfo,
    VersionKind, Versions, WriterId,
};
use claw_store::store::UnixMs;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;

use super::extract::{Large, Name, StateKeyIn, Whole, content_type, invalid_json};
use super::params::{self, Params};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{
    Code, Problem, Rollback, StateChange, StateDiff, StateKey, StateKeyList, StateVersion,
    StateVersionList, StateWritten, Time, routes,
};

/// Who writes, when it is not the agent.
const WRITER: &str = "api";

/// The longest key, in bytes.
const KEY: usize = 512;

/// Keys of an agent's state
#[utoipa::path(
    get, path = routes::STATE, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("prefix" = Option<String>, Query, description = "Only keys that begin so"),
        ("version" = Option<u64>, Query, description = "As of this version"),
    ),
    responses(
        (status = 200, description = "The keys", body = StateKeyList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Json<StateKeyList>, ApiError> {
    params.only(&["prefix", "version"])?;
    let prefix = params.read("prefix", |text| Ok(text.to_owned()))?;
    let at = at(&params, "version")?;
    let namespace = known(&state, &agent).await?;
    let store = &state.ports.store;
    let keys = store
        .list(&namespace, &prefix.unwrap_or_default(), at)
        .await?;
    Ok(Json(StateKeyList {
        agent: agent.to_string(),
        version: head(&state, &namespace).await?,
        keys: keys.iter().map(key_told).collect(),
    }))
}

/// One key of an agent's state
///
/// The value as it was written, byte by byte; its version is the `ETag`.
#[utoipa::path(
    get, path = routes::STATE_KEY, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("key" = String, Path, description = "The key, percent-encoded"),
        ("version" = Option<u64>, Query, description = "As of this version"),
    ),
    responses(
        (status = 200, description = "The value", body = serde_json::Value),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(state): State<ApiState>,
    StateKeyIn { agent, key }: StateKeyIn,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["version"])?;
    let at = at(&params, "version")?;
    let namespace = known(&state, &agent).await?;
    let value = state.ports.store.get(&namespace, &key, at).await?;
    let value = value.ok_or_else(|| no_key(&agent, &key))?;
    let head = [(ETAG, etag(value.version)), (CONTENT_TYPE, JSON)];
    Ok((head, value.bytes.to_vec()).into_response())
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Set a key of an agent's state
///
/// `If-Match` demands a version of the key, `If-None-Match: *` that there is none.
#[utoipa::path(
    put, path = routes::STATE_KEY, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("key" = String, Path, description = "The key, percent-encoded"),
        ("ttl" = Option<String>, Query, description = "It disappears after so long, such as `1h`"),
    ),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    State(state): State<ApiState>,
    StateKeyIn { agent, key }: StateKeyIn,
    params: Params,
    headers: HeaderMap,
    Large(body): Large,
) -> Result<Response, ApiError> {
    params.only(&["ttl"])?;
    let ttl = params.read("ttl", params::span)?;
    content_type(&headers, &["application/json"])?;
    let value: &RawValue = serde_json::from_slice(&body).map_err(|error| invalid_json(&error))?;
    if key.is_empty() || key.len() > KEY || key.chars().any(char::is_control) {
        let detail = format!("a key has 1 to {KEY} bytes and no control characters");
        return Err(ApiError::bad_parameter("key", detail));
    }
    let op = StateOp::Set {
        value: value.get().as_bytes().to_vec(),
        expect: expected(&headers)?,
        ttl,
        key,
    };
    change(&state, &agent, op).await
}

/// Delete a key of an agent's state
#[utoipa::path(
    delete, path = routes::STATE_KEY, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("key" = String, Path, description = "The key, percent-encoded"),
    ),
    responses(
        (status = 200, description = "It is gone", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    StateKeyIn { agent, key }: StateKeyIn,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let namespace = known(&state, &agent).await?;
    if state
        .ports
        .store
        .get(&namespace, &key, At::Head)
        .await?
        .is_none()
    {
        return Err(no_key(&agent, &key));
    }
    let expect = expected(&headers)?;
    change(&state, &agent, StateOp::Delete { key, expect }).await
}

/// Versions of an agent's state
///
/// Newest first. `all=true` lists those too that nothing marks as worth keeping.
#[utoipa::path(
    get, path = routes::STATE_VERSIONS, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("all" = Option<bool>, Query, description = "Every version, not only marked ones"),
    ),
    responses(
        (status = 200, description = "The versions", body = StateVersionList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn versions(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Json<StateVersionList>, ApiError> {
    params.only(&["all"])?;
    let which = match params.read("all", params::switch)? {
        Some(true) => Versions::All,
        Some(false) | None => Versions::Checkpoints,
    };
    let namespace = known(&state, &agent).await?;
    let versions = state.ports.store.versions(&namespace, which).await?;
    Ok(Json(StateVersionList {
        agent: agent.to_string(),
        versions: versions.into_iter().map(version_told).collect(),
    }))
}

/// What differs between two versions of an agent's state
#[utoipa::path(
    get, path = routes::STATE_DIFF, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("from" = u64, Query, description = "The older version"),
        ("to" = Option<u64>, Query, description = "The newer one; the newest there is without"),
    ),
    responses(
        (status = 200, description = "The keys that differ", body = StateDiff),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn diff(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Json<StateDiff>, ApiError> {
    params.only(&["from", "to"])?;
    let (from, to) = (at(&params, "from")?, at(&params, "to")?);
    if from == At::Head {
        return Err(ApiError::bad_parameter("from", "`from` is a version"));
    }
    let namespace = known(&state, &agent).await?;
    let store = &state.ports.store;
    let mut changes = Vec::new();
    for difference in store.diff(&namespace, from, to).await? {
        let key = difference.key;
        let before = match difference.before {
            Some(_) => store.get(&namespace, &key, from).await?,
            None => None,
        };
        let after = match difference.after {
            Some(_) => store.get(&namespace, &key, to).await?,
            None => None,
        };
        changes.push(StateChange {
            key,
            before: before.and_then(|value| raw(&value.bytes)),
            after: after.and_then(|value| raw(&value.bytes)),
        });
    }
    Ok(Json(StateDiff {
        agent: agent.to_string(),
        changes,
    }))
}

/// Go back to an older version of an agent's state
///
/// Its content becomes a new version; the version before is kept.
#[utoipa::path(
    post, path = routes::STATE_ROLLBACK, tag = "state",
    params(("name" = String, Path, description = "The agent's name")),
    request_body(content = Rollback, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn rollback(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
    Whole(body): Whole,
) -> Result<Json<StateWritten>, ApiError> {
    params.only(&[])?;
    let asked: Rollback = serde_json::from_slice(&body).map_err(|error| invalid_json(&error))?;
    let namespace = known(&state, &agent).await?;
    let (to, cause) = (At::Version(asked.to), CommitCause::default());
    let version = state
        .ports
        .store
        .rollback(&namespace, to, writer(), cause)
        .await?;
    Ok(Json(StateWritten { version }))
}

/// Export an agent's state
#[utoipa::path(
    get, path = routes::STATE_EXPORT, tag = "state",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("version" = Option<u64>, Query, description = "As of this version"),
    ),
    responses(
        (status = 200, description = "All keys and values", body = serde_json::Value),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn export(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["version"])?;
    let at = at(&params, "version")?;
    let namespace = known(&state, &agent).await?;
    let export = state.ports.store.export(&namespace, at).await?;
    let text = export.to_json();
    let text = text.map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}

/// Replace an agent's state by an exported one
#[utoipa::path(
    post, path = routes::STATE_IMPORT, tag = "state",
    params(("name" = String, Path, description = "The agent's name")),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = StateWritten),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn import(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
    Large(body): Large,
) -> Result<Json<StateWritten>, ApiError> {
    params.only(&[])?;
    let export = Export::from_json(&body).map_err(|error| invalid_json(&error))?;
    let namespace = known(&state, &agent).await?;
    let cause = CommitCause::default();
    let store = &state.ports.store;
    let version = store.import(&namespace, export, writer(), cause).await?;
    Ok(Json(StateWritten { version }))
}

async fn change(state: &ApiState, agent: &AgentName, op: StateOp) -> Result<Response, ApiError> {
    let commit = Commit {
        namespace: known(state, agent).await?,
        writer: writer(),
        ops: vec![op],
        cause: CommitCause::default(),
    };
    let version = state.ports.store.commit(commit).await?;
    Ok(([(ETAG, etag(version))], Json(StateWritten { version })).into_response())
}

/// The namespace of an agent of the fleet, or of one that has left it and its state behind.
async fn known(state: &ApiState, agent: &AgentName) -> Result<Namespace, ApiError> {
    let namespace = Namespace::agent(agent.as_str());
    if state.replicas(agent).is_some() {
        return Ok(namespace);
    }
    match state.status(agent).await {
        Ok(_status) => Ok(namespace),
        Err(_) if head(state, &namespace).await? > 0 => Ok(namespace),
        Err(error) => Err(error),
    }
}

async fn head(state: &ApiState, namespace: &Namespace) -> Result<u64, ApiError> {
    let spaces = state.ports.store.namespaces().await?;
    let own = spaces.into_iter().find(|space| space.name == *namespace);
    Ok(own.map_or(0, |space| space.version))
}

fn writer() -> WriterId {
    WriterId {
        name: WRITER.to_owned(),
        epoch: 0,
    }
}

fn no_key(agent: &AgentName, key: &str) -> ApiError {
    let shown: String = key.chars().take(80).collect();
    let detail = format!("the state of `{agent}` has no key `{shown}`");
    ApiError::new(Code::UnknownKey, detail).agent(agent)
}

fn at(params: &Params, name: &str) -> Result<At, ApiError> {
    let version = params.read(name, params::count(u64::MAX))?;
    Ok(version.map_or(At::Head, At::Version))
}

/// What `If-Match` and `If-None-Match` demand.
fn expected(headers: &HeaderMap) -> Result<Expect, ApiError> {
    if headers.get(IF_NONE_MATCH).is_some_and(|value| value == "*") {
        return Ok(Expect::Absent);
    }
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(Expect::Anything);
    };
    let version = value.to_str().ok();
    let version = version.and_then(|text| text.trim_matches('"').parse().ok());
    let bad = || ApiError::new(Code::BadHeader, "`If-Match` is the version of the key");
    version
        .map(Expect::Version)
        .ok_or_else(|| bad().parameter("If-Match"))
}

fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

fn key_told(key: &KeyInfo) -> StateKey {
    StateKey {
        key: key.key.clone(),
        version: key.version,
        bytes: key.size,
        expires_at: key.expires.map(time),
    }
}

fn version_told(version: VersionInfo) -> StateVersion {
    StateVersion {
        version: version.version,
        at: time(version.at),
        kind: match version.kind {
            VersionKind::Commit => "commit",
            VersionKind::Ttl => "ttl",
            VersionKind::Rollback => "rollback",
            VersionKind::Import => "import",
        }
        .to_owned(),
        mark: match version.mark {
            Mark::None => "none",
            Mark::Checkpoint => "checkpoint",
            Mark::Pinned => "pinned",
        }
        .to_owned(),
        writer: version.writer.name,
        work: version.cause.run_id,
        keys: version.keys,
        bytes: version.live_bytes,
    }
}

pub(super) fn time(at: UnixMs) -> Time {
    Time::from_millisecond(at.0).unwrap_or_default()
}

/// JSON as it was given; nothing where it is none.
pub(super) fn raw(bytes: &Arc<[u8]>) -> Option<Box<RawValue>> {
    serde_json::from_slice(bytes).ok()
}

//! State from outside: of an agent, or shared by all of them. What the paths have in common.

use std::sync::Arc;

use axum::Json;
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

use super::extract::{content_type, invalid_json};
use super::limits;
use super::params::{self, Params};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{
    Code, Rollback, StateChange, StateDiff, StateKey, StateKeyList, StateVersion, StateVersionList,
    StateWritten, Time,
};

/// Who writes, when it is not the agent.
const WRITER: &str = "api";

/// The longest key, in bytes.
const KEY: usize = 512;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whose state it is.
pub(super) enum Whose {
    Agent(AgentName),
    /// The state that agents share.
    Shared,
}

impl Whose {
    fn name(&self) -> Option<String> {
        match self {
            Self::Agent(agent) => Some(agent.to_string()),
            Self::Shared => None,
        }
    }

    /// The namespace: that of an agent of the fleet, of one that has left it and its state
    /// behind, or the shared one.
    async fn namespace(&self, state: &ApiState) -> Result<Namespace, ApiError> {
        let Self::Agent(agent) = self else {
            return Ok(Namespace::shared());
        };
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

    fn no_key(&self, key: &str) -> ApiError {
        let key: String = key.chars().take(80).collect();
        match self {
            Self::Agent(agent) => {
                let detail = format!("the state of `{agent}` has no key `{key}`");
                ApiError::new(Code::UnknownKey, detail).agent(agent)
            }
            Self::Shared => {
                let detail = format!("the shared state has no key `{key}`");
                ApiError::new(Code::UnknownKey, detail)
            }
        }
    }
}

pub(super) async fn list(
    state: &ApiState,
    whose: &Whose,
    params: &Params,
) -> Result<Json<StateKeyList>, ApiError> {
    params.only(&["prefix", "version", "after", "limit"])?;
    let prefix = params.read("prefix", text)?.unwrap_or_default();
    let after = params.read("after", text)?.unwrap_or_default();
    let limit = limit(params, limits::STATE_PAGE)?;
    let at = at(params, "version")?;
    let namespace = whose.namespace(state).await?;
    let keys = state.ports.store.list(&namespace, &prefix, at).await?;
    let mut wanted = keys.iter().filter(|info| info.key > after);
    let keys: Vec<StateKey> = wanted.by_ref().take(limit).map(key_told).collect();
    let more = wanted.next().is_some();
    Ok(Json(StateKeyList {
        agent: whose.name(),
        version: head(state, &namespace).await?,
        next: keys.last().filter(|_| more).map(|last| last.key.clone()),
        keys,
    }))
}

pub(super) async fn get(
    state: &ApiState,
    (whose, key): (&Whose, &str),
    params: &Params,
) -> Result<Response, ApiError> {
    params.only(&["version"])?;
    let at = at(params, "version")?;
    let namespace = whose.namespace(state).await?;
    let value = state.ports.store.get(&namespace, key, at).await?;
    let value = value.ok_or_else(|| whose.no_key(key))?;
    let head = [(ETAG, etag(value.version)), (CONTENT_TYPE, JSON)];
    Ok((head, value.bytes.to_vec()).into_response())
}

pub(super) async fn put(
    state: &ApiState,
    (whose, key): (&Whose, String),
    params: &Params,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ApiError> {
    params.only(&["ttl"])?;
    let ttl = params.read("ttl", params::span)?;
    content_type(headers, &["application/json"])?;
    let value: &RawValue = serde_json::from_slice(body).map_err(|error| invalid_json(&error))?;
    if key.is_empty() || key.len() > KEY || key.chars().any(char::is_control) {
        let detail = format!("a key has 1 to {KEY} bytes and no control characters");
        return Err(ApiError::bad_parameter("key", detail));
    }
    let op = StateOp::Set {
        value: value.get().as_bytes().to_vec(),
        expect: expected(headers)?,
        ttl,
        key,
    };
    change(state, whose, op).await
}

pub(super) async fn delete(
    state: &ApiState,
    (whose, key): (&Whose, String),
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let namespace = whose.namespace(state).await?;
    let found = state.ports.store.get(&namespace, &key, At::Head).await?;
    if found.is_none() {
        return Err(whose.no_key(&key));
    }
    let expect = expected(headers)?;
    change(state, whose, StateOp::Delete { key, expect }).await
}

pub(super) async fn versions(
    state: &ApiState,
    whose: &Whose,
    params: &Params,
) -> Result<Json<StateVersionList>, ApiError> {
    params.only(&["all", "before", "limit"])?;
    let which = match params.read("all", params::switch)? {
        Some(true) => Versions::All,
        Some(false) | None => Versions::Checkpoints,
    };
    let before = params.read("before", params::count(u64::MAX))?;
    let limit = limit(params, limits::VERSIONS_PAGE)?;
    let namespace = whose.namespace(state).await?;
    let store = &state.ports.store;
    // One more says whether there are more.
    let found = store.versions_before(&namespace, which, before, limit + 1);
    let mut found = found.await?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(StateVersionList {
        agent: whose.name(),
        next: found.last().filter(|_| more).map(|last| last.version),
        versions: found.into_iter().map(version_told).collect(),
    }))
}

pub(super) async fn diff(
    state: &ApiState,
    whose: &Whose,
    params: &Params,
) -> Result<Json<StateDiff>, ApiError> {
    params.only(&["from", "to", "after", "limit"])?;
    let (from, to) = (at(params, "from")?, at(params, "to")?);
    if from == At::Head {
        return Err(ApiError::bad_parameter("from", "`from` is a version"));
    }
    let after = params.read("after", text)?.unwrap_or_default();
    let limit = limit(params, limits::DIFF_PAGE)?;
    let namespace = whose.namespace(state).await?;
    let store = &state.ports.store;
    let mut changes = Vec::new();
    let mut differences = store.diff(&namespace, from, to).await?;
    differences.retain(|difference| difference.key > after);
    let more = differences.len() > limit;
    differences.truncate(limit);
    for difference in differences {
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
    let last = changes.last().filter(|_| more);
    Ok(Json(StateDiff {
        agent: whose.name(),
        next: last.map(|last| last.key.clone()),
        changes,
    }))
}

pub(super) async fn rollback(
    state: &ApiState,
    whose: &Whose,
    params: &Params,
    body: &[u8],
) -> Result<Json<StateWritten>, ApiError> {
    params.only(&[])?;
    let asked: Rollback = serde_json::from_slice(body).map_err(|error| invalid_json(&error))?;
    let namespace = whose.namespace(state).await?;
    let (to, cause) = (At::Version(asked.to), CommitCause::default());
    let store = &state.ports.store;
    let version = store.rollback(&namespace, to, writer(), cause).await?;
    Ok(Json(StateWritten { version }))
}

pub(super) async fn export(
    state: &ApiState,
    whose: &Whose,
    params: &Params,
) -> Result<Response, ApiError> {
    params.only(&["version"])?;
    let at = at(params, "version")?;
    let namespace = whose.namespace(state).await?;
    let export = state.ports.store.export(&namespace, at).await?;
    let text = export.to_json();
    let text = text.map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}

pub(super) async fn import(
    state: &ApiState,
    whose: &Whose,
    params: &Params,
    body: &[u8],
) -> Result<Json<StateWritten>, ApiError> {
    params.only(&[])?;
    let export = Export::from_json(body).map_err(|error| invalid_json(&error))?;
    let namespace = whose.namespace(state).await?;
    let cause = CommitCause::default();
    let store = &state.ports.store;
    let version = store.import(&namespace, export, writer(), cause).await?;
    Ok(Json(StateWritten { version }))
}

async fn change(state: &ApiState, whose: &Whose, op: StateOp) -> Result<Response, ApiError> {
    let commit = Commit {
        namespace: whose.namespace(state).await?,
        writer: writer(),
        ops: vec![op],
        cause: CommitCause::default(),
    };
    let version = state.ports.store.commit(commit).await?;
    Ok(([(ETAG, etag(version))], Json(StateWritten { version })).into_response())
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

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where a parameter is parsed"
)]
fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn limit(params: &Params, most: usize) -> Result<usize, ApiError> {
    let limit = params.read("limit", params::count(most))?;
    Ok(limit.unwrap_or(most).max(1))
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

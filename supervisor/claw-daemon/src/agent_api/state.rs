//! `/v1/state` and `/v1/shared`: the agent's own map of keys, and the one of the fleet.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use bytes::Bytes;
use claw_store::bus::{Completed, Done, Outcome};
use claw_store::state::{At, Commit, Expect, Look, Namespace, StateOp, Value, What};
use claw_store::store::UnixMs;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use serde_json::json;

use super::admission::{Context, WholeBody, bytes, json as answer};
use super::api::AgentApi;
use super::fault::{Code, Fault};
use super::outgoing::{self, Space};
use super::{limits, plain, wire, write_rate};

/// Says how long a value stays.
const TTL: HeaderName = HeaderName::from_static("openclaw-ttl-ms");

#[derive(Deserialize)]
pub(super) struct Shape {
    #[serde(default)]
    pub(super) form: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Lifetime {
    #[serde(default)]
    ttl_ms: Option<u64>,
}

pub(super) async fn get_own(
    State(context): State<Context>,
    Path(key): Path<String>,
    Query(shape): Query<Shape>,
) -> Result<Response, Fault> {
    get(&context, Space::Own, &key, &shape).await
}

pub(super) async fn get_shared(
    State(context): State<Context>,
    Path(key): Path<String>,
    Query(shape): Query<Shape>,
) -> Result<Response, Fault> {
    get(&context, Space::Shared, &key, &shape).await
}

pub(super) async fn put_own(
    State(context): State<Context>,
    Path(key): Path<String>,
    Query(session): Query<Lifetime>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    put(&context, Space::Own, (key, session.ttl_ms), &headers, &body).await
}

pub(super) async fn put_shared(
    State(context): State<Context>,
    Path(key): Path<String>,
    Query(session): Query<Lifetime>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    put(
        &context,
        Space::Shared,
        (key, session.ttl_ms),
        &headers,
        &body,
    )
    .await
}

pub(super) async fn delete_own(
    State(context): State<Context>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    delete(&context, Space::Own, key, &headers).await
}

pub(super) async fn delete_shared(
    State(context): State<Context>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    delete(&context, Space::Shared, key, &headers).await
}

async fn get(context: &Context, space: Space, key: &str, shape: &Shape) -> Result<Response, Fault> {
    wire::check_key(key)?;
    space.may_read(&context.endpoint.worker(), key)?;
    let namespace = space.namespace(&context.endpoint);
    let found = context
        .api
        .shared
        .store
        .get(&namespace, key, At::Head)
        .await?;
    value(found, key, shape.form.as_deref())
}

/// A value as an answer.
pub(super) fn value(
    found: Option<Value>,
    key: &str,
    form: Option<&str>,
) -> Result<Response, Fault> {
    let Some(value) = found else {
        let key: String = key.chars().take(80).collect();
        return Err(Fault::new(
            Code::UnknownKey,
            format!("there is no key `{key}`"),
        ));
    };
    let body = match form {
        None | Some("tagged") => Bytes::copy_from_slice(&value.bytes),
        Some("plain") => plain::form(&value.bytes).into(),
        Some(_) => return Err(Fault::bad("bad_form", "`form` is `tagged` or `plain`")),
    };
    let mut response = bytes(body);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(value.version));
    if let Some(ttl) = value.expires.and_then(left) {
        headers.insert(TTL, HeaderValue::from(ttl));
    }
    Ok(response)
}

pub(super) fn etag(version: u64) -> HeaderValue {
    // Digits between quotes are a header's value always.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Milliseconds until a value disappears.
pub(super) fn left(expires: UnixMs) -> Option<u64> {
    let now = jiff::Timestamp::now().as_millisecond();
    u64::try_from(expires.0.saturating_sub(now)).ok()
}

async fn put(
    context: &Context,
    space: Space,
    (key, ttl_ms): (String, Option<u64>),
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Fault> {
    wire::check_key(&key)?;
    space.may_write(&context.endpoint.worker(), &key)?;
    if body.len() > limits::VALUE {
        return Err(Fault::too_large("a value", limits::VALUE));
    }
    wire::check(body)?;
    let set = StateOp::Set {
        key,
        value: body.to_vec(),
        ttl: ttl_ms.map(Duration::from_millis),
        expect: expected(headers)?,
    };
    let commit = outgoing::commit(&context.endpoint, space, vec![set], None);
    let completed = write(context, commit, None, headers).await?;
    let version = completed.versions.first().copied().unwrap_or(0);
    let mut response = answer(&json!({ "version": version }));
    response.headers_mut().insert(header::ETAG, etag(version));
    Ok(response)
}

async fn delete(
    context: &Context,
    space: Space,
    key: String,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    wire::check_key(&key)?;
    space.may_write(&context.endpoint.worker(), &key)?;
    let expect = expected(headers)?;
    let look = Look {
        namespace: space.namespace(&context.endpoint),
        keys: vec![(key.clone(), What::Version)],
    };
    let ops = vec![StateOp::Delete { key, expect }];
    let commit = outgoing::commit(&context.endpoint, space, ops, None);
    let completed = write(context, commit, Some(look), headers).await?;
    let deleted = (completed.seen).is_some_and(|seen| seen.keys.iter().any(Option::is_some));
    let version = completed.versions.first();
    Ok(answer(&json!({"version": version, "deleted": deleted})))
}

/// Commits; a request that names itself is answered as it was the first time.
async fn write(
    context: &Context,
    commit: Commit,
    look: Option<Look>,
    headers: &HeaderMap,
) -> Result<Completed, Fault> {
    write_rate::turn(context).await?;
    let done = Done {
        member: context.endpoint.member(),
        work: outgoing::idempotency(headers, &context.endpoint)?,
        attempt: 1,
        settle: None,
        look,
        commits: vec![commit],
        events: Vec::new(),
        outcome: Outcome::Succeeded,
    };
    Ok(context.api.shared.store.transact(done).await?)
}

fn expected(headers: &HeaderMap) -> Result<Expect, Fault> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expect::Anything),
        (None, Some("*")) => Ok(Expect::Absent),
        (Some(version), None) => match version.trim_matches('"').parse() {
            Ok(0) => Ok(Expect::Absent),
            Ok(version) => Ok(Expect::Version(version)),
            Err(_) => Err(Fault::bad(
                "bad_version",
                "`If-Match` is a version in quotes",
            )),
        },
        (_, Some(_)) => Err(Fault::bad(
            "bad_version",
            "`If-None-Match` is `*`, and alone",
        )),
    }
}

/// The newest version of a namespace; 0 where nothing was ever set.
pub(super) async fn head(api: &AgentApi, namespace: &Namespace) -> u64 {
    let known = api.shared.store.namespaces().await.unwrap_or_default();
    let found = known.iter().find(|info| info.name == *namespace);
    found.map_or(0, |info| info.version)
}

#[derive(Deserialize)]
pub(super) struct Listing {
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    values: Option<bool>,
}

pub(super) async fn list_own(
    State(context): State<Context>,
    Query(asked): Query<Listing>,
) -> Result<Response, Fault> {
    list(&context, Space::Own, &asked).await
}

pub(super) async fn list_shared(
    State(context): State<Context>,
    Query(asked): Query<Listing>,
) -> Result<Response, Fault> {
    list(&context, Space::Shared, &asked).await
}

async fn list(context: &Context, space: Space, asked: &Listing) -> Result<Response, Fault> {
    let (worker, store) = (context.endpoint.worker(), &context.api.shared.store);
    let namespace = space.namespace(&context.endpoint);
    let prefix = asked.prefix.as_deref().unwrap_or_default();
    let after = asked.after.as_deref().unwrap_or_default();
    let limit = asked.limit.unwrap_or(limits::PAGE).clamp(1, limits::PAGE);
    let keys = store.list(&namespace, prefix, At::Head).await?;
    let mut wanted = keys
        .into_iter()
        .filter(|info| info.key.as_str() > after && space.may_read(&worker, &info.key).is_ok());
    let page: Vec<_> = wanted.by_ref().take(limit).collect();
    let more = wanted.next().is_some();
    let next = page.last().filter(|_| more).map(|info| info.key.clone());
    let mut entries = Vec::with_capacity(page.len());
    for info in page {
        let mut entry = json!({
            "key": info.key, "version": info.version, "bytes": info.size,
            "ttl_ms": info.expires.and_then(left),
        })
        .to_string();
        if asked.values == Some(true) {
            let Some(value) = store.get(&namespace, &info.key, At::Head).await? else {
                continue;
            };
            entry.pop();
            entry.push_str(",\"value\":");
            entry.push_str(&text(&value.bytes));
            entry.push('}');
        }
        entries.push(entry);
    }
    let version = head(&context.api, &namespace).await;
    let (entries, next) = (entries.join(","), json!(next));
    let page = format!("{{\"version\":{version},\"keys\":[{entries}],\"next\":{next}}}");
    Ok(bytes(page.into()))
}

/// A value, which is JSON and so UTF-8.
pub(super) fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

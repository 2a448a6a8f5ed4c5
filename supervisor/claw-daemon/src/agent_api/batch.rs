//! `POST /v1/state:batch` and `/v1/shared:batch`: all of it in one version, or nothing.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use claw_store::bus::Done;
use claw_store::state::{At, Namespace, Value};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::admission::{Context, WholeBody, bytes};
use super::fault::Fault;
use super::outgoing::{self, Space};
use super::state::{head, text};
use super::{token, wire};

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, default)]
    state: Vec<outgoing::Op<'a>>,
    #[serde(borrow, default)]
    events: Vec<outgoing::Emitted<'a>>,
}

pub(super) async fn batch_own(
    State(context): State<Context>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    batch(&context, Space::Own, &headers, &body).await
}

pub(super) async fn batch_shared(
    State(context): State<Context>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    batch(&context, Space::Shared, &headers, &body).await
}

async fn batch(
    context: &Context,
    space: Space,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Fault> {
    let asked: Batch<'_> = wire::read(body)?;
    let endpoint = &context.endpoint;
    let changes = outgoing::changes(&asked.state, space, &endpoint.worker())?;
    let trace = outgoing::trace(headers);
    let events = outgoing::events(
        &asked.events,
        endpoint.identity().as_str(),
        trace.as_deref(),
    )?;
    let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    let namespace = space.namespace(endpoint);
    let _alone = endpoint.alone().await;
    let seen = see(context, &namespace, &asked.state).await?;
    let mut commits = Vec::new();
    if !changes.is_empty() {
        commits.push(outgoing::commit(endpoint, space, changes, None));
    }
    let version = if commits.is_empty() && events.is_empty() {
        head(&context.api, &namespace).await
    } else {
        let done = Done {
            member: endpoint.member(),
            work: match outgoing::idempotency(headers, endpoint)? {
                Some(key) => key,
                None => token::random("batch_", 16)?,
            },
            attempt: 1,
            settle: None,
            commits,
            events,
        };
        let completed = context.api.shared.store.transact(done).await?;
        match completed.versions.first() {
            Some(version) => *version,
            None => head(&context.api, &namespace).await,
        }
    };
    let results: Vec<String> = seen.into_iter().map(|one| one.answer(version)).collect();
    let (results, ids) = (results.join(","), json!(ids));
    let text = format!("{{\"version\":{version},\"results\":[{results}],\"events\":{ids}}}");
    Ok(bytes(text.into()))
}

/// What a step of a batch found before the batch was done.
enum Seen {
    Value(Option<Value>),
    Set,
    Deleted(bool),
}

async fn see(
    context: &Context,
    namespace: &Namespace,
    ops: &[outgoing::Op<'_>],
) -> Result<Vec<Seen>, Fault> {
    let mut seen = Vec::with_capacity(ops.len());
    for op in ops {
        let found = match op.op {
            outgoing::Verb::Set => {
                seen.push(Seen::Set);
                continue;
            }
            outgoing::Verb::Get | outgoing::Verb::Delete => {
                context
                    .api
                    .shared
                    .store
                    .get(namespace, &op.key, At::Head)
                    .await?
            }
        };
        seen.push(match op.op {
            outgoing::Verb::Delete => Seen::Deleted(found.is_some()),
            outgoing::Verb::Get | outgoing::Verb::Set => Seen::Value(found),
        });
    }
    Ok(seen)
}

impl Seen {
    fn answer(self, version: u64) -> String {
        match self {
            Self::Value(Some(value)) => {
                let bytes = text(&value.bytes);
                format!("{{\"version\":{},\"value\":{bytes}}}", value.version)
            }
            Self::Value(None) => "{\"version\":0}".to_owned(),
            Self::Set => format!("{{\"version\":{version}}}"),
            Self::Deleted(deleted) => format!("{{\"deleted\":{deleted}}}"),
        }
    }
}

//! `POST /v1/state:batch` and `/v1/shared:batch`: all of it in one version, or nothing.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use claw_core::Generation;
use claw_store::bus::{Done, Outcome};
use claw_store::state::{Found, Look, What};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::admission::{Caller, Context, WholeBody, bytes};
use super::fault::Fault;
use super::origin::Origin;
use super::outgoing::{self, Space, Verb};
use super::state::text;
use super::{wire, write_rate};

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, default)]
    state: Vec<outgoing::Op<'a>>,
    #[serde(borrow, default)]
    events: Vec<outgoing::Emitted<'a>>,
}

pub(super) async fn batch_own(
    State(context): State<Context>,
    Caller(generation): Caller,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    batch(&context, (generation, Space::Own), &headers, &body).await
}

pub(super) async fn batch_shared(
    State(context): State<Context>,
    Caller(generation): Caller,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    batch(&context, (generation, Space::Shared), &headers, &body).await
}

async fn batch(
    context: &Context,
    (generation, space): (Generation, Space),
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Fault> {
    let asked: Batch<'_> = wire::read(body)?;
    let endpoint = &context.endpoint;
    let changes = outgoing::changes(&asked.state, space, &endpoint.worker())?;
    let origin = Origin::of(endpoint, generation, headers);
    let events = outgoing::events(&asked.events, &origin)?;
    let mut commits = Vec::new();
    if !changes.is_empty() {
        write_rate::turn(context).await?;
        commits.push(outgoing::commit(endpoint, space, changes, None));
    }
    let done = Done {
        member: endpoint.member(),
        work: outgoing::idempotency(headers, endpoint)?,
        attempt: 1,
        settle: None,
        look: Some(Look {
            namespace: space.namespace(endpoint),
            keys: asked.state.iter().filter_map(looked_at).collect(),
        }),
        commits,
        events,
        outcome: Outcome::Succeeded,
    };
    let completed = context.api.shared.store.transact(done).await?;
    let (version, found) = match completed.seen {
        Some(seen) => (seen.version, seen.keys),
        None => (0, Vec::new()),
    };
    let written = completed.versions.first().copied().unwrap_or(version);
    let mut found = found.into_iter();
    let results = asked.state.iter().map(|op| match op.op {
        Verb::Set => format!("{{\"version\":{written}}}"),
        Verb::Delete => format!("{{\"deleted\":{}}}", found.next().flatten().is_some()),
        Verb::Get => got(found.next().flatten()),
    });
    let results: Vec<String> = results.collect();
    let (results, ids) = (results.join(","), json!(completed.events));
    let text = format!("{{\"version\":{version},\"results\":[{results}],\"events\":{ids}}}");
    Ok(bytes(text.into()))
}

/// What a step has to know of its key as it was before.
fn looked_at(op: &outgoing::Op<'_>) -> Option<(String, What)> {
    let what = match op.op {
        Verb::Set => return None,
        Verb::Delete => What::Version,
        Verb::Get => What::Value,
    };
    Some((op.key.clone(), what))
}

fn got(found: Option<Found>) -> String {
    let Some(found) = found else {
        return "{\"version\":0}".to_owned();
    };
    let value = found.value.unwrap_or_default();
    let value = text(&value);
    format!("{{\"version\":{},\"value\":{value}}}", found.version)
}

//! `POST /v1/events`: what agents publish.

use axum::extract::State;
use axum::response::Response;
use claw_store::bus::{Done, Level, NewEvent, Outcome, Publisher, Receipt, Stored};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admission::{Context, WholeBody, json as answer};
use super::fault::{Code, Fault};
use super::origin::Origin;
use super::outgoing::{self, Emitted};
use super::wire;

pub(super) async fn publish(
    State(context): State<Context>,
    origin: Origin,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let emitted: Emitted<'_> = wire::read(&body)?;
    context.check_not_halted(Code::Unavailable)?;
    let event = emitted.event(&origin)?;
    let id = event.id.clone();
    let receipts = store(&context, vec![event]).await?;
    let duplicate = receipts
        .first()
        .is_some_and(|one| one.stored == Stored::Duplicate);
    Ok(answer(&Published { id, duplicate }))
}

#[derive(Serialize)]
struct Published {
    id: String,
    duplicate: bool,
}

#[derive(Deserialize)]
struct Many<'a> {
    #[serde(borrow)]
    events: Vec<Emitted<'a>>,
}

pub(super) async fn publish_many(
    State(context): State<Context>,
    origin: Origin,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let many: Many<'_> = wire::read(&body)?;
    context.check_not_halted(Code::Unavailable)?;
    let events = outgoing::events(&many.events, &origin)?;
    let ids = match outgoing::idempotency(&headers, &context.endpoint)? {
        None => {
            let ids = events.iter().map(|event| event.id.clone()).collect();
            store(&context, events).await?;
            ids
        }
        Some(work) => store_once(&context, work, events).await?,
    };
    Ok(answer(&json!({ "ids": ids })))
}

/// Publishes under a key: a repeat is answered with the ids of the first time.
async fn store_once(
    context: &Context,
    work: String,
    events: Vec<NewEvent>,
) -> Result<Vec<String>, Fault> {
    note(context, &events);
    let done = Done {
        member: context.endpoint.member(),
        work: Some(work),
        attempt: 1,
        settle: None,
        look: None,
        commits: Vec::new(),
        events,
        outcome: Outcome::Succeeded,
    };
    Ok(context.api.shared.store.transact(done).await?.events)
}

async fn store(context: &Context, events: Vec<NewEvent>) -> Result<Vec<Receipt>, Fault> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    note(context, &events);
    let store = &context.api.shared.store;
    Ok(store
        .publish(events, Level::Disk, Publisher::Outside)
        .await?)
}

fn note(context: &Context, events: &[NewEvent]) {
    let agent = &context.endpoint.agent;
    for event in events {
        tracing::debug!(target: "audit", %agent, id = event.id, topic = event.topic, "event published");
    }
}

//! `POST /api/events` and the dead letters: the bus from outside.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use claw_core::AgentName;
use claw_store::bus::{self, DeadId, Level, NewEvent, Publisher, Stored, Which};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::extract::{Whole, content_type, invalid_json};
use super::limits;
use super::params::{self, Params};
use super::problem::ApiError;
use super::state::ApiState;
use super::stored_state::time;
use crate::agent_api::{outside, refused_name};
use crate::api::{
    Code, DeadLetter, DeadLetterChoice, DeadLetterCount, DeadLetterList, Problem, Publish,
    Published, routes,
};

/// Who publishes, when nobody says.
const SOURCE: &str = "api";

/// The longest delay.
const DELAY: Duration = Duration::from_secs(30 * 24 * 3600);

const CLOUDEVENT: &str = "application/cloudevents+json";

/// An event as `CloudEvents` writes it.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    specversion: String,
    #[serde(rename = "type")]
    kind: String,
    id: String,
    source: String,
    #[serde(default)]
    partitionkey: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Publish an event
///
/// The event is durable when this is answered. A CloudEvent in JSON is taken too.
#[utoipa::path(
    post, path = routes::EVENTS, tag = "events",
    request_body(content(
        (Publish = "application/json"),
        (serde_json::Value = "application/cloudevents+json"),
    )),
    responses(
        (status = 200, description = "It is stored", body = Published),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn publish(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<Published>, ApiError> {
    params.only(&[])?;
    let event = if content_type(&headers, &[CLOUDEVENT]).is_ok() {
        from_cloudevent(&body)?
    } else {
        content_type(&headers, &["application/json", CLOUDEVENT])?;
        from_json(&body)?
    };
    if let Some((_rule, why)) = refused_name(&event.topic) {
        return Err(ApiError::new(Code::BadEvent, why));
    }
    let id = event.id.clone();
    let store = &state.ports.store;
    let receipts = store
        .publish(vec![event], Level::Disk, Publisher::Outside)
        .await?;
    let duplicate = receipts.iter().any(|receipt| receipt.stored != Stored::New);
    Ok(Json(Published { id, duplicate }))
}

fn from_json(body: &[u8]) -> Result<NewEvent, ApiError> {
    let asked: Publish = serde_json::from_slice(body).map_err(|error| invalid_json(&error))?;
    let delay = asked
        .delay_ms
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis);
    if delay.is_some_and(|delay| delay > DELAY) {
        let detail = "an event is delayed by 30 days at most";
        return Err(ApiError::new(Code::BadEvent, detail));
    }
    Ok(NewEvent {
        id: match asked.id {
            Some(id) => id,
            None => crate::agent_api::event_id()
                .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?,
        },
        source: SOURCE.to_owned(),
        topic: asked.name,
        key: asked.key,
        data: data(asked.data.as_deref()),
        delay,
        ..NewEvent::default()
    })
}

fn from_cloudevent(body: &[u8]) -> Result<NewEvent, ApiError> {
    let event: CloudEvent<'_> =
        serde_json::from_slice(body).map_err(|error| invalid_json(&error))?;
    if event.specversion != "1.0" {
        return Err(ApiError::new(Code::BadEvent, "`specversion` is `1.0`"));
    }
    // A source from outside must not pass for an agent.
    let source = format!("{SOURCE}:{}", event.source);
    Ok(NewEvent {
        id: event.id,
        source,
        topic: event.kind,
        key: event.partitionkey,
        data: data(event.data),
        ..NewEvent::default()
    })
}

fn data(value: Option<&RawValue>) -> Vec<u8> {
    value.map_or("null", RawValue::get).as_bytes().to_vec()
}

/// Dead letters
///
/// The events that agents have given up, newest first.
#[utoipa::path(
    get, path = routes::DEAD_LETTERS, tag = "events",
    params(
        ("agent" = Option<String>, Query, description = "Only those of this agent"),
        ("before" = Option<i64>, Query, description = "Only those older than this one"),
        ("limit" = Option<u32>, Query, description = "At most so many, 100 by default"),
    ),
    responses(
        (status = 200, description = "The letters", body = DeadLetterList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn dead(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<DeadLetterList>, ApiError> {
    params.only(&["agent", "before", "limit"])?;
    let agent = params.read("agent", |text| Ok(text.to_owned()))?;
    let before = params.read("before", params::count(i64::MAX))?.map(DeadId);
    let limit = params.read("limit", params::count(limits::LETTERS_PAGE_MOST))?;
    let limit = limit.unwrap_or(limits::LETTERS_PAGE).max(1);
    let store = &state.ports.store;
    let groups = match agent {
        Some(agent) => vec![subscriber(&state, &agent).await?],
        None => store.groups().await?,
    };
    let mut letters = Vec::new();
    for group in groups {
        // One more says whether there are more.
        letters.extend(store.dead_letters_before(&group, before, limit + 1).await?);
    }
    letters.sort_by_key(|letter| std::cmp::Reverse(letter.id));
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = letters.len() > page;
    letters.truncate(page);
    Ok(Json(DeadLetterList {
        letters: letters.iter().map(letter_told).collect(),
        next: letters.last().filter(|_| more).map(|last| last.id.0),
    }))
}

/// Deliver dead letters again
#[utoipa::path(
    post, path = routes::DEAD_LETTERS_REPLAY, tag = "events",
    request_body(content = DeadLetterChoice, content_type = "application/json"),
    responses(
        (status = 200, description = "They are delivered again", body = DeadLetterCount),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replay(
    State(state): State<ApiState>,
    params: Params,
    Whole(body): Whole,
) -> Result<Json<DeadLetterCount>, ApiError> {
    params.only(&[])?;
    let (group, which) = chosen(&state, &body).await?;
    let count = state.ports.store.redrive(&group, which).await?;
    counted(count, which)
}

/// Delete dead letters
#[utoipa::path(
    post, path = routes::DEAD_LETTERS_DROP, tag = "events",
    request_body(content = DeadLetterChoice, content_type = "application/json"),
    responses(
        (status = 200, description = "They are gone", body = DeadLetterCount),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn drop_letters(
    State(state): State<ApiState>,
    params: Params,
    Whole(body): Whole,
) -> Result<Json<DeadLetterCount>, ApiError> {
    params.only(&[])?;
    let (group, which) = chosen(&state, &body).await?;
    let count = state.ports.store.discard(&group, which).await?;
    counted(count, which)
}

async fn chosen(state: &ApiState, body: &[u8]) -> Result<(String, Which), ApiError> {
    let choice: DeadLetterChoice =
        serde_json::from_slice(body).map_err(|error| invalid_json(&error))?;
    let group = subscriber(state, &choice.agent).await?;
    let which = choice.id.map_or(Which::All, |id| Which::One(DeadId(id)));
    Ok((group, which))
}

fn counted(count: u64, which: Which) -> Result<Json<DeadLetterCount>, ApiError> {
    match which {
        Which::One(DeadId(id)) if count == 0 => {
            let detail = format!("there is no dead letter {id} of that agent");
            Err(ApiError::new(Code::NoSuchDeadLetter, detail))
        }
        Which::One(_) | Which::All => Ok(Json(DeadLetterCount { count })),
    }
}

/// An agent that gets events, or got them once.
pub(super) async fn subscriber(state: &ApiState, agent: &str) -> Result<String, ApiError> {
    let groups = state.ports.store.groups().await?;
    if groups.iter().any(|group| group == agent) {
        return Ok(agent.to_owned());
    }
    let shown: String = agent.chars().take(80).collect();
    let detail = format!("`{shown}` is no agent that gets events");
    let error = ApiError::new(Code::NoSuchAgent, detail);
    Err(match agent.parse::<AgentName>() {
        Ok(name) => error.agent(&name),
        Err(_) => error,
    })
}

fn letter_told(letter: &bus::DeadLetter) -> DeadLetter {
    let event = &letter.event;
    let data = serde_json::from_slice(&event.data);
    DeadLetter {
        id: letter.id.0,
        agent: letter.group.clone(),
        at: time(letter.at),
        attempts: letter.attempts,
        reason: letter.reason.as_str().to_owned(),
        error: letter.error.clone(),
        event: event.id.clone(),
        name: outside(&event.topic).to_owned(),
        source: event.source.clone(),
        data: data.unwrap_or_else(|_no_json| RawValue::NULL.to_owned()),
    }
}

//! `POST /api/events/replay`: an agent gets events again from a point on.

use axum::Json;
use axum::extract::State;
use claw_store::bus::Start;
use claw_store::store::UnixMs;

use super::bus::subscriber;
use super::extract::{Whole, invalid_json};
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Problem, Replay, Replayed, routes};

/// Deliver events again
///
/// The agent gets every event that it subscribes to from a point on, in order, whether it was
/// handled or not; what it works on meanwhile is not its any more. Other agents are not concerned.
#[utoipa::path(
    post, path = routes::EVENTS_REPLAY, tag = "events",
    request_body(content = Replay, content_type = "application/json"),
    responses(
        (status = 200, description = "They are delivered again", body = Replayed),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn replay(
    State(state): State<ApiState>,
    params: Params,
    Whole(body): Whole,
) -> Result<Json<Replayed>, ApiError> {
    params.only(&[])?;
    let asked: Replay = serde_json::from_slice(&body).map_err(|error| invalid_json(&error))?;
    let from = match (asked.sequence, asked.since) {
        (None, None) => Start::Beginning,
        (Some(sequence), None) => Start::At(sequence),
        (None, Some(since)) => Start::Time(UnixMs(since.as_millisecond())),
        (Some(_), Some(_)) => {
            let detail = "`sequence` and `since` are two points; leave one out";
            return Err(ApiError::new(Code::BadEvent, detail));
        }
    };
    let group = subscriber(&state, &asked.agent).await?;
    let store = &state.ports.store;
    store.seek(&group, from).await?;
    tracing::info!(target: "audit", agent = group, ?from, "events are delivered again");
    let figures = store.figures(&group).await?;
    Ok(Json(Replayed {
        pending: figures.pending + figures.in_flight,
    }))
}

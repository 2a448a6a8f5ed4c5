//! `GET /api/agents/{name}/transitions`: the evidence behind `why`.

use axum::Json;
use axum::extract::State;

use super::extract::Name;
use super::limits;
use super::params::{self, Params};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Problem, TransitionList, routes};

/// What happened lately
///
/// Ends of instances, settled slots and turns of the kill switch, newest first.
#[utoipa::path(
    get, path = routes::TRANSITIONS, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("limit" = Option<u32>, Query, description = "At most so many, 20 by default"),
    ),
    responses(
        (status = 200, description = "The transitions", body = TransitionList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Json<TransitionList>, ApiError> {
    params.only(&["limit"])?;
    let limit = params.read("limit", params::count(limits::TRANSITIONS_MOST))?;
    let limit = limit.unwrap_or(limits::TRANSITIONS).max(1);
    let status = state.status(&agent).await?;
    let question = (agent.clone(), limit);
    let mut transitions = state.ports.journal.transitions.call(question).await?;
    if !status.switch_changes.is_empty() {
        let turned = status.switch_changes.iter().map(Into::into);
        transitions.extend(turned);
        transitions.sort_by_key(|transition| std::cmp::Reverse(transition.at));
        transitions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(Json(TransitionList {
        agent: agent.to_string(),
        transitions,
    }))
}

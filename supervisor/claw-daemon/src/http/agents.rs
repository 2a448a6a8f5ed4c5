//! `GET /api/agents`: what `status` shows.

use axum::Json;
use axum::extract::State;

use super::extract::Name;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Agent, AgentList, Problem, routes};

/// All agents
///
/// Every agent of the fleet, by name.
#[utoipa::path(
    get, path = routes::AGENTS, tag = "agents",
    responses(
        (status = 200, description = "The agents", body = AgentList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<AgentList>, ApiError> {
    params.only(&[])?;
    let (statuses, used) = tokio::join!(state.statuses(), state.meter.read());
    let now = state.now();
    let agents = statuses?
        .iter()
        .map(|status| Agent::render(status, used.of(&status.name), now))
        .collect();
    let project = (state.ports.config.current)().fleet.project.clone();
    Ok(Json(AgentList { project, agents }))
}

/// One agent
#[utoipa::path(
    get, path = routes::AGENT, tag = "agents",
    params(("name" = String, Path, description = "The agent's name")),
    responses(
        (status = 200, description = "The agent", body = Agent),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    Name(name): Name,
    params: Params,
) -> Result<Json<Agent>, ApiError> {
    params.only(&[])?;
    let (status, used) = tokio::join!(state.status(&name), state.meter.read());
    Ok(Json(Agent::render(&status?, used.of(&name), state.now())))
}

//! `GET /api/agents`: what `status` shows.

use axum::Json;
use axum::extract::State;
use claw_core::InstanceId;

use super::extract::Name;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{AgentList, Named, Problem, routes};

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
    let agents = statuses?
        .iter()
        .map(|status| state.render(status, used.of(&status.name)))
        .collect();
    Ok(Json(state.list(agents)))
}

/// One agent
///
/// By a name that stands for several replicas: all of them.
#[utoipa::path(
    get, path = routes::AGENT, tag = "agents",
    params(("name" = String, Path, description = "The agent's name")),
    responses(
        (status = 200, description = "The agent", body = Named),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    Name(name): Name,
    params: Params,
) -> Result<Json<Named>, ApiError> {
    params.only(&[])?;
    let Some(members) = state.replicas(&name) else {
        let (status, used) = tokio::join!(state.status(&name), state.meter.read());
        let status = status?;
        let mut agent = state.render(&status, used.of(&name));
        if let (Some(container), Some(live)) = (&mut agent.container, &status.instance) {
            let instance = InstanceId {
                agent: name,
                generation: live.generation,
            };
            container.digest = state.ports.image_digest.call(instance).await;
        }
        return Ok(Json(Named::Agent(Box::new(agent))));
    };
    let (statuses, used) = tokio::join!(state.statuses(), state.meter.read());
    let statuses = statuses?;
    let found = statuses
        .iter()
        .filter(|status| members.contains(&status.name));
    let agents = found.map(|status| state.render(status, used.of(&status.name)));
    Ok(Json(Named::Replicas(state.list(agents.collect()))))
}

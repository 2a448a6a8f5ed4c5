//! `GET /api/agents/{name}/learned`: the system calls of an agent that its list does not have.

use axum::Json;
use axum::extract::State;
use claw_core::AgentName;
use claw_core::spec::sandbox::SystemCalls;
use claw_drivers::sandbox::merged;

use super::extract::Name;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{LearnedCallList, Problem, routes};

/// What was learned of its system calls
///
/// Calls that the usual filter refuses, as counted while `seccomp` is `learn`, and the line that
/// allows them. By a name that stands for several replicas: of all of them.
#[utoipa::path(
    get, path = routes::LEARNED, tag = "agents",
    params(("name" = String, Path, description = "The agent's name")),
    responses(
        (status = 200, description = "The calls", body = LearnedCallList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Name(name): Name,
    params: Params,
) -> Result<Json<LearnedCallList>, ApiError> {
    params.only(&[])?;
    let members = match state.replicas(&name) {
        Some(members) => members,
        None => vec![state.status(&name).await?.name],
    };
    let filters: Vec<SystemCalls> = members
        .iter()
        .filter_map(|member| filter_of(&state, member))
        .collect();
    let asked = members
        .into_iter()
        .map(|member| state.ports.learned.call(member));
    let told = futures_util::future::join_all(asked).await;
    Ok(Json(LearnedCallList::new(
        &filters,
        &merged(told.into_iter().flatten()),
    )))
}

fn filter_of(state: &ApiState, agent: &AgentName) -> Option<SystemCalls> {
    let current = (state.ports.config.current)();
    let spec = current.fleet.agents.get(agent)?;
    let sandbox = spec.launch.sandbox.as_ref()?;
    Some(sandbox.seccomp.clone())
}

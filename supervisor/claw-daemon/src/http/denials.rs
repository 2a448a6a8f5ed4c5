//! `GET /api/agents/{name}/denials`: what an agent was not allowed to reach.

use axum::Json;
use axum::extract::State;

use super::extract::Name;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{DenialList, Problem, routes};

/// What was denied lately
///
/// Connections of an agent that its sandbox did not let out, newest first, with the line of the
/// fleet file that would allow each. By a name that stands for several replicas: of all of them.
#[utoipa::path(
    get, path = routes::DENIALS, tag = "agents",
    params(("name" = String, Path, description = "The agent's name")),
    responses(
        (status = 200, description = "The denials", body = DenialList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Name(name): Name,
    params: Params,
) -> Result<Json<DenialList>, ApiError> {
    params.only(&[])?;
    let members = match state.replicas(&name) {
        Some(members) => members,
        None => vec![state.status(&name).await?.name],
    };
    let mut denials: Vec<_> = members
        .iter()
        .flat_map(|member| (state.ports.denials)(member))
        .collect();
    denials.sort_by_key(|denial| std::cmp::Reverse(denial.at));
    Ok(Json(DenialList { denials }))
}

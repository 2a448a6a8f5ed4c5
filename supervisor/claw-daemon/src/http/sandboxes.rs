//! `/api/sandboxes`: code that is run once.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use claw_drivers::container::pool::RunError;
use http::HeaderMap;

use super::extract::{Large, SandboxIn, content_type, invalid_json};
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Problem, SandboxCommand, SandboxList, SandboxOutcome, routes};

/// When a busy sandbox may have a place again.
const AGAIN: Duration = Duration::from_secs(1);

/// List sandboxes
#[utoipa::path(
    get, path = routes::SANDBOXES, tag = "sandboxes",
    responses(
        (status = 200, description = "The sandboxes of the fleet file", body = SandboxList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<SandboxList>, ApiError> {
    params.only(&[])?;
    let sandboxes = state.ports.sandboxes.list();
    Ok(Json(SandboxList {
        sandboxes: sandboxes.into_iter().map(Into::into).collect(),
    }))
}

/// Run a command in a sandbox
///
/// Answers when the command has ended. Hanging up ends it.
#[utoipa::path(
    post, path = routes::SANDBOX_RUN, tag = "sandboxes",
    params(("name" = String, Path, description = "The sandbox's name")),
    request_body = SandboxCommand,
    responses(
        (status = 200, description = "It has ended", body = SandboxOutcome),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn run(
    State(state): State<ApiState>,
    SandboxIn(name): SandboxIn,
    params: Params,
    headers: HeaderMap,
    Large(body): Large,
) -> Result<Json<SandboxOutcome>, ApiError> {
    params.only(&[])?;
    let asked = read(&headers, &body)?;
    if asked.image.is_some() {
        let detail = "the path names a sandbox, which has an image of its own; remove `image`";
        return Err(ApiError::bad_parameter("image", detail));
    }
    let command = asked.read().map_err(unusable)?;
    let outcome = state.ports.sandboxes.run(&name, &command).await?;
    Ok(Json(outcome.into()))
}

/// Run a command in an image
///
/// In a container made for it, with the usual bounds.
#[utoipa::path(
    post, path = routes::IMAGE_RUN, tag = "sandboxes",
    request_body = SandboxCommand,
    responses(
        (status = 200, description = "It has ended", body = SandboxOutcome),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn run_image(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
    Large(body): Large,
) -> Result<Json<SandboxOutcome>, ApiError> {
    params.only(&[])?;
    let mut asked = read(&headers, &body)?;
    let image = asked.image.take().filter(|image| !image.is_empty());
    let image = image.ok_or_else(|| ApiError::bad_parameter("image", "name an `image`"))?;
    let command = asked.read().map_err(unusable)?;
    let outcome = state.ports.sandboxes.run_image(&image, &command).await?;
    Ok(Json(outcome.into()))
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<SandboxCommand, ApiError> {
    content_type(headers, &["application/json"])?;
    serde_json::from_slice(body).map_err(|error| invalid_json(&error))
}

fn unusable(why: String) -> ApiError {
    ApiError::new(Code::BadParameter, why)
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        let detail = error.to_string();
        match error {
            RunError::NoSuchSandbox(_) => Self::new(Code::NoSuchSandbox, detail),
            RunError::Invalid(_) => Self::new(Code::BadParameter, detail),
            RunError::Busy { .. } => Self::new(Code::SandboxBusy, detail).retry_after(AGAIN),
            RunError::Engine(_) => Self::new(Code::EngineUnavailable, detail),
            RunError::Unusable(_) => Self::new(Code::SandboxUnusable, detail),
            RunError::Ending => Self::new(Code::ShuttingDown, detail),
        }
    }
}

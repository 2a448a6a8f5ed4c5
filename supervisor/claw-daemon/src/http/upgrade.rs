//! `POST /api/upgrade`: another executable in place of the supervisor's.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};

use super::caller::Link;
use super::extract::{Whole, content_type, invalid_json};
use super::params::Params;
use super::ports::{UpgradeQuestion, UpgradeRefusal};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Problem, UpgradeBegun, UpgradeRequest, routes};

/// How long a new supervisor may take if nothing is said.
const PATIENCE: f64 = 30.0;

/// The longest that may be said, in seconds.
const LONGEST: f64 = 600.0;

/// Upgrade the supervisor
///
/// The executable checks that it can read the data directory; then the supervisor ends, agents go
/// on, and the executable is started with the same arguments, environment and working directory.
/// When it is not ready in time, the old one is started again. Downgrades are the same. Only for a
/// supervisor in the background (`clawctl up --detach`), and on the control socket only.
#[utoipa::path(
    post, path = routes::UPGRADE, tag = "supervisor",
    request_body(content = UpgradeRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "The upgrade has begun", body = UpgradeBegun),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn upgrade(
    State(state): State<ApiState>,
    link: Link,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<UpgradeBegun>), ApiError> {
    params.only(&[])?;
    link.admin_only("upgrading the supervisor")?;
    content_type(&headers, &["application/json"])?;
    let request: UpgradeRequest =
        serde_json::from_slice(&body).map_err(|error| invalid_json(&error))?;
    let question = checked(request)?;
    let begun = state.ports.upgrade.call(question).await?;
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

fn checked(request: UpgradeRequest) -> Result<UpgradeQuestion, ApiError> {
    if !request.binary.is_absolute() {
        let detail = "`binary` is an absolute path, such as /usr/local/bin/clawctl";
        return Err(ApiError::bad_parameter("binary", detail));
    }
    let seconds = request.timeout_seconds.unwrap_or(PATIENCE);
    if !(1.0..=LONGEST).contains(&seconds) {
        let detail = format!("`timeout_seconds` is from 1 to {LONGEST}");
        return Err(ApiError::bad_parameter("timeout_seconds", detail));
    }
    Ok(UpgradeQuestion {
        binary: request.binary,
        patience: Duration::from_secs_f64(seconds),
    })
}

impl From<UpgradeRefusal> for ApiError {
    fn from(refusal: UpgradeRefusal) -> Self {
        Self::new(Code::UpgradeRefused, refusal.to_string())
    }
}

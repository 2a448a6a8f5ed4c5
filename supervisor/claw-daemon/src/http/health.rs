//! The supervisor's own health, its readiness, and its end.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use claw_core::AgentStatus;
use claw_core::event::ShutdownMode;
use http::StatusCode;

use super::caller::Link;
use super::limits;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Degraded, Engine, Health, Overall, Part, Problem, Ready, routes};

/// Health
///
/// Always 200 while the supervisor answers; parts that do not work as they should are named.
#[utoipa::path(
    get, path = routes::HEALTH, tag = "supervisor",
    responses((status = 200, description = "How the supervisor is", body = Health)),
)]
pub(super) async fn health(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Health>, ApiError> {
    params.only(&[])?;
    let (mut degraded, engine) = tokio::join!(degraded(&state), state.ports.engine.call(()));
    if let Some(Engine::Unreachable { detail }) = &engine {
        degraded.push(Degraded {
            part: Part::Engine,
            detail: detail.clone(),
        });
    }
    let now = state.now();
    let status = match degraded.as_slice() {
        [] => Overall::Ok,
        [_, ..] => Overall::Degraded,
    };
    Ok(Json(Health {
        status,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        project: (state.ports.config.current)().fleet.project.clone(),
        pid: std::process::id(),
        started_at: state.started_at,
        uptime_seconds: crate::api::seconds_between(state.started_at, now),
        degraded,
        lockdown: state.ports.lockdown,
        engine,
    }))
}

/// Readiness
///
/// 200 once the fleet is loaded and the journal can be written, else 503.
#[utoipa::path(
    get, path = routes::READY, tag = "supervisor",
    responses(
        (status = 200, description = "The supervisor may be given work", body = Ready),
        (status = 503, description = "It may not", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ready(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Ready>, ApiError> {
    params.only(&[])?;
    let lacking = degraded(&state)
        .await
        .into_iter()
        .find(|one| match one.part {
            Part::Journal | Part::Loop => true,
            Part::Disk | Part::Sandbox | Part::Engine => false,
        });
    match lacking {
        None => Ok(Json(Ready { ready: true })),
        Some(lacking) => Err(ApiError::new(Code::NotReady, lacking.detail)),
    }
}

async fn degraded(state: &ApiState) -> Vec<Degraded> {
    let mut degraded = (state.ports.degraded)();
    match state.statuses().await {
        Ok(statuses) => degraded.extend(degraded_sandboxes(state, &statuses)),
        Err(error) => degraded.push(Degraded {
            part: Part::Loop,
            detail: error.problem().detail.clone(),
        }),
    }
    degraded.extend(full_disk(state).await);
    degraded.sort_by_key(|one| one.part);
    degraded
}

/// The agents that run with less of a sandbox than their file wants.
fn degraded_sandboxes(state: &ApiState, statuses: &[AgentStatus]) -> Vec<Degraded> {
    let of = |status: &AgentStatus| {
        let sandbox = state.sandbox(status)?;
        let losses: Vec<&str> = sandbox.losses.iter().map(|one| one.loss.as_str()).collect();
        (!losses.is_empty()).then(|| Degraded {
            part: Part::Sandbox,
            detail: format!("`{}` runs degraded: {}", status.name, losses.join("; ")),
        })
    };
    statuses.iter().filter_map(of).collect()
}

async fn full_disk(state: &ApiState) -> Option<Degraded> {
    let data_dir = std::sync::Arc::clone(&state.data_dir);
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(data_dir.as_path()));
    let disk = asked.await.ok()?.ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    (free < limits::DISK_FREE).then(|| Degraded {
        part: Part::Disk,
        detail: format!(
            "the disk of {} has {} MiB left",
            state.data_dir.display(),
            free >> 20
        ),
    })
}

/// End the supervisor
///
/// `stop` (the default) stops every agent first, each with its grace; `keep` leaves them running
/// for the next supervisor; `hasten` kills them. Allowed on the control socket only.
#[utoipa::path(
    post, path = routes::SHUTDOWN, tag = "supervisor",
    params(("mode" = Option<String>, Query, description = "`stop`, `keep` or `hasten`")),
    responses(
        (status = 202, description = "The supervisor is ending"),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn shutdown(
    State(state): State<ApiState>,
    link: Link,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["mode"])?;
    link.admin_only("ending the supervisor")?;
    let mode = params.read("mode", shutdown_mode)?;
    let mode = mode.unwrap_or(ShutdownMode::Stop);
    state.ports.fleet.shutdown.call(mode).await;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn shutdown_mode(text: &str) -> Result<ShutdownMode, String> {
    match text {
        "stop" => Ok(ShutdownMode::Stop),
        "keep" => Ok(ShutdownMode::Keep),
        "hasten" => Ok(ShutdownMode::Hasten),
        _ => Err("this is `stop`, `keep` or `hasten`".to_owned()),
    }
}

//! `POST /api/agents/{name}/start` and its kin: what an agent should be doing.
//!
//! Without `wait` the answer comes as soon as the supervisor has taken the goal up: 202 with the
//! status right after. For `stop` and `restart`, which the core answers only when they are done,
//! that moment is known because the loop takes requests in order: a look at the status that was
//! sent after the command is answered after the command was taken up, or refused. With `wait` the
//! answer comes when the command is done: 200.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use claw_core::event::Freeze;
use claw_core::{AgentName, AgentStatus, Answer, Command};
use http::StatusCode;

use super::extract::{Name, Whole, content_type};
use super::params::{self, Params};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Named, Problem, routes};

/// Start an agent
///
/// Sets its goal to up; clears `gave_up` and a waiting backoff.
#[utoipa::path(
    post, path = routes::START, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("wait" = Option<String>, Query, description = "Wait so long, such as `30s`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    responses(
        (status = 202, description = "The goal was taken up", body = Named),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn start(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["wait"])?;
    change(&state, Command::Start { agent }, &params).await
}

/// Stop an agent
///
/// Sets its goal to down, kept across restarts of the supervisor.
#[utoipa::path(
    post, path = routes::STOP, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("wait" = Option<String>, Query, description = "Wait until it is stopped, such as `30s`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    responses(
        (status = 200, description = "With `wait`: it is stopped", body = Named),
        (status = 202, description = "The goal was taken up", body = Named),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stop(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["wait"])?;
    change(&state, Command::Stop { agent }, &params).await
}

/// Restart an agent
///
/// Stops it, then starts it.
#[utoipa::path(
    post, path = routes::RESTART, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("wait" = Option<String>, Query, description = "Wait for the new instance, such as `30s`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    responses(
        (status = 200, description = "With `wait`: the new instance was spawned", body = Named),
        (status = 202, description = "The restart was taken up", body = Named),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn restart(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["wait"])?;
    change(&state, Command::Restart { agent }, &params).await
}

/// What pausing may be told in its body.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseOptions {
    /// Whether the running processes are frozen too.
    #[serde(default)]
    freeze: bool,
}

/// Pause an agent
///
/// No new runs or starts. A running instance goes on, or is frozen. `freeze` may stand in the
/// query or in the body.
#[utoipa::path(
    post, path = routes::PAUSE, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("freeze" = Option<bool>, Query, description = "Freeze the running processes too"),
        ("wait" = Option<String>, Query, description = "Wait so long, such as `30s`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    request_body(content = Option<PauseOptions>, content_type = "application/json"),
    responses(
        (status = 202, description = "The agent is paused", body = Named),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn pause(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
    headers: http::HeaderMap,
    Whole(body): Whole,
) -> Result<Response, ApiError> {
    params.only(&["wait", "freeze"])?;
    let in_query = params.read("freeze", params::switch)?;
    let in_body = pause_options(&headers, &body)?.freeze;
    let freeze = match in_query.unwrap_or(in_body) {
        true => Freeze::Yes,
        false => Freeze::No,
    };
    change(&state, Command::Pause { agent, freeze }, &params).await
}

fn pause_options(headers: &http::HeaderMap, body: &[u8]) -> Result<PauseOptions, ApiError> {
    if body.is_empty() {
        return Ok(PauseOptions::default());
    }
    content_type(headers, &["application/json"])?;
    serde_json::from_slice(body).map_err(|error| super::extract::invalid_json(&error))
}

/// Resume an agent
///
/// Undoes pause.
#[utoipa::path(
    post, path = routes::RESUME, tag = "agents",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("wait" = Option<String>, Query, description = "Wait so long, such as `30s`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    responses(
        (status = 202, description = "The agent is no longer paused", body = Named),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn resume(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&["wait"])?;
    change(&state, Command::Resume { agent }, &params).await
}

async fn change(state: &ApiState, command: Command, params: &Params) -> Result<Response, ApiError> {
    let wait = params.read("wait", params::wait)?;
    let code = match wait {
        None => StatusCode::ACCEPTED,
        Some(_) => StatusCode::OK,
    };
    let Some(members) = state.replicas(command.agent()) else {
        let status = done(state, command, wait).await?;
        let used = state.meter.read().await;
        let agent = state.render(&status, used.of(&status.name));
        return Ok((code, Json(Named::Agent(Box::new(agent)))).into_response());
    };
    let each = members
        .into_iter()
        .map(|member| done(state, command.to(member), wait));
    let statuses = futures_util::future::join_all(each).await;
    let statuses: Vec<_> = statuses.into_iter().collect::<Result<_, _>>()?;
    let used = state.meter.read().await;
    let agents = statuses
        .iter()
        .map(|status| state.render(status, used.of(&status.name)));
    let list = state.list(agents.collect());
    Ok((code, Json(Named::Replicas(list))).into_response())
}

async fn done(
    state: &ApiState,
    command: Command,
    wait: Option<Duration>,
) -> Result<AgentStatus, ApiError> {
    match wait {
        None => take_up(state, command).await,
        Some(wait) => carry_out(state, command, wait).await,
    }
}

/// Sends a command and resolves when it was taken up, refused or done, whichever is first.
async fn take_up(state: &ApiState, command: Command) -> Result<AgentStatus, ApiError> {
    let agent = command.agent().clone();
    let asked = state.ports.fleet.ask.call(command);
    // Biased, so that the command is sent before the look, and its answer is seen before the
    // look's. Hanging up on the command afterwards does not undo it.
    tokio::select! {
        biased;
        answer = asked => status_of(state, &agent, answer?).await,
        status = state.status(&agent) => status,
    }
}

async fn carry_out(
    state: &ApiState,
    command: Command,
    wait: Duration,
) -> Result<AgentStatus, ApiError> {
    let agent = command.agent().clone();
    let asked = state.ports.fleet.ask.call(command);
    match tokio::time::timeout(wait, asked).await {
        Ok(answer) => status_of(state, &agent, answer?).await,
        Err(_elapsed) => {
            let detail = format!(
                "{agent} was not done within {} s; it goes on, see `clawctl status {agent}`",
                wait.as_secs_f64()
            );
            Err(ApiError::new(Code::WaitTimedOut, detail).agent(&agent))
        }
    }
}

async fn status_of(
    state: &ApiState,
    agent: &AgentName,
    answer: Answer,
) -> Result<AgentStatus, ApiError> {
    match answer {
        Answer::Status(status) => Ok(*status),
        Answer::Run(_) | Answer::Configured { .. } => state.status(agent).await,
    }
}

//! Runs: ask for one, look at them, cancel one.

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use claw_core::{AgentName, Answer, Command, Refusal, RunId};
use http::StatusCode;
use http::header::LOCATION;

use super::derived_run::Derived;
use super::extract::{Name, RunIn, Whole, content_type, json_text};
use super::idempotency::Keyed;
use super::limits;
use super::outcome;
use super::params::{self, Params};
use super::ports::RunsQuestion;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Problem, Run, RunList, routes};

/// Ask for a run
///
/// The body, if there is one, is JSON for the run. The answer is the run, which is durable by
/// then; with `wait` it comes when the run has ended. A wait that times out answers the problem
/// `wait_timed_out` with the run, which goes on.
#[utoipa::path(
    post, path = routes::TRIGGER, tag = "runs",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("wait" = Option<String>, Query, description = "Wait for the outcome, such as `30s`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same run"),
    ),
    request_body(content = Option<serde_json::Value>, content_type = "application/json",
        description = "The payload"),
    responses(
        (status = 200, description = "With `wait`: the run has ended", body = Run),
        (status = 202, description = "The run was accepted", body = Run,
            headers(("Location" = String, description = "The run"))),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn trigger(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
    keyed: Option<Extension<Keyed>>,
    Payload(payload): Payload,
) -> Result<Response, ApiError> {
    params.only(&["wait"])?;
    let wait = params.read("wait", params::wait)?;
    // Listening begins before the run does, so that no outcome is missed.
    let events = wait.map(|_| (state.ports.events)(None));
    let deadline = wait.map(|wait| tokio::time::Instant::now() + wait);
    let run = match &keyed {
        None => ask_for_run(&state, agent, payload, None).await?,
        Some(Extension(keyed)) => match keyed.run(&state).await? {
            Derived::Anew(run) => ask_for_run(&state, agent, payload, Some(run)).await?,
            Derived::Before(run) => run,
        },
    };
    let location = [(LOCATION, routes::for_run(routes::RUN, run.id))];
    match events.zip(deadline) {
        None => Ok((StatusCode::ACCEPTED, location, Json(Run::from(&*run))).into_response()),
        Some((events, deadline)) => {
            let run = outcome::of(&state, &run, events, deadline).await?;
            Ok((StatusCode::OK, location, Json(run)).into_response())
        }
    }
}

async fn ask_for_run(
    state: &ApiState,
    agent: AgentName,
    payload: Option<String>,
    run: Option<RunId>,
) -> Result<Box<claw_core::Run>, ApiError> {
    let command = Command::Trigger {
        agent: state.for_run(agent).await?,
        payload,
        run,
    };
    accepted(state.ask(command).await?)
}

/// JSON for the run, if there is any.
pub(super) struct Payload(Option<String>);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let headers = request.headers().clone();
        let Whole(body) = Whole::from_request(request, state).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        content_type(&headers, &["application/json"])?;
        json_text(&body).map(|text| Self(Some(text)))
    }
}

fn accepted(answer: Answer) -> Result<Box<claw_core::Run>, ApiError> {
    match answer {
        Answer::Run(run) => Ok(run),
        Answer::Status(_) | Answer::Configured { .. } => {
            let detail = "the supervisor answered a trigger with something else";
            Err(ApiError::new(Code::Internal, detail))
        }
    }
}

/// Runs of an agent
///
/// Newest first, a page at a time; by a name that stands for several replicas, those of all.
#[utoipa::path(
    get, path = routes::RUNS, tag = "runs",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("limit" = Option<u32>, Query, description = "At most so many, 50 by default"),
        ("before" = Option<String>, Query, description = "Only runs older than this one"),
    ),
    responses(
        (status = 200, description = "The runs", body = RunList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Name(agent): Name,
    params: Params,
) -> Result<Json<RunList>, ApiError> {
    params.only(&["limit", "before"])?;
    let limit = params.read("limit", params::count(limits::RUNS_PAGE_MOST))?;
    let limit = limit.unwrap_or(limits::RUNS_PAGE).max(1);
    let before = params.read("before", |text| {
        text.parse()
            .map_err(|error: claw_core::id::RunIdError| error.to_string())
    })?;
    let members = if let Some(members) = state.replicas(&agent) {
        members
    } else {
        state.status(&agent).await?;
        vec![agent]
    };
    let mut found = Vec::new();
    for agent in members {
        let question = RunsQuestion {
            agent,
            limit,
            before,
        };
        found.extend(state.ports.journal.runs.call(question).await?);
    }
    found.sort_by_key(|run| std::cmp::Reverse(run.queued_at));
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let full = found.len() >= page;
    found.truncate(page);
    let last = found.last().map(|run| run.id.to_string());
    Ok(Json(RunList {
        runs: found.iter().map(Run::from).collect(),
        next: last.filter(|_| full),
    }))
}

/// One run
#[utoipa::path(
    get, path = routes::RUN, tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The run", body = Run),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    RunIn(id): RunIn,
    params: Params,
) -> Result<Json<Run>, ApiError> {
    params.only(&[])?;
    let found = state.ports.journal.run.call(id).await?;
    let run = found.ok_or_else(|| {
        let detail = format!("there is no run {id}; old runs are forgotten after a time");
        ApiError::new(Code::NoSuchRun, detail)
    })?;
    Ok(Json(Run::from(&run)))
}

/// Cancel a run
///
/// Drops a queued run, ends a running one.
#[utoipa::path(
    post, path = routes::CANCEL, tag = "runs",
    params(
        ("name" = String, Path, description = "The agent's name"),
        ("id" = String, Path, description = "The run's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer"),
    ),
    responses(
        (status = 202, description = "The run is being ended", body = Run),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Name(agent): Name,
    RunIn(run): RunIn,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let answer = state.ask(Command::Cancel { agent, run }).await?;
    let run = match answer {
        Answer::Run(run) => *run,
        Answer::Status(_) | Answer::Configured { .. } => {
            let found = state.ports.journal.run.call(run).await?;
            found.ok_or(Refusal::NoSuchRun { run })?
        }
    };
    Ok((StatusCode::ACCEPTED, Json(Run::from(&run))).into_response())
}

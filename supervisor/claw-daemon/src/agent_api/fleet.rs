//! `/v1/fleet`: other agents, for those that manage them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use claw_core::event::Freeze;
use claw_core::{AgentName, AgentStatus, Answer, Command, Reason};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::admission::{Context, WholeBody, json as answer};
use super::fault::{Code, Fault};
use super::wire;
use crate::http::ports::AskError;

pub(super) async fn list(State(context): State<Context>) -> Result<Response, Fault> {
    let worker = context.endpoint.worker();
    if worker.manages.is_empty() {
        return Err(forbidden(None));
    }
    let handle = &context.api.shared.handle;
    let statuses = handle.inspect(|fleet, now| fleet.statuses(now)).await;
    let statuses = statuses.map_err(refused)?;
    let visible = statuses
        .iter()
        .filter(|status| worker.may_manage(&status.name));
    let mut agents = Vec::new();
    for status in visible {
        agents.push(told(&context, status).await);
    }
    Ok(answer(&json!({ "agents": agents })))
}

pub(super) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Response, Fault> {
    let agent = managed(&context, &name)?;
    Ok(answer(&look(&context, &agent).await?))
}

#[derive(Default, Deserialize)]
struct Asked<'a> {
    #[serde(default)]
    reason: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

pub(super) async fn command(
    State(context): State<Context>,
    Path((name, verb)): Path<(String, String)>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let agent = managed(&context, &name)?;
    let asked: Asked<'_> = wire::read_or_default(&body)?;
    if agent == context.endpoint.agent {
        return Err(Fault::new(
            Code::Forbidden,
            "an agent does not command itself",
        ));
    }
    let reason: String = asked.reason.unwrap_or_default().chars().take(200).collect();
    tracing::info!(target: "audit", by = %context.endpoint.agent, %agent, verb, reason, "an agent commands another");
    let named = agent.clone();
    let command = match verb.as_str() {
        "start" => Command::Start { agent },
        "stop" => Command::Stop { agent },
        "restart" => Command::Restart { agent },
        "pause" => Command::Pause {
            agent,
            freeze: Freeze::No,
        },
        "resume" => Command::Resume { agent },
        "trigger" => Command::Trigger {
            agent,
            payload: asked.payload.map(|payload| payload.get().to_owned()),
        },
        _ => return Err(Fault::new(Code::NotFound, "there is no such command")),
    };
    let answered = context
        .api
        .shared
        .handle
        .ask(command)
        .await
        .map_err(refused)?;
    let told = match answered {
        Answer::Run(run) => json!({ "run": run.id }),
        Answer::Status(_) | Answer::Configured { .. } => look(&context, &named).await?,
    };
    Ok((StatusCode::ACCEPTED, answer(&told)).into_response())
}

fn managed(context: &Context, name: &str) -> Result<AgentName, Fault> {
    let agent = name.parse::<AgentName>().ok();
    match agent {
        Some(agent) if context.endpoint.worker().may_manage(&agent) => Ok(agent),
        Some(_) | None => Err(forbidden(Some(name))),
    }
}

/// The same whether there is such an agent or not.
fn forbidden(name: Option<&str>) -> Fault {
    let what: String = name.map_or_else(|| "other agents".to_owned(), |name| format!("`{name}`"));
    let what: String = what.chars().take(80).collect();
    let message = format!("the agent does not manage {what}; see `manages` in the fleet file");
    Fault::new(Code::Forbidden, message)
}

fn refused(error: AskError) -> Fault {
    match error {
        AskError::Refused(refusal) => {
            let detail = json!({"reason": refusal.code()});
            Fault::new(Code::Refused, refusal.to_string()).detail(detail)
        }
        AskError::Gone => Fault::new(Code::Unavailable, "the supervisor is ending"),
    }
}

async fn look(context: &Context, agent: &AgentName) -> Result<Json, Fault> {
    let name = agent.clone();
    let handle = &context.api.shared.handle;
    let status = handle
        .inspect(move |fleet, now| fleet.status(&name, now))
        .await;
    match status.map_err(refused)? {
        Some(status) => Ok(told(context, &status).await),
        None => Err(Fault::new(
            Code::NotFound,
            format!("there is no agent `{agent}`"),
        )),
    }
}

async fn told(context: &Context, status: &AgentStatus) -> Json {
    let store = &context.api.shared.store;
    let figures = store.figures(status.name.as_str()).await;
    let pending = figures.map_or(0, |figures| figures.pending);
    let next_start = match &status.reason {
        Reason::BackingOff { until, .. } => Some(wire::time(*until)),
        Reason::WaitingFor { .. }
        | Reason::Queued
        | Reason::PreStart
        | Reason::Spawning
        | Reason::StartingUp
        | Reason::Up
        | Reason::Waiting
        | Reason::Working { .. }
        | Reason::NotReady { .. }
        | Reason::Paused
        | Reason::Frozen
        | Reason::Ending { .. }
        | Reason::Asked
        | Reason::Completed
        | Reason::GaveUp { .. }
        | Reason::Refused { .. }
        | Reason::NotRestarted { .. } => None,
    };
    json!({
        "name": status.name, "phase": status.state.as_str(), "ready": status.ready,
        "reason": status.reason.code(), "since": wire::time(status.since), "replicas": 1,
        "restarts": status.restarts, "pending_events": pending, "next_start": next_start,
    })
}

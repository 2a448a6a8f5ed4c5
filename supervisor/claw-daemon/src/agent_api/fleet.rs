//! `/v1/fleet`: other agents, for those that manage them.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use claw_core::event::Freeze;
use claw_core::{AgentName, AgentStatus, Answer, Command, Reason};
use futures_util::future::join_all;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::admission::{Context, WholeBody, json as answer};
use super::fault::{Code, Fault};
use super::wire;
use crate::http::ports::AskError;
use crate::replicas::freest;

pub(super) async fn list(State(context): State<Context>) -> Result<Response, Fault> {
    let worker = context.endpoint.worker();
    if worker.manages.is_empty() {
        return Err(forbidden(None));
    }
    let handle = &context.api.shared.handle;
    let statuses = handle.inspect(|fleet, now| fleet.statuses(now)).await;
    let statuses = statuses.map_err(refused)?;
    let replicas = context.api.replicas();
    let mut visible: BTreeMap<AgentName, Vec<&AgentStatus>> = BTreeMap::new();
    for status in &statuses {
        let identity = replicas.identity(&status.name);
        if worker.may_manage(&identity) {
            visible.entry(identity).or_default().push(status);
        }
    }
    let mut agents = Vec::new();
    for (identity, statuses) in &visible {
        agents.extend(told(&context, identity, statuses).await);
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
    context.check_not_halted(Code::Refused)?;
    let asked: Asked<'_> = wire::read_or_default(&body)?;
    if context.api.replicas().identity(&agent) == context.endpoint.identity() {
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
            run: None,
        },
        _ => return Err(Fault::new(Code::NotFound, "there is no such command")),
    };
    let replicas = context.api.replicas();
    let own = [named.clone()];
    let mut members = replicas.members(&named).unwrap_or(&own).to_vec();
    if verb == "trigger" && members.len() > 1 {
        let statuses = (context.api.shared.handle)
            .inspect(|fleet, now| fleet.statuses(now))
            .await;
        members = freest(&members, &statuses.map_err(refused)?)
            .into_iter()
            .collect();
    }
    let each = members
        .into_iter()
        .map(|member| context.api.shared.handle.ask(command.to(member)));
    let mut run = None;
    for answered in join_all(each).await {
        match answered.map_err(refused)? {
            Answer::Run(accepted) => run = Some(accepted.id),
            Answer::Status(_) | Answer::Configured { .. } => {}
        }
    }
    let told = match run {
        Some(run) => json!({ "run": run }),
        None => look(&context, &named).await?,
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
    let replicas = context.api.replicas();
    let own = [agent.clone()];
    let members = replicas.members(agent).unwrap_or(&own).to_vec();
    let handle = &context.api.shared.handle;
    let statuses = handle
        .inspect(move |fleet, now| {
            let each = members
                .iter()
                .filter_map(|member| fleet.status(member, now));
            each.collect::<Vec<_>>()
        })
        .await
        .map_err(refused)?;
    let statuses: Vec<_> = statuses.iter().collect();
    told(context, agent, &statuses)
        .await
        .ok_or_else(|| Fault::new(Code::NotFound, format!("there is no agent `{agent}`")))
}

/// An agent as others see it: its replicas are one, which is what the worst off of them is.
async fn told(context: &Context, name: &AgentName, members: &[&AgentStatus]) -> Option<Json> {
    let worst = members.iter().find(|status| !status.ready);
    let status = worst.or_else(|| members.first())?;
    let store = &context.api.shared.store;
    let figures = store.figures(name.as_str()).await;
    let pending = figures.map_or(0, |figures| figures.pending);
    let restarts: u64 = members.iter().map(|status| status.restarts).sum();
    Some(json!({
        "name": name, "phase": status.state.as_str(), "ready": status.ready,
        "reason": status.reason.code(), "since": wire::time(status.since),
        "replicas": members.len(), "restarts": restarts, "pending_events": pending,
        "next_start": next_start(&status.reason),
    }))
}

fn next_start(reason: &Reason) -> Option<String> {
    match reason {
        Reason::BackingOff { until, .. } => Some(wire::time(*until)),
        Reason::WaitingFor { .. }
        | Reason::Queued
        | Reason::ProviderDown { .. }
        | Reason::PreStart
        | Reason::Spawning
        | Reason::Preparing { .. }
        | Reason::Unobserved { .. }
        | Reason::NeedsRestart { .. }
        | Reason::StartingUp
        | Reason::Up
        | Reason::Waiting
        | Reason::Working { .. }
        | Reason::NotReady { .. }
        | Reason::Paused
        | Reason::Frozen
        | Reason::Halted(_)
        | Reason::Ending { .. }
        | Reason::Asked
        | Reason::Completed
        | Reason::GaveUp { .. }
        | Reason::Refused { .. }
        | Reason::NotRestarted { .. } => None,
    }
}

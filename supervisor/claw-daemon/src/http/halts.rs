//! `POST /api/halt` and its kin: the kill switch.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use claw_core::{AgentName, AgentStatus, Answer, Command, Halt, HaltLevel, InstanceId, Refusal};
use futures_util::future::join_all;

use super::caller::Link;
use super::extract::{Whole, content_type, invalid_json};
use super::limits;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, HaltRequest, Halted, HaltedList, Held, LiftRequest, Problem, routes};

/// Whom a request is about.
struct Chosen<'a> {
    agents: &'a [String],
    all: bool,
}

/// What is halted
///
/// Every agent that is halted, and what waits for the end of that.
#[utoipa::path(
    get, path = routes::HALT, tag = "halt",
    responses(
        (status = 200, description = "Those that are halted", body = HaltedList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<HaltedList>, ApiError> {
    params.only(&[])?;
    let mut statuses = state.statuses().await?;
    statuses.retain(|status| status.halt.is_some());
    Ok(Json(told(&state, &statuses).await))
}

/// Halt agents
///
/// From now on they do no more than the level allows, whoever asks, until somebody lifts it; also
/// across restarts of the supervisor and the machine. Answered when that is written down, whether
/// or not the agents answer. A level that is in force already is no change; another one takes its
/// place.
#[utoipa::path(
    post, path = routes::HALT, tag = "halt",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer")),
    request_body(content = HaltRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "They are halted", body = HaltedList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn halt(
    State(state): State<ApiState>,
    link: Link,
    params: Params,
    headers: http::HeaderMap,
    Whole(body): Whole,
) -> Result<Json<HaltedList>, ApiError> {
    params.only(&[])?;
    let HaltRequest {
        level,
        agents,
        all,
        reason,
    } = read(&headers, &body)?;
    let chosen = Chosen {
        agents: &agents,
        all,
    };
    let agents = chosen_agents(&state, chosen, |_status| true).await?;
    let halt = Halt {
        level: level.into(),
        since: state.now(),
        by: link.name(),
        why: reason.as_deref().map(checked_reason).transpose()?,
    };
    let commands = agents.into_iter().map(|agent| {
        let halt = halt.clone();
        Command::Halt { agent, halt }
    });
    carry_out(&state, commands.collect()).await
}

/// Lift halts
///
/// Lets agents go on as they were wanted before; slots that fell due meanwhile follow their
/// `catch_up`. On the control socket only: what reaches the supervisor over TCP may be an agent.
#[utoipa::path(
    post, path = routes::RESUME_ALL, tag = "halt",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key, the same answer")),
    request_body(content = LiftRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "They are halted no more", body = HaltedList),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn lift(
    State(state): State<ApiState>,
    link: Link,
    params: Params,
    headers: http::HeaderMap,
    Whole(body): Whole,
) -> Result<Json<HaltedList>, ApiError> {
    params.only(&[])?;
    link.admin_only("lifting a halt")?;
    let LiftRequest { agents, all } = read(&headers, &body)?;
    let chosen = Chosen {
        agents: &agents,
        all,
    };
    let agents = chosen_agents(&state, chosen, |status| status.halt.is_some()).await?;
    let commands = agents.into_iter().map(|agent| {
        let by = link.name();
        Command::Lift { agent, by }
    });
    carry_out(&state, commands.collect()).await
}

fn read<T: serde::de::DeserializeOwned>(
    headers: &http::HeaderMap,
    body: &[u8],
) -> Result<T, ApiError> {
    content_type(headers, &["application/json"])?;
    serde_json::from_slice(body).map_err(|error| invalid_json(&error))
}

/// One line of bounded length: it is shown wherever the agent is.
fn checked_reason(reason: &str) -> Result<String, ApiError> {
    let line = reason.trim().to_owned();
    let bad = |detail: String| Err(ApiError::bad_parameter("reason", detail));
    if line.chars().count() > limits::HALT_REASON {
        return bad(format!(
            "a reason has at most {} characters",
            limits::HALT_REASON
        ));
    }
    if line.is_empty() || line.contains(char::is_control) {
        return bad("a reason is one line of text, or left out".to_owned());
    }
    Ok(line)
}

/// The agents that a request names, or all that `in_all` picks. Nothing is done when one of the
/// names is nobody's.
async fn chosen_agents(
    state: &ApiState,
    chosen: Chosen<'_>,
    in_all: impl Fn(&AgentStatus) -> bool,
) -> Result<BTreeSet<AgentName>, ApiError> {
    let statuses = state.statuses().await?;
    match (chosen.all, chosen.agents) {
        (true, []) => {
            let picked = statuses.iter().filter(|status| in_all(status));
            Ok(picked.map(|status| status.name.clone()).collect())
        }
        (false, [_, ..]) => {
            let mut agents = BTreeSet::new();
            for text in chosen.agents {
                agents.extend(members(state, &statuses, text)?);
            }
            Ok(agents)
        }
        (true, [_, ..]) | (false, []) => Err(ApiError::bad_parameter(
            "agents",
            "name agents, or say `\"all\": true`",
        )),
    }
}

fn members(
    state: &ApiState,
    statuses: &[AgentStatus],
    text: &str,
) -> Result<Vec<AgentName>, ApiError> {
    let name: AgentName = text.parse().map_err(|error: claw_core::name::NameError| {
        ApiError::new(Code::BadAgentName, error.to_string()).parameter("agents")
    })?;
    if let Some(members) = state.replicas(&name) {
        return Ok(members);
    }
    if statuses.iter().any(|status| status.name == name) {
        return Ok(vec![name]);
    }
    Err(Refusal::NoSuchAgent { agent: name }.into())
}

/// All at once: none waits for another's journal. The first refusal is the answer, after all were
/// asked.
async fn carry_out(state: &ApiState, commands: Vec<Command>) -> Result<Json<HaltedList>, ApiError> {
    let asked = commands.into_iter().map(|command| state.ask(command));
    let mut statuses = Vec::new();
    for answer in join_all(asked).await {
        match answer? {
            Answer::Status(status) => statuses.push(*status),
            Answer::Run(_) | Answer::Configured { .. } => {}
        }
    }
    Ok(Json(told(state, &statuses).await))
}

async fn told(state: &ApiState, statuses: &[AgentStatus]) -> HaltedList {
    let replicas = (state.ports.config.replicas)();
    let groups = statuses
        .iter()
        .map(|status| replicas.identity(&status.name));
    let groups: Vec<AgentName> = groups.collect();
    let events = groups.into_iter().map(|group| pending_events(state, group));
    let events = join_all(events).await;
    let agents = statuses.iter().zip(events).map(|(status, events)| Halted {
        agent: status.name.to_string(),
        group: replicas
            .place(&status.name)
            .map(|place| place.group.to_string()),
        state: status.state.into(),
        halt: status.halt.as_ref().map(Into::into),
        held: Held {
            slots: status.runs.held_slots,
            runs: status.runs.queued,
            events,
        },
        uncut: uncut(state, status),
    });
    HaltedList {
        agents: agents.collect(),
    }
}

/// What goes on although it should be cut.
fn uncut(state: &ApiState, status: &AgentStatus) -> Option<String> {
    let halt = status.halt.as_ref()?;
    let instance = InstanceId {
        agent: status.name.clone(),
        generation: status.instance.as_ref()?.generation,
    };
    match halt.level {
        HaltLevel::Egress => (state.ports.uncut)(&instance),
        HaltLevel::Runs | HaltLevel::Freeze | HaltLevel::Kill => None,
    }
}

/// A kill switch does not wait for a store that is stuck.
async fn pending_events(state: &ApiState, group: AgentName) -> Option<u64> {
    let figures = state.ports.store.figures(group.as_str());
    let figures = tokio::time::timeout(limits::FIGURES_TIME, figures).await;
    figures.ok()?.ok().map(|figures| figures.pending)
}

//! What agents say beside their work: metrics, log lines, alerts.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::admission::{Context, WholeBody, json as answer};
use super::fault::{Code, Fault};
use super::series::Sample;
use super::{limits, token, wire};

/// The longest line that is taken.
const LINE: usize = 16 * 1024;

/// Alerts that are remembered for an agent.
const ALERTS: usize = 1000;

#[derive(Deserialize)]
struct Metrics {
    metrics: Vec<Sample>,
}

pub(super) async fn metrics(
    State(context): State<Context>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let said: Metrics = wire::read(&body)?;
    for sample in &said.metrics {
        sample.check()?;
    }
    context.endpoint.series.take(&said.metrics);
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct Lines {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: Option<String>,
    message: String,
}

pub(super) async fn logs(
    State(context): State<Context>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let said: Lines = wire::read(&body)?;
    if said.lines.len() > limits::LOG_LINES {
        return Err(Fault::bad("too_many", "more than 1000 lines"));
    }
    let agent = &context.endpoint.agent;
    for line in said.lines {
        let message: String = line.message.chars().take(LINE).collect();
        match line.level.as_deref() {
            Some("error") => tracing::error!(target: "agent", %agent, "{message}"),
            Some("warning") => tracing::warn!(target: "agent", %agent, "{message}"),
            Some("debug") => tracing::debug!(target: "agent", %agent, "{message}"),
            Some(_) | None => tracing::info!(target: "agent", %agent, "{message}"),
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct Alert {
    title: String,
    #[serde(default)]
    severity: Option<String>,
    #[serde(default)]
    details: Option<BTreeMap<String, Json>>,
    #[serde(default)]
    dedup_key: Option<String>,
}

/// An alert is told in the supervisor's log: there are no notifiers yet, and the answer says so.
pub(super) async fn alert(
    State(context): State<Context>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let alert: Alert = wire::read(&body)?;
    let severity = alert.severity.as_deref().unwrap_or("error");
    if !["info", "warning", "error", "critical"].contains(&severity) {
        return Err(Fault::bad(
            "bad_severity",
            "`severity` is info, warning, error or critical",
        ));
    }
    let id = token::random("al_", 8)?;
    if let Some(known) = alert
        .dedup_key
        .and_then(|key| told_before(&context, key, &id))
    {
        return Ok(answer(&json!({"id": known, "sent": [], "duplicate": true})));
    }
    let title: String = alert.title.chars().take(LINE).collect();
    let details = json!(alert.details).to_string();
    tracing::warn!(target: "alert", agent = %context.endpoint.agent, severity, details, "{title}");
    Ok(answer(&json!({"id": id, "sent": [], "duplicate": false})))
}

fn told_before(context: &Context, key: String, id: &str) -> Option<String> {
    let now = Instant::now();
    let mut inside = context.endpoint.lock();
    inside
        .alerts
        .retain(|_, (at, _)| now.duration_since(*at) < limits::ALERT_WINDOW);
    if let Some((_, known)) = inside.alerts.get(&key) {
        return Some(known.clone());
    }
    if inside.alerts.len() < ALERTS {
        inside.alerts.insert(key, (now, id.to_owned()));
    }
    None
}

pub(super) async fn notify() -> Fault {
    Fault::new(Code::NotFound, "the project has no notifiers")
}

/// `POST /v1/work/{id}/extend`: leases are renewed here, as long as the process lives.
pub(super) async fn extend() -> Fault {
    let message = "leases are renewed as long as the agent lives; there is nothing to extend";
    Fault::new(Code::Unsupported, message)
}

//! `GET /v1/control`, the answer without an end through which the supervisor speaks, and the
//! agent's answers to it.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::admission::{Caller, Context, WholeBody, session_lost};
use super::fault::Fault;
use super::session::ProbeAnswer;
use super::{limits, wire};

/// The longest detail of a probe's answer.
const DETAIL: usize = 500;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    session: Option<String>,
}

pub(super) async fn control(
    State(context): State<Context>,
    Caller(generation): Caller,
    Query(asked): Query<Asked>,
) -> Result<Response, Fault> {
    let (sender, receiver) = mpsc::channel(limits::CONTROL_LINES);
    let listening = context.endpoint.with(generation, |session| {
        let known = asked.session.is_some() && session.id == asked.session;
        known.then(|| session.listen(sender))
    });
    if listening.flatten().is_none() {
        return Err(session_lost());
    }
    let closing = context.api.shared.closing.clone();
    let lines = stream(receiver, closing);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// Messages as they come, and pings between them. Ends when another stream takes its place.
fn stream(
    mut lines: mpsc::Receiver<Bytes>,
    closing: tokio_util::sync::CancellationToken,
) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    async_stream::stream! {
        let mut pings = tokio::time::interval(limits::HEARTBEAT);
        loop {
            let line = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                line = lines.recv() => match line {
                    Some(line) => line,
                    None => return,
                },
                _ = pings.tick() => ping(),
            };
            yield Ok(line);
        }
    }
}

fn ping() -> Bytes {
    let at = wire::time(jiff::Timestamp::now());
    format!("{}\n", json!({"kind": "ping", "at": at})).into()
}

/// `POST /v1/control/{id}`.
pub(super) async fn answered(
    State(context): State<Context>,
    Caller(generation): Caller,
    Path(id): Path<String>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    #[derive(Default, Deserialize)]
    struct Answer {
        #[serde(default)]
        status: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    wire::check_id(&id, "the id of a control line")?;
    let answer: Answer = wire::read_or_default(&body)?;
    if answer.status.as_deref() == Some("failed") {
        let agent = &context.endpoint.agent;
        let message: String = answer
            .message
            .unwrap_or_default()
            .chars()
            .take(DETAIL)
            .collect();
        tracing::warn!(%agent, "the agent could not do what it was told: {message}");
    }
    context
        .endpoint
        .with(generation, |session| session.messages.answered(&id));
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/probe/{id}`.
pub(super) async fn probed(
    State(context): State<Context>,
    Caller(generation): Caller,
    Path(id): Path<String>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    #[derive(Deserialize)]
    struct Answer {
        ok: bool,
        #[serde(default)]
        detail: Option<String>,
    }
    wire::check_id(&id, "the id of a probe")?;
    let answer: Answer = wire::read(&body)?;
    let detail = answer
        .detail
        .map(|text| text.chars().take(DETAIL).collect());
    let waiting = context.endpoint.with(generation, |session| {
        session.messages.answered(&id);
        session.probes.remove(&id)
    });
    if let Some(waiting) = waiting.flatten() {
        let ok = answer.ok;
        // Whoever asked has given up meanwhile.
        drop(waiting.send(ProbeAnswer { ok, detail }));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

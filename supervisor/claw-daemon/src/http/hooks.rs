//! `POST /api/hooks/{name}`: calls from outside, signed by who makes them.
//!
//! `Openclaw-Signature: t=<unix seconds>,v1=<hex>`, where `v1` is HMAC-SHA-256 of the webhook's
//! secret over `<t>.<body>`. A call is taken once: its signature is remembered for longer than its
//! time is near enough, in memory and, over a restart, by the bus or the journal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use claw_core::{AgentName, Answer, Command};
use claw_store::bus::{Level, NewEvent, Publisher, Stored as StoredEvent};
use http::HeaderMap;

use super::extract::{HookIn, Whole, json_text};
use super::idempotency::Stored;
use super::params::Params;
use super::problem::ApiError;
use super::state::ApiState;
use crate::agent_api::{hex, hmac_sha256, same};
use crate::api::{Code, HookTaken, Problem, Time, routes};
use crate::config::{Webhook, WebhookTarget};

const SIGNATURE: &str = "openclaw-signature";

/// How far the time of a call may be from now.
const WINDOW: Duration = Duration::from_secs(300);

const MINUTE: Duration = Duration::from_secs(60);

/// What is remembered of calls; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// Signatures that were taken, and when they may be forgotten.
    taken: BTreeMap<String, Instant>,
    /// What each webhook may still take, and since when.
    left: BTreeMap<String, (Instant, f64)>,
}

/// Whether a call is the first with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    Before,
}

impl Calls {
    /// Takes one call out of what a webhook may take in a minute.
    fn may_call(&self, name: &str, per_minute: u32) -> bool {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, most) = (Instant::now(), f64::from(per_minute));
        let left = remembered
            .left
            .entry(name.to_owned())
            .or_insert((now, most));
        let gained = now.duration_since(left.0).as_secs_f64() / MINUTE.as_secs_f64() * most;
        *left = (now, (left.1 + gained).min(most));
        if left.1 < 1.0 {
            return false;
        }
        left.1 -= 1.0;
        true
    }

    fn take(&self, signature: &str) -> Seen {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        remembered.taken.retain(|_, until| *until > now);
        match remembered
            .taken
            .insert(signature.to_owned(), now + WINDOW * 2)
        {
            Some(_) => Seen::Before,
            None => Seen::Never,
        }
    }

    fn forget(&self, signature: &str) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.taken.remove(signature);
    }
}

/// Call a webhook
///
/// The body is JSON: the payload of the run, or the data of the event. It is signed with the
/// webhook's secret in the header `Openclaw-Signature`.
#[utoipa::path(
    post, path = routes::HOOK, tag = "events",
    params(
        ("name" = String, Path, description = "The webhook's name"),
        ("Openclaw-Signature" = String, Header, description = "`t=SECONDS,v1=HEX`"),
    ),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses(
        (status = 200, description = "It was taken", body = HookTaken),
        (status = "default", description = "A problem", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn call(
    State(state): State<ApiState>,
    HookIn(name): HookIn,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<HookTaken>, ApiError> {
    params.only(&[])?;
    let webhook = (state.ports.webhook)(&name).ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        ApiError::new(Code::NoSuchHook, format!("there is no webhook `{shown}`"))
    })?;
    if !state.calls.may_call(&name, webhook.per_minute) {
        let detail = format!("`{name}` takes {} calls a minute", webhook.per_minute);
        return Err(ApiError::new(Code::RateLimited, detail));
    }
    let signature = verified(&webhook, &headers, &body, state.now()).inspect_err(|error| {
        tracing::warn!(target: "audit", hook = name, "refused: {}", error.problem().detail);
    })?;
    let text = json_text(&body)?;
    let signature = format!("{name}:{signature}");
    if state.calls.take(&signature) == Seen::Before {
        return Ok(Json(HookTaken {
            event: None,
            run: None,
            duplicate: true,
        }));
    }
    let taken = match &webhook.target {
        WebhookTarget::Agent(agent) => trigger(&state, agent, text, &signature).await,
        WebhookTarget::Event(event) => publish(&state, (&name, event), text, &signature).await,
    };
    if taken.is_err() {
        state.calls.forget(&signature);
    }
    taken.map(Json)
}

/// The signature of the call, if it is right and new enough.
fn verified(
    webhook: &Webhook,
    headers: &HeaderMap,
    body: &[u8],
    now: Time,
) -> Result<String, ApiError> {
    let bad = |why: &str| ApiError::new(Code::BadSignature, why).parameter("Openclaw-Signature");
    let given = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let given = given.ok_or_else(|| bad("the call has no `Openclaw-Signature: t=…,v1=…`"))?;
    let part = |name: &str| {
        let mut parts = given.split(',').map(str::trim);
        parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let (Some(time), Some(signature)) = (part("t"), part("v1")) else {
        return Err(bad("the signature has no `t=…,v1=…`"));
    };
    let message = [time.as_bytes(), b".", body].concat();
    let expected = hex(&hmac_sha256(webhook.secret.expose().as_bytes(), &message));
    if !same(expected.as_bytes(), signature.as_bytes()) {
        return Err(bad(
            "the signature is not that of this body with the webhook's secret",
        ));
    }
    let seconds: i64 = time.parse().map_err(|_no_number| bad("`t` is no number"))?;
    if now.as_second().abs_diff(seconds) > WINDOW.as_secs() {
        return Err(bad("the call was signed more than 5 minutes from now"));
    }
    Ok(expected)
}

async fn publish(
    state: &ApiState,
    (name, topic): (&str, &str),
    text: String,
    signature: &str,
) -> Result<HookTaken, ApiError> {
    // The bus knows its id for longer than the call's time is near enough.
    let id = format!("hook:{}", &signature[signature.len() - 64..]);
    let event = NewEvent {
        id: id.clone(),
        source: format!("hook:{name}"),
        topic: topic.to_owned(),
        data: text.into_bytes(),
        ..NewEvent::default()
    };
    let store = &state.ports.store;
    let receipts = store
        .publish(vec![event], Level::Disk, Publisher::Outside)
        .await?;
    let duplicate = receipts
        .iter()
        .any(|receipt| receipt.stored != StoredEvent::New);
    Ok(HookTaken {
        event: Some(id),
        run: None,
        duplicate,
    })
}

async fn trigger(
    state: &ApiState,
    agent: &AgentName,
    text: String,
    signature: &str,
) -> Result<HookTaken, ApiError> {
    let key = format!("hook:{signature}");
    if let Some(known) = state.ports.journal.recall.call(key.clone()).await? {
        return Ok(HookTaken {
            event: None,
            run: Some(known.body),
            duplicate: true,
        });
    }
    let command = Command::Trigger {
        agent: state.for_run(agent.clone()).await?,
        payload: Some(text),
    };
    let Answer::Run(run) = state.ask(command).await? else {
        let detail = "the supervisor answered a trigger with something else";
        return Err(ApiError::new(Code::Internal, detail));
    };
    let stored = Stored {
        fingerprint: key.clone(),
        at: state.now(),
        status: 200,
        location: None,
        body: run.id.to_string(),
        problem: None,
    };
    state.ports.journal.remember.call((key, stored)).await?;
    Ok(HookTaken {
        event: None,
        run: Some(run.id.to_string()),
        duplicate: false,
    })
}

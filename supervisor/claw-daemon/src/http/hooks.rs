//! `POST /api/hooks/{name}`: calls from outside, signed by who makes them.
//!
//! `Openclaw-Signature: t=<unix seconds>,v1=<hex>`, where `v1` is HMAC-SHA-256 of the webhook's
//! secret over `<t>.<body>`. A call is taken once: its signature is remembered for longer than its
//! time is near enough, in memory and, over a restart, by what it has made. The ids of its event
//! and of its run are derived from it, so there is no moment in which the one is there and not the
//! other.
//!
//! ```text
//!  signature unknown ──► under way ── done ────► taken: a repeat gets the first answer
//!                    │       └────── failed ──► unknown: a repeat may try again
//!                    └ a repeat meanwhile: 409 idempotency_in_progress
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use claw_core::{AgentName, Answer, Command, RunId};
use claw_store::bus::{Level, NewEvent, Publisher, Stored as StoredEvent};
use http::HeaderMap;

use super::derived_run::{Derived, Seed};
use super::extract::{HookIn, Whole, json_text};
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

/// Calls with a bad signature that are written down in a minute, for each webhook.
const BAD_PER_MINUTE: u32 = 10;

/// What is remembered of calls; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// Calls by their signatures.
    calls: BTreeMap<String, Call>,
    /// What each webhook may still take, and since when.
    left: BTreeMap<(Kind, String), (Instant, f64)>,
}

/// Calls that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Signed,
    /// Anybody can make them; they use up nothing that a signed one needs.
    Bad,
}

/// A call whose signature is right.
struct Signed {
    /// Seconds since 1970.
    at: i64,
    /// The webhook's name and what it was signed with.
    signature: String,
}

/// How far a call has come.
#[derive(Debug)]
enum Call {
    UnderWay,
    /// It was taken, with this answer, which may be forgotten then.
    Taken(HookTaken, Instant),
}

/// Whether a call is the first with its signature.
#[derive(Debug)]
enum Seen {
    /// It is; what was claimed is to be done now.
    First(Claim),
    UnderWay,
    Taken(HookTaken),
}

/// A call under way. Dropped before it was taken, it is forgotten, and may be made again.
#[derive(Debug)]
struct Claim {
    calls: Calls,
    signature: String,
}

impl Claim {
    fn taken(self, answer: HookTaken) {
        let mut remembered = self.calls.lock();
        let call = Call::Taken(answer, Instant::now() + WINDOW * 2);
        remembered.calls.insert(self.signature.clone(), call);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut remembered = self.calls.lock();
        if matches!(remembered.calls.get(&self.signature), Some(Call::UnderWay)) {
            remembered.calls.remove(&self.signature);
        }
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one call out of what a webhook may take in a minute.
    fn may_call(&self, kind: Kind, name: &str, per_minute: u32) -> bool {
        let mut remembered = self.lock();
        let (now, most) = (Instant::now(), f64::from(per_minute));
        let left = remembered
            .left
            .entry((kind, name.to_owned()))
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
        let mut remembered = self.lock();
        let now = Instant::now();
        remembered.calls.retain(|_, call| match call {
            Call::UnderWay => true,
            Call::Taken(_, until) => *until > now,
        });
        match remembered.calls.get(signature) {
            Some(Call::UnderWay) => Seen::UnderWay,
            Some(Call::Taken(answer, _)) => Seen::Taken(answer.clone()),
            None => {
                let signature = signature.to_owned();
                (remembered.calls).insert(signature.clone(), Call::UnderWay);
                let calls = self.clone();
                Seen::First(Claim { calls, signature })
            }
        }
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
    let signed = verified((&name, &webhook), &headers, &body, state.now());
    let signed = signed.map_err(|error| refused(&state.calls, &name, error))?;
    let text = json_text(&body)?;
    let claim = match state.calls.take(&signed.signature) {
        Seen::First(claim) => claim,
        Seen::UnderWay => {
            let detail = "the first call with this signature is still under way";
            return Err(ApiError::new(Code::IdempotencyInProgress, detail));
        }
        Seen::Taken(answer) => {
            return Ok(Json(HookTaken {
                duplicate: true,
                ..answer
            }));
        }
    };
    // Only calls of who knows the secret, and each once, so that nobody else shuts them out.
    if !(state.calls).may_call(Kind::Signed, &name, webhook.per_minute) {
        let detail = format!("`{name}` takes {} calls a minute", webhook.per_minute);
        let wait = MINUTE / webhook.per_minute.max(1);
        return Err(ApiError::new(Code::RateLimited, detail).retry_after(wait));
    }
    // Once begun it is carried out also when the caller hangs up: a repeat is told what came of it.
    let work = tokio::spawn(async move {
        let answer = match &webhook.target {
            WebhookTarget::Agent(agent) => trigger(&state, agent, text, &signed).await,
            WebhookTarget::Event(event) => publish(&state, (&name, event), text, &signed).await,
        }?;
        claim.taken(answer.clone());
        Ok(Json(answer))
    });
    work.await
        .map_err(|_panicked| ApiError::new(Code::Internal, "the call ended by a bug"))?
}

/// Writes down a call that is not signed as it must be; whoever makes many is told to stop, and
/// fills no log.
fn refused(calls: &Calls, name: &str, error: ApiError) -> ApiError {
    if calls.may_call(Kind::Bad, name, BAD_PER_MINUTE) {
        tracing::warn!(target: "audit", hook = name, "refused: {}", error.problem().detail);
        return error;
    }
    let detail = format!("`{name}` was called with too many bad signatures; wait a minute");
    ApiError::new(Code::RateLimited, detail).retry_after(MINUTE)
}

/// The signature of the call, if it is right and new enough.
fn verified(
    (name, webhook): (&str, &Webhook),
    headers: &HeaderMap,
    body: &[u8],
    now: Time,
) -> Result<Signed, ApiError> {
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
    Ok(Signed {
        at: seconds,
        signature: format!("{name}:{expected}"),
    })
}

async fn publish(
    state: &ApiState,
    (name, topic): (&str, &str),
    text: String,
    Signed { signature, .. }: &Signed,
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
    signed: &Signed,
) -> Result<HookTaken, ApiError> {
    let taken = |run: RunId, duplicate| HookTaken {
        event: None,
        run: Some(run.to_string()),
        duplicate,
    };
    let run = match signed.seed().look(state).await? {
        Derived::Anew(run) => run,
        Derived::Before(run) => return Ok(taken(run.id, true)),
    };
    let command = Command::Trigger {
        agent: state.for_run(agent.clone()).await?,
        payload: Some(text),
        run: Some(run),
    };
    match state.ask(command).await? {
        Answer::Run(run) => Ok(taken(run.id, false)),
        Answer::Status(_) | Answer::Configured { .. } => {
            let detail = "the supervisor answered a trigger with something else";
            Err(ApiError::new(Code::Internal, detail))
        }
    }
}

impl Signed {
    fn seed(&self) -> Seed<'_> {
        Seed {
            unix_ms: self.at.unsigned_abs() * 1000,
            call: &self.signature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(calls: &Calls) -> Claim {
        match calls.take("a:1") {
            Seen::First(claim) => claim,
            other @ (Seen::UnderWay | Seen::Taken(_)) => panic!("not the first call: {other:?}"),
        }
    }

    #[test]
    fn a_repeat_is_told_taken_only_of_what_was_taken() {
        let calls = Calls::default();
        let first = claim(&calls);
        assert!(matches!(calls.take("a:1"), Seen::UnderWay));
        drop(first);
        let answer = HookTaken {
            event: None,
            run: Some("r".to_owned()),
            duplicate: false,
        };
        claim(&calls).taken(answer.clone());
        match calls.take("a:1") {
            Seen::Taken(found) => assert_eq!(found, answer),
            other @ (Seen::First(_) | Seen::UnderWay) => {
                panic!("the first answer is forgotten: {other:?}")
            }
        }
    }
}

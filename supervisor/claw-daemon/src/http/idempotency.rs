//! `Idempotency-Key`: a request that is sent again is answered, not done, again.
//!
//! ```text
//!  key under way ─ same request ──► 409 idempotency_in_progress
//!                └ another one ───► 422 idempotency_key_reused
//!  key kept ────── same request ──► the kept answer, `Idempotent-Replayed: true`
//!                └ another one ───► 422 idempotency_key_reused
//!  key unknown ── the request is carried out; its answer is kept
//! ```
//!
//! Kept are answers that tell of work: successes, and waits that timed out while the work goes
//! on. A refusal has started nothing, so the same key may try again. Once begun, a request is
//! carried out also when its caller hangs up, so that the answer is there for the next attempt.
//!
//! A supervisor that dies between the work and the answer has kept none. What is the same when it
//! is done twice is done again then; a run is found by its id, which is derived from the key and
//! from the time at which the key was first seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::derived_run::{Derived, Seed};
use super::extract::Whole;
use super::limits;
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, Problem, Time};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer as it is kept under its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The digest of method, path, query and body.
    pub fingerprint: String,
    /// When it was given.
    pub at: Time,
    /// Its status.
    pub status: u16,
    /// Its `Location`.
    pub location: Option<String>,
    /// Its JSON body; empty for a problem.
    pub body: String,
    /// The problem it is, if it is one.
    pub problem: Option<Problem>,
}

/// That a request has a key; for those who make something that must not be made twice.
#[derive(Debug, Clone)]
pub(super) struct Keyed {
    key: String,
    fingerprint: String,
}

impl Keyed {
    /// The run that an earlier attempt at this request has made, or the id of the one to be made.
    /// The time of the first attempt is on record then.
    ///
    /// # Errors
    ///
    /// The journal cannot be read or written.
    pub(super) async fn run(&self, state: &ApiState) -> Result<Derived, ApiError> {
        let now = state.now();
        let first = state.ports.journal.first_seen.call((self.key.clone(), now));
        let first = first.await?;
        let at = if is_forgotten(first, now) { now } else { first };
        let call = format!("{}\0{}", self.key, self.fingerprint);
        let seed = Seed {
            unix_ms: u64::try_from(at.as_millisecond()).unwrap_or_default(),
            call: &call,
        };
        seed.look(state).await
    }
}

/// The keys of requests under way, with their fingerprints; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Mutex<BTreeMap<String, String>>>);

/// Holds a key until it is dropped.
struct Claim {
    claims: Claims,
    key: String,
}

impl Claims {
    fn take(&self, key: &str, fingerprint: &str) -> Result<Claim, ApiError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get(key) {
            Some(other) if other == fingerprint => {
                let detail = "the first request with this idempotency key is still under way";
                return Err(ApiError::new(Code::IdempotencyInProgress, detail));
            }
            Some(_) => return Err(reused()),
            None => {}
        }
        if held.len() >= limits::KEYS_IN_FLIGHT {
            let detail = "too many requests with idempotency keys are under way; try again";
            return Err(ApiError::new(Code::TooManyStreams, detail));
        }
        held.insert(key.to_owned(), fingerprint.to_owned());
        Ok(Claim {
            claims: self.clone(),
            key: key.to_owned(),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.key);
    }
}

fn reused() -> ApiError {
    let detail = "this idempotency key was used for another request; use a new key for each";
    ApiError::new(Code::IdempotencyKeyReused, detail).parameter("Idempotency-Key")
}

/// Answers a POST with a known key from memory, and keeps the answer of one with a new key.
pub(super) async fn idempotent(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    answer_once(state, request, next)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn answer_once(state: ApiState, request: Request, next: Next) -> Result<Response, ApiError> {
    let key = key_of(&request)?;
    let (parts, body) = request.into_parts();
    let body = Whole::from_request(Request::new(body), &()).await?.0;
    let fingerprint = fingerprint(&parts.method, &parts.uri, &body);
    let claim = state.claims.take(&key, &fingerprint)?;
    if let Some(stored) = recall(&state, &key).await? {
        return replay(stored, &fingerprint);
    }
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(Keyed {
        key: key.clone(),
        fingerprint: fingerprint.clone(),
    });
    let work = tokio::spawn(async move {
        let response = next.run(request).await;
        let response = keep(&state, &key, fingerprint, response).await;
        drop(claim);
        response
    });
    work.await
        .map_err(|_panicked| ApiError::new(Code::Internal, "the request ended by a bug"))
}

fn key_of(request: &Request) -> Result<String, ApiError> {
    let bad = || {
        let detail = format!(
            "an idempotency key has 1 to {} visible characters",
            limits::KEY
        );
        ApiError::new(Code::BadHeader, detail).parameter("Idempotency-Key")
    };
    let mut values = request.headers().get_all(KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(bad());
    };
    let key = value.to_str().map_err(|_not_visible| bad())?.trim();
    let fits = !key.is_empty() && key.len() <= limits::KEY;
    fits.then(|| key.to_owned()).ok_or_else(bad)
}

fn fingerprint(method: &Method, uri: &http::Uri, body: &[u8]) -> String {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let mut digest = Sha256::new();
    digest.update(method.as_str());
    digest.update([0]);
    digest.update(target);
    digest.update([0]);
    digest.update(body);
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn recall(state: &ApiState, key: &str) -> Result<Option<Stored>, ApiError> {
    let found = state.ports.journal.recall.call(key.to_owned()).await?;
    Ok(found.filter(|stored| !is_forgotten(stored.at, state.now())))
}

/// Whether what is known of a key since then does not count any more.
fn is_forgotten(at: Time, now: Time) -> bool {
    let oldest = now.checked_sub(limits::KEY_KEPT);
    oldest.is_ok_and(|oldest| at <= oldest)
}

fn replay(stored: Stored, fingerprint: &str) -> Result<Response, ApiError> {
    if stored.fingerprint != fingerprint {
        return Err(reused());
    }
    let mut response = match stored.problem {
        Some(problem) => ApiError::from(problem).into_response(),
        None => {
            let json = [(CONTENT_TYPE, "application/json")];
            let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
            (status, json, stored.body).into_response()
        }
    };
    let location = stored.location.map(HeaderValue::try_from);
    if let Some(Ok(location)) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert(REPLAYED, yes);
    Ok(response)
}

/// Keeps the answer if it tells of work. An answer that cannot be kept is given all the same:
/// the work was done, and the caller must learn of it.
async fn keep(state: &ApiState, key: &str, fingerprint: String, response: Response) -> Response {
    let problem = response.extensions().get::<ApiError>();
    let problem = problem.map(|error| error.problem().clone());
    let tells_of_work = match &problem {
        Some(problem) => problem.code == Code::WaitTimedOut,
        None => response.status().is_success(),
    };
    if !tells_of_work {
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let location = parts.headers.get(LOCATION);
    let stored = Stored {
        fingerprint,
        at: state.now(),
        status: parts.status.as_u16(),
        location: location.and_then(|value| value.to_str().ok().map(ToOwned::to_owned)),
        body: String::from_utf8_lossy(&body).into_owned(),
        problem,
    };
    let kept = state.ports.journal.remember.call((key.to_owned(), stored));
    if let Err(error) = kept.await {
        tracing::warn!(%error, "an answer could not be kept under its idempotency key");
    }
    Response::from_parts(parts, Body::from(body))
}

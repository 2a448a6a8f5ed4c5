//! What is the same for every request: its id, its line in the log, the body of its error.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::limits;
use super::problem::ApiError;
use crate::api::Problem;

/// The header of the request id.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request its id, logs it, and writes the body of an error.
pub(super) async fn envelope(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(%method, path, status, took_ms, request_id = id, "request answered");
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = with_body(response, error.problem().clone(), &id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn with_body(response: Response, problem: Problem, id: &str) -> Response {
    let problem = Problem {
        request_id: id.to_owned(),
        ..problem
    };
    if response.status().is_server_error() {
        tracing::warn!(
            request_id = id,
            code = problem.code.as_str(),
            "request failed: {}",
            problem.detail
        );
    }
    let body = serde_json::to_vec(&problem)
        .expect("a problem has no map with keys that are not text and no failing Serialize");
    let (mut parts, _empty) = response.into_parts();
    let media_type = HeaderValue::from_static(Problem::MEDIA_TYPE);
    parts.headers.insert(CONTENT_TYPE, media_type);
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, body.into())
}

/// The caller's id where it is short and plain, else one of our own.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= limits::REQUEST_ID && id.chars().all(plain))
        .map_or_else(new_id, ToOwned::to_owned)
}

/// Ids are for finding a request in the log; nothing depends on their being hard to guess.
fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", RandomState::new().hash_one(number))
}

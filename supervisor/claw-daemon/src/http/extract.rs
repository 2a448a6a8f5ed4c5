//! What handlers take from paths and bodies, each failure as a problem.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use claw_core::{AgentName, RunId};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::caller::Link;
use super::limits;
use super::problem::ApiError;
use crate::api::{Code, FieldError};

/// The agent named in the path.
#[derive(Debug)]
pub(super) struct Name(pub(super) AgentName);

/// The run named in the path.
#[derive(Debug)]
pub(super) struct RunIn(pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_value(parts, state, "name", Code::BadAgentName).await?;
        text.parse()
            .map(Self)
            .map_err(|error: claw_core::name::NameError| {
                ApiError::new(Code::BadAgentName, error.to_string()).parameter("name")
            })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RunIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_value(parts, state, "id", Code::BadRunId).await?;
        text.parse()
            .map(Self)
            .map_err(|error: claw_core::id::RunIdError| {
                ApiError::new(Code::BadRunId, error.to_string()).parameter("id")
            })
    }
}

async fn path_value<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    key: &str,
    bad: Code,
) -> Result<String, ApiError> {
    let values = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|rejection| ApiError::new(bad, rejection.body_text()).parameter(key))?;
    let found = values.iter().find(|(name, _)| *name == key);
    found
        .map(|(_, value)| value.to_owned())
        .ok_or_else(|| ApiError::new(Code::Internal, format!("the route has no `{key}`")))
}

/// The webhook named in the path.
#[derive(Debug)]
pub(super) struct HookIn(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for HookIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_value(parts, state, "name", Code::NoSuchHook).await?;
        Ok(Self(text))
    }
}

/// The sandbox named in the path.
#[derive(Debug)]
pub(super) struct SandboxIn(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for SandboxIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = path_value(parts, state, "name", Code::NoSuchSandbox).await?;
        Ok(Self(text))
    }
}

/// The agent and the key of its state named in the path.
#[derive(Debug)]
pub(super) struct StateKeyIn {
    pub(super) agent: AgentName,
    pub(super) key: String,
}

impl<S: Send + Sync> FromRequestParts<S> for StateKeyIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Name(agent) = Name::from_request_parts(parts, state).await?;
        let key = path_value(parts, state, "key", Code::BadParameter).await?;
        Ok(Self { agent, key })
    }
}

/// The key of the shared state named in the path.
#[derive(Debug)]
pub(super) struct KeyIn(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for KeyIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let key = path_value(parts, state, "key", Code::BadParameter).await?;
        Ok(Self(key))
    }
}

impl<S: Sync> FromRequestParts<S> for Link {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let link = parts.extensions.get::<Self>().cloned();
        link.ok_or_else(|| ApiError::new(Code::Forbidden, "the connection is not known"))
    }
}

/// A whole body within the bounds of size and time.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read_body(request, limits::BODY).await.map(Self)
    }
}

/// A whole body that may be as large as an agent's state.
#[derive(Debug)]
pub(super) struct Large(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Large {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read_body(request, limits::STATE_BODY).await.map(Self)
    }
}

async fn read_body(request: Request, most: usize) -> Result<Bytes, ApiError> {
    let reading = to_bytes(request.into_body(), most);
    let read = tokio::time::timeout(limits::BODY_TIME, reading).await;
    let late = |_elapsed| ApiError::new(Code::UnreadableBody, "the body came too slowly");
    read.map_err(late)?
        .map_err(|error| unreadable(&error, most))
}

fn unreadable(error: &axum::Error, most: usize) -> ApiError {
    let source = std::error::Error::source(error);
    if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
        let detail = format!("a body has at most {most} bytes");
        return ApiError::new(Code::BodyTooLarge, detail);
    }
    ApiError::new(Code::UnreadableBody, "the body broke off")
}

/// Checks that a body that is there has one of the content types `known`.
pub(super) fn content_type(headers: &HeaderMap, known: &[&str]) -> Result<(), ApiError> {
    let given = headers
        .get(CONTENT_TYPE)
        .map_or("", |value| value.to_str().unwrap_or(""));
    let bare = given.split(';').next().unwrap_or("").trim();
    if known.iter().any(|other| bare.eq_ignore_ascii_case(other)) {
        return Ok(());
    }
    let shown = if bare.is_empty() {
        "no content type"
    } else {
        bare
    };
    let detail = format!(
        "this path takes a body of `{}`, not of {}",
        known.join("` or `"),
        shown.escape_default()
    );
    Err(ApiError::new(Code::UnsupportedMediaType, detail).parameter("Content-Type"))
}

/// Checks that a body is one JSON value, and returns its text.
pub(super) fn json_text(body: &[u8]) -> Result<String, ApiError> {
    let checked: Result<serde_json::Value, _> = serde_json::from_slice(body);
    let text = std::str::from_utf8(body);
    match (checked, text) {
        (Ok(_), Ok(text)) => Ok(text.trim().to_owned()),
        (Err(error), _) => Err(invalid_json(&error)),
        (Ok(_), Err(error)) => {
            let detail = format!("the body is not UTF-8 from byte {} on", error.valid_up_to());
            Err(ApiError::new(Code::InvalidJson, detail))
        }
    }
}

pub(super) fn invalid_json(error: &serde_json::Error) -> ApiError {
    let whole = error.to_string();
    let message = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
    let what = if error.is_data() {
        "does not fit"
    } else {
        "is not JSON"
    };
    let (line, column) = (error.line(), error.column());
    let detail = format!("the body {what}: line {line}, column {column}: {message}");
    ApiError::new(Code::InvalidJson, detail).errors(vec![FieldError {
        message,
        line: Some(error.line()),
        column: Some(error.column()),
        ..FieldError::default()
    }])
}

//! Errors of the protocol: the one place that gives each code its status.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use claw_store::StoreError;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};

/// A code of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BadRequest,
    LengthRequired,
    Timeout,
    Unauthorized,
    Forbidden,
    TopicNotAllowed,
    Fenced,
    UnknownKey,
    NotFound,
    MethodNotAllowed,
    LeaseLost,
    SessionLost,
    Refused,
    VersionConflict,
    StateTooLarge,
    TooLarge,
    RateLimited,
    Backpressure,
    Unsupported,
    Unavailable,
    Internal,
}

impl Code {
    const fn word(self) -> &'static str {
        match self {
            Self::BadRequest | Self::LengthRequired | Self::Timeout | Self::MethodNotAllowed => {
                "bad_request"
            }
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TopicNotAllowed => "topic_not_allowed",
            Self::Fenced => "fenced",
            Self::UnknownKey => "unknown_key",
            Self::NotFound => "not_found",
            Self::LeaseLost => "lease_lost",
            Self::SessionLost => "session_lost",
            Self::Refused => "refused",
            Self::VersionConflict => "version_conflict",
            Self::StateTooLarge => "state_too_large",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Backpressure => "backpressure",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::TopicNotAllowed | Self::Fenced => StatusCode::FORBIDDEN,
            Self::UnknownKey | Self::NotFound => StatusCode::NOT_FOUND,
            Self::LeaseLost | Self::SessionLost | Self::Refused => StatusCode::CONFLICT,
            Self::VersionConflict => StatusCode::PRECONDITION_FAILED,
            Self::StateTooLarge | Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited | Self::Backpressure => StatusCode::TOO_MANY_REQUESTS,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request can succeed later.
    const fn retryable(self) -> bool {
        match self {
            Self::RateLimited | Self::Backpressure | Self::Unavailable | Self::SessionLost => true,
            Self::BadRequest
            | Self::LengthRequired
            | Self::Timeout
            | Self::MethodNotAllowed
            | Self::Unauthorized
            | Self::Forbidden
            | Self::TopicNotAllowed
            | Self::Fenced
            | Self::UnknownKey
            | Self::NotFound
            | Self::LeaseLost
            | Self::Refused
            | Self::VersionConflict
            | Self::StateTooLarge
            | Self::TooLarge
            | Self::Unsupported
            | Self::Internal => false,
        }
    }
}

/// An error on its way to the agent.
#[derive(Debug, Clone)]
pub(super) struct Fault(Box<Told>);

#[derive(Debug, Clone)]
struct Told {
    code: Code,
    message: String,
    detail: Json,
    retry_after: Option<Duration>,
}

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Told {
            code,
            message: message.into(),
            detail: Json::Null,
            retry_after: None,
        }))
    }

    /// A request that breaks a rule, which `reason` names.
    pub(super) fn bad(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message).detail(json!({ "reason": reason }))
    }

    pub(super) fn too_large(what: &str, limit: usize) -> Self {
        let message = format!("{what} is larger than {limit} bytes");
        Self::new(Code::TooLarge, message).detail(json!({ "limit_bytes": limit }))
    }

    pub(super) fn rate_limited(message: impl Into<String>, after: Duration) -> Self {
        let mut fault = Self::new(Code::RateLimited, message);
        fault.0.retry_after = Some(after);
        fault
    }

    pub(super) fn detail(mut self, detail: Json) -> Self {
        self.0.detail = detail;
        self
    }

    /// Whether an agent that is right in its head would not have caused it.
    pub(super) fn is_nonsense(&self) -> bool {
        matches!(
            self.0.code.status(),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
    }

    pub(super) fn code(&self) -> &'static str {
        self.0.code.word()
    }

    pub(super) fn message(&self) -> &str {
        &self.0.message
    }
}

/// Whole seconds for `Retry-After`, which knows no others.
pub(crate) const fn seconds(after: Duration) -> u64 {
    after.as_secs() + if after.subsec_nanos() > 0 { 1 } else { 0 }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Closed | StoreError::Busy | StoreError::Unavailable(_) => {
                Self::new(Code::Unavailable, text)
            }
            StoreError::NoSpace => {
                Self::new(Code::Unavailable, text).detail(json!({"reason": "no_space"}))
            }
            StoreError::Damaged { .. } => Self::new(Code::Internal, text),
            StoreError::Fenced { .. } => Self::new(Code::Fenced, text),
            StoreError::VersionConflict { key, actual, .. } => {
                let detail = json!({"key": key, "version": actual.unwrap_or(0)});
                Self::new(Code::VersionConflict, text).detail(detail)
            }
            StoreError::QuotaExceeded { limit, .. } => {
                Self::new(Code::StateTooLarge, text).detail(json!({ "limit_bytes": limit }))
            }
            StoreError::NotFound { .. } | StoreError::VersionGone { .. } => {
                Self::new(Code::NotFound, text)
            }
            StoreError::Invalid(_) => Self::bad("invalid", text),
            StoreError::Topic(error) => Self::bad("bad_name", error.to_string()),
            StoreError::TooLarge { limit, .. } => {
                Self::new(Code::TooLarge, text).detail(json!({ "limit_bytes": limit }))
            }
            StoreError::Backpressure { retry_after, .. } => {
                let mut fault = Self::new(Code::Backpressure, text);
                fault.0.retry_after = Some(retry_after);
                fault
            }
            StoreError::RateLimited { retry_after, .. } => Self::rate_limited(text, retry_after),
            StoreError::StaleLease(_) => Self::new(Code::LeaseLost, text),
        }
    }
}

impl From<super::token::NoRandomness> for Fault {
    fn from(error: super::token::NoRandomness) -> Self {
        Self::new(Code::Unavailable, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let retry_after = self.0.retry_after;
        let millis = retry_after.and_then(|span| u64::try_from(span.as_millis()).ok());
        let body = json!({
            "code": self.0.code.word(),
            "message": self.0.message,
            "retryable": self.0.code.retryable(),
            "retry_after_ms": millis,
            "detail": self.0.detail,
            "request_id": super::token::correlation("rq_", 8),
        });
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.0.code.status(), kind, body.to_string()).into_response();
        if let Some(after) = retry_after {
            let seconds = HeaderValue::from(seconds(after));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(self);
        response
    }
}

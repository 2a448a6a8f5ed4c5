//! Errors of the API: the one place that gives each code its status and title.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use claw_core::Refusal;
use claw_store::StoreError;
use http::StatusCode;
use http::header::RETRY_AFTER;

use super::ports::AskError;
use crate::agent_api::seconds;
use crate::api::{Code, FieldError, Problem, Run};

/// An error on its way to the caller. The request id is filled in, and the body written, where
/// the response leaves (`envelope.rs`).
#[derive(Debug, Clone)]
pub(super) struct ApiError(Box<Problem>);

impl ApiError {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            kind: format!("/docs#{code}"),
            title: title(code).to_owned(),
            status: status(code).as_u16(),
            detail: detail.into(),
            code,
            request_id: String::new(),
            agent: None,
            run: None,
            run_id: None,
            until: None,
            halt: None,
            parameter: None,
            retry_after_ms: None,
            errors: Vec::new(),
        }))
    }

    /// Says when the same request may succeed.
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after_ms = u64::try_from(after.as_millis()).ok();
        self
    }

    pub(super) fn bad_parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::new(Code::BadParameter, detail).parameter(name)
    }

    pub(super) fn parameter(mut self, name: &str) -> Self {
        self.0.parameter = Some(name.to_owned());
        self
    }

    pub(super) fn agent(mut self, agent: &claw_core::AgentName) -> Self {
        self.0.agent = Some(agent.to_string());
        self
    }

    pub(super) fn run(mut self, run: Run) -> Self {
        self.0.run_id = Some(run.id.clone());
        self.0.run = Some(Box::new(run));
        self
    }

    pub(super) fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    pub(super) fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(millis) = self.0.retry_after_ms {
            let after = seconds(Duration::from_millis(millis)).into();
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Closed
            | StoreError::Busy
            | StoreError::NoSpace
            | StoreError::Unavailable(_) => Code::StoreUnavailable,
            StoreError::Damaged { .. } => Code::Internal,
            StoreError::Fenced { .. } => Code::Forbidden,
            StoreError::VersionConflict { .. } => Code::VersionConflict,
            StoreError::QuotaExceeded { .. } => Code::StateTooLarge,
            StoreError::NotFound { kind, .. } if *kind == "group" => Code::NoSuchAgent,
            StoreError::NotFound { .. } => Code::UnknownKey,
            StoreError::VersionGone { .. } => Code::VersionGone,
            StoreError::Invalid(_) => Code::BadParameter,
            StoreError::Topic(_) => Code::BadEvent,
            StoreError::TooLarge { .. } => Code::BodyTooLarge,
            StoreError::Backpressure { .. } | StoreError::RateLimited { .. } => Code::RateLimited,
            StoreError::StaleLease(_) => Code::Internal,
        };
        let problem = Self::new(code, error.to_string());
        if let StoreError::Backpressure { retry_after, .. }
        | StoreError::RateLimited { retry_after, .. } = error
        {
            return problem.retry_after(retry_after);
        }
        problem
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => refusal.into(),
            AskError::Gone => Self::new(Code::SupervisorGone, "the supervisor has ended"),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let mut error = Self::new(code(&refusal), refusal.to_string());
        let problem = error.0.as_mut();
        match &refusal {
            Refusal::NoSuchAgent { agent }
            | Refusal::TakesNoRuns { agent }
            | Refusal::Paused { agent }
            | Refusal::Stopped { agent }
            | Refusal::Stopping { agent }
            | Refusal::GaveUp { agent }
            | Refusal::QueueFull { agent, .. }
            | Refusal::NotPaused { agent }
            | Refusal::NotHalted { agent }
            | Refusal::HaltUnrecorded { agent, .. }
            | Refusal::Superseded { agent } => problem.agent = Some(agent.to_string()),
            Refusal::Halted { agent, halt } => {
                problem.agent = Some(agent.to_string());
                problem.halt = Some(halt.into());
            }
            Refusal::BackingOff { agent, until } => {
                problem.agent = Some(agent.to_string());
                problem.until = Some(*until);
            }
            Refusal::Busy { agent, run } => {
                problem.agent = Some(agent.to_string());
                problem.run_id = Some(run.to_string());
            }
            Refusal::NoSuchRun { run } => problem.run_id = Some(run.to_string()),
            Refusal::JournalUnavailable { .. } | Refusal::ShuttingDown => {}
        }
        error
    }
}

const fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NoSuchAgent { .. } => Code::NoSuchAgent,
        Refusal::NoSuchRun { .. } => Code::NoSuchRun,
        Refusal::TakesNoRuns { .. } => Code::TakesNoRuns,
        Refusal::Paused { .. } => Code::Paused,
        Refusal::Halted { .. } => Code::Halted,
        Refusal::NotHalted { .. } => Code::NotHalted,
        Refusal::HaltUnrecorded { .. } => Code::HaltUnrecorded,
        Refusal::Stopped { .. } => Code::Stopped,
        Refusal::Stopping { .. } => Code::Stopping,
        Refusal::GaveUp { .. } => Code::GaveUp,
        Refusal::BackingOff { .. } => Code::BackingOff,
        Refusal::Busy { .. } => Code::Busy,
        Refusal::QueueFull { .. } => Code::QueueFull,
        Refusal::NotPaused { .. } => Code::NotPaused,
        Refusal::Superseded { .. } => Code::Superseded,
        Refusal::JournalUnavailable { .. } => Code::JournalUnavailable,
        Refusal::ShuttingDown => Code::ShuttingDown,
    }
}

/// The status and the title of a code.
pub(super) const fn meaning(code: Code) -> (StatusCode, &'static str) {
    (status(code), title(code))
}

const fn status(code: Code) -> StatusCode {
    match code {
        Code::NoSuchAgent
        | Code::NoSuchRun
        | Code::NoSuchRoute
        | Code::UnknownKey
        | Code::VersionGone
        | Code::NoSuchHook
        | Code::NoModels
        | Code::NoSuchSandbox
        | Code::NoSuchDeadLetter => StatusCode::NOT_FOUND,
        Code::BadSignature => StatusCode::UNAUTHORIZED,
        Code::VersionConflict => StatusCode::PRECONDITION_FAILED,
        Code::RateLimited | Code::SandboxBusy => StatusCode::TOO_MANY_REQUESTS,
        Code::TakesNoRuns
        | Code::NotRunning
        | Code::Paused
        | Code::Halted
        | Code::NotHalted
        | Code::Stopped
        | Code::Stopping
        | Code::GaveUp
        | Code::BackingOff
        | Code::Busy
        | Code::QueueFull
        | Code::NotPaused
        | Code::Superseded
        | Code::ReloadBusy
        | Code::NeedsRestart
        | Code::UpgradeRefused
        | Code::NotUncertain
        | Code::SandboxUnusable
        | Code::IdempotencyInProgress => StatusCode::CONFLICT,
        Code::JournalUnavailable
        | Code::HaltUnrecorded
        | Code::StoreUnavailable
        | Code::EngineUnavailable
        | Code::ShuttingDown
        | Code::SupervisorGone
        | Code::NotReady
        | Code::TooManyStreams
        | Code::LogUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::BadAgentName
        | Code::BadRunId
        | Code::BadEvent
        | Code::BadParameter
        | Code::BadHeader
        | Code::InvalidJson
        | Code::UnreadableBody => StatusCode::BAD_REQUEST,
        Code::BodyTooLarge | Code::StateTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Code::InvalidConfig | Code::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::WaitTimedOut => StatusCode::GATEWAY_TIMEOUT,
        Code::Forbidden | Code::ForeignHost | Code::ForeignOrigin => StatusCode::FORBIDDEN,
        Code::Internal | Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn title(code: Code) -> &'static str {
    match code {
        Code::NoSuchAgent => "No such agent",
        Code::NoSuchRun => "No such run",
        Code::TakesNoRuns => "The agent takes no runs",
        Code::NotRunning => "The agent is not running",
        Code::Paused => "The agent is paused",
        Code::Halted => "The agent is halted",
        Code::NotHalted => "The agent is not halted",
        Code::HaltUnrecorded => "The halt is not written down",
        Code::Stopped => "The agent is stopped",
        Code::Stopping => "The agent is being stopped",
        Code::GaveUp => "The agent was given up",
        Code::BackingOff => "The agent waits for its next start",
        Code::Busy => "The agent is busy",
        Code::QueueFull => "Too many runs wait",
        Code::NotPaused => "The agent is not paused",
        Code::Superseded => "A newer command took over",
        Code::JournalUnavailable => "The journal is unavailable",
        Code::ShuttingDown => "The supervisor is shutting down",
        Code::SupervisorGone => "The supervisor does not answer",
        Code::NotReady => "The supervisor is not ready",
        Code::TooManyStreams => "Too many streams",
        Code::UnknownKey => "No such key",
        Code::VersionGone => "The version is not kept",
        Code::NoSuchDeadLetter => "No such dead letter",
        Code::VersionConflict => "The key is at another version",
        Code::StateTooLarge => "The state would be too large",
        Code::NoSuchHook => "No such webhook",
        Code::NoModels => "No models",
        Code::NotUncertain => "Nothing is uncertain",
        Code::NoSuchSandbox => "No such sandbox",
        Code::SandboxBusy => "The sandbox is busy",
        Code::SandboxUnusable => "The sandbox cannot be made",
        Code::EngineUnavailable => "No container engine",
        Code::BadSignature => "Not signed",
        Code::BadEvent => "Not an event",
        Code::RateLimited => "Too many events",
        Code::StoreUnavailable => "The store is unavailable",
        Code::NoSuchRoute => "No such path",
        Code::MethodNotAllowed => "Method not allowed",
        Code::BadAgentName => "Not an agent name",
        Code::BadRunId => "Not a run id",
        Code::BadParameter => "Bad query parameter",
        Code::BadHeader => "Bad header",
        Code::InvalidJson => "Invalid JSON",
        Code::UnreadableBody => "Unreadable body",
        Code::BodyTooLarge => "Body too large",
        Code::UnsupportedMediaType => "Unsupported content type",
        Code::NotAcceptable => "Not acceptable",
        Code::InvalidConfig => "Invalid configuration",
        Code::ReloadBusy => "Another change is under way",
        Code::NeedsRestart => "The supervisor must be restarted",
        Code::UpgradeRefused => "No upgrade",
        Code::IdempotencyKeyReused => "Idempotency key reused",
        Code::IdempotencyInProgress => "The first request is under way",
        Code::WaitTimedOut => "The wait timed out",
        Code::LogUnavailable => "The log is unavailable",
        Code::Forbidden => "Forbidden",
        Code::ForeignHost => "Foreign host",
        Code::ForeignOrigin => "Foreign origin",
        Code::Internal | Code::Unknown => "Internal error",
    }
}

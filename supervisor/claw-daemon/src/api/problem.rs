//! Errors as they travel: RFC 9457 `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Halt, Run, Time};

/// An error (RFC 9457). Programs look at `code`, people read `detail`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI reference for the kind of problem: `/docs#` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong here, and what to do about it.
    pub detail: String,
    /// The stable code.
    pub code: Code,
    /// The request's id, as in the `x-request-id` header and the supervisor's log.
    pub request_id: String,
    /// The agent it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The run it is about, as far as it came: for `wait_timed_out`, the run waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<Run>>,
    /// The id of the run it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// When the agent is started again, for `backing_off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// How the agent is halted, for `halted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
    /// The query parameter, header or body field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// When the same request may succeed, as `Retry-After` says in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Every single error, for `invalid_config` and `invalid_json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One error at one place of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// What is wrong.
    pub message: String,
    /// The file; absent for a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The key, such as `agents.monitor.schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What to do about it, such as "did you mean `restart_policy`?".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// The stable codes of problems.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
        )]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
            /// A code of a newer supervisor that this program does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// The code as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown => "unknown",
                }
            }

            /// Every code with its text.
            pub const ALL: &[(Self, &str)] = &[$((Self::$variant, $text),)+];
        }
    };
}

codes! {
    /// No agent has that name (404).
    NoSuchAgent = "no_such_agent",
    /// No such run (404).
    NoSuchRun = "no_such_run",
    /// A daemon takes no runs (409).
    TakesNoRuns = "takes_no_runs",
    /// The agent is not running (409).
    NotRunning = "not_running",
    /// The agent is paused (409).
    Paused = "paused",
    /// The kill switch holds the agent (409).
    Halted = "halted",
    /// The agent is not halted (409).
    NotHalted = "not_halted",
    /// The agent is halted, and the journal does not know (503).
    HaltUnrecorded = "halt_unrecorded",
    /// The agent is stopped (409).
    Stopped = "stopped",
    /// The agent is being stopped (409).
    Stopping = "stopping",
    /// The agent was given up (409).
    GaveUp = "gave_up",
    /// The agent waits for its next start (409).
    BackingOff = "backing_off",
    /// A run is under way and the overlap rule is `skip` (409).
    Busy = "busy",
    /// Too many runs wait (409).
    QueueFull = "queue_full",
    /// The agent is not paused (409).
    NotPaused = "not_paused",
    /// A newer command took the place of this one (409).
    Superseded = "superseded",
    /// The journal cannot be written or read (503).
    JournalUnavailable = "journal_unavailable",
    /// The supervisor is ending (503).
    ShuttingDown = "shutting_down",
    /// The supervisor's loop is gone (503).
    SupervisorGone = "supervisor_gone",
    /// The fleet is not loaded yet, or the journal cannot be written (503).
    NotReady = "not_ready",
    /// Too many connections or streams are open (503).
    TooManyStreams = "too_many_streams",
    /// The agent's state has no such key (404).
    UnknownKey = "unknown_key",
    /// The version of the state is not kept (404).
    VersionGone = "version_gone",
    /// There is no such dead letter (404).
    NoSuchDeadLetter = "no_such_dead_letter",
    /// A key is at another version than was demanded (412).
    VersionConflict = "version_conflict",
    /// The agent's state would be larger than it may be (413).
    StateTooLarge = "state_too_large",
    /// There is no such webhook (404).
    NoSuchHook = "no_such_hook",
    /// The fleet file has no `llm` section, or gives the agent no models (404).
    NoModels = "no_models",
    /// Nothing about the cost of the call or window is uncertain (409).
    NotUncertain = "not_uncertain",
    /// There is no such sandbox (404).
    NoSuchSandbox = "no_such_sandbox",
    /// As many commands run and wait in the sandbox as may; try again (429).
    SandboxBusy = "sandbox_busy",
    /// The container engine does not make such a sandbox, as when there is no image (409).
    SandboxUnusable = "sandbox_unusable",
    /// The container engine is not there, or does not answer (503).
    EngineUnavailable = "engine_unavailable",
    /// The signature is missing, wrong or too old (401).
    BadSignature = "bad_signature",
    /// The event, or its name, breaks a rule (400).
    BadEvent = "bad_event",
    /// More events than are taken now; try again (429).
    RateLimited = "rate_limited",
    /// The store of state and events cannot be used (503).
    StoreUnavailable = "store_unavailable",
    /// No such path (404).
    NoSuchRoute = "no_such_route",
    /// The path does not take this method (405).
    MethodNotAllowed = "method_not_allowed",
    /// The text is not an agent name (400).
    BadAgentName = "bad_agent_name",
    /// The text is not a run id (400).
    BadRunId = "bad_run_id",
    /// A query parameter is unknown or has an impossible value (400).
    BadParameter = "bad_parameter",
    /// A header has an impossible value (400).
    BadHeader = "bad_header",
    /// The body is not JSON (400).
    InvalidJson = "invalid_json",
    /// The body could not be read to its end (400).
    UnreadableBody = "unreadable_body",
    /// The body is larger than 1 MiB (413).
    BodyTooLarge = "body_too_large",
    /// The body's content type is not taken here (415).
    UnsupportedMediaType = "unsupported_media_type",
    /// None of the representations offered is accepted (406).
    NotAcceptable = "not_acceptable",
    /// The configuration is invalid; nothing was changed (422).
    InvalidConfig = "invalid_config",
    /// Another change of the configuration is under way (409).
    ReloadBusy = "reload_busy",
    /// The change takes a new supervisor; nothing was changed (409).
    NeedsRestart = "needs_restart",
    /// The supervisor goes on as it is: the executable cannot take its place, or not in this way (409).
    UpgradeRefused = "upgrade_refused",
    /// The idempotency key was used for another request (422).
    IdempotencyKeyReused = "idempotency_key_reused",
    /// The first request with this idempotency key is under way (409).
    IdempotencyInProgress = "idempotency_in_progress",
    /// The wait ended before what was waited for; it goes on (504).
    WaitTimedOut = "wait_timed_out",
    /// The log cannot be read (503).
    LogUnavailable = "log_unavailable",
    /// The caller may not do this (403).
    Forbidden = "forbidden",
    /// The `Host` header is not a loopback name (403).
    ForeignHost = "foreign_host",
    /// The request comes from a page of another site (403).
    ForeignOrigin = "foreign_origin",
    /// A bug of the supervisor; its log has the request id (500).
    Internal = "internal",
}

impl Problem {
    /// The media type of a problem.
    pub const MEDIA_TYPE: &str = "application/problem+json";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

//! Why a request is refused, and what its agent is told.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::admission::Unpriced;
use super::body::AnswerBody;
use super::endpoint::MAX_BODY;
use super::host::Place;
use super::settings::RefusalStatus;
use crate::Halt;
use crate::llm::budget::Refused;
use crate::llm::route::Spent;
use crate::llm::translate::Untranslatable;
use crate::llm::validate::json_schema::{BadSchema, Violation};
use crate::llm::validate::pii::Found;
use crate::llm::wire::{BadRequest, Boundless, Excerpt, Refusal, RefusalKind, Side, error_body};

/// Tells the SDKs of OpenAI and Anthropic whether to try again by themselves.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// When to come back if there is no memory for a body: most calls are over in seconds.
const BUSY: Duration = Duration::from_secs(2);

/// How many models are named to an agent that asks for another.
const NAMED_MODELS: usize = 20;

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Denial {
    #[error(
        "the token is missing or not this agent's; send OPENCLAW_TOKEN as `Authorization: Bearer` \
         or `x-api-key`"
    )]
    Unauthorized,
    #[error("agent {agent} has no access to language models; give it models in the fleet file")]
    NoAccess { agent: String },
    #[error("{method} {path} is not served here")]
    NoSuchPath { method: Excerpt, path: Excerpt },
    #[error("the body is longer than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the body did not come to its end")]
    Unread,
    #[error(
        "the bodies of requests under way take all the memory there is for them; ask again, or \
         fewer at once"
    )]
    Busy,
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error(transparent)]
    Malformed(Untranslatable),
    #[error("the {place} has personal data ({found}), which does not pass")]
    PersonalData { place: Place, found: Found },
    #[error("the header `x-openclaw-router` cannot be used: {why}")]
    BadRouter { why: Excerpt },
    #[error(
        "not all of the {place} can be read, so personal data in it would pass; send plain JSON that \
         names each member once and nests no deeper than it has to"
    )]
    Unreadable { place: Place },
    #[error("model {asked} is not among those of this agent: {}", named(.known))]
    UnknownModel { asked: Excerpt, known: Vec<String> },
    #[error(
        "the cassette has no answer to this request, whose SHA-256 is {hash}; record it with \
         `llm.record: true`"
    )]
    NotRecorded { hash: String },
    #[error(
        "{unpriced} of model {model} of provider {provider} is not known, and a budget applies; {}",
        unpriced.remedy()
    )]
    UnknownPrice {
        unpriced: Unpriced,
        model: String,
        provider: String,
    },
    #[error(
        "a budget applies, and the header `anthropic-beta` names {beta}, which is not known to leave \
         limits and prices as they are; leave it out"
    )]
    Beta { beta: Excerpt },
    #[error("a budget applies, and {0}")]
    Boundless(Boundless),
    #[error(transparent)]
    OverBudget(Box<Refused>),
    #[error("{0}; wait, or raise `llm_tokens_per_hour`")]
    HourlyTokens(Spent),
    #[error("`{feature}` cannot be translated for provider {provider}; leave it out")]
    Unsupported { feature: Excerpt, provider: String },
    #[error("the provider's answer, which is charged, cannot be translated: {0}")]
    Answer(Untranslatable),
    #[error("the JSON schema of the answer cannot be used: {0}")]
    BadSchema(BadSchema),
    #[error(
        "the answer, which is charged, does not follow its JSON schema{}", listed(.violations)
    )]
    WrongAnswer { violations: Vec<Violation> },
    #[error("the answer, which is charged, broke off before it could be checked")]
    BrokeOff,
    #[error("the {place} is judged unsafe{}, so it does not pass", for_what(.categories))]
    Unsafe {
        place: Place,
        categories: Vec<String>,
    },
    #[error(
        "nobody could judge whether the {place} is safe, so it does not pass; see the supervisor's log"
    )]
    Unjudged { place: Place },
    #[error(
        "{agent} is halted: {}; until `{}` lifts that, it calls no model", .halt.told, .halt.lift
    )]
    Halted { agent: String, halt: Halt },
    #[error("the gateway cannot record calls, so it makes none; see the supervisor's log")]
    Unrecorded,
    #[error("provider {provider} is left alone for a while after its failures")]
    Cooling { provider: String, left: Duration },
    #[error("the rate limit of provider {provider} is reached")]
    Limited {
        provider: String,
        retry_after: Duration,
    },
    #[error("provider {provider} cannot be reached")]
    Unreachable { provider: String },
    #[error("provider {provider} did not answer within {} ms", .timeout.as_millis())]
    TimedOut { provider: String, timeout: Duration },
    #[error("provider {provider} answered {status}")]
    ProviderFailed {
        provider: String,
        status: u16,
        retry_after: Option<Duration>,
    },
    #[error(
        "provider {provider} refuses the supervisor with {status}: {}", misconfigured(*.status)
    )]
    Misconfigured { provider: String, status: u16 },
}

fn named(known: &[String]) -> String {
    let mut names = known.iter().take(NAMED_MODELS).cloned().collect::<Vec<_>>();
    if known.len() > NAMED_MODELS {
        names.push(format!("and {} more", known.len() - NAMED_MODELS));
    }
    names.join(", ")
}

fn listed(violations: &[Violation]) -> String {
    let listed: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let separator = if listed.is_empty() { "" } else { ": " };
    format!("{separator}{}", listed.join("; "))
}

fn for_what(categories: &[String]) -> String {
    let separator = if categories.is_empty() { "" } else { " for " };
    format!("{separator}{}", categories.join(", "))
}

/// What an operator has to look at.
const fn misconfigured(status: u16) -> &'static str {
    match status {
        402 => "its account has no credit; pay there, or set another key in the fleet file",
        _ => "its key, base URL or model id is wrong in the fleet file",
    }
}

impl Denial {
    /// What anybody else than the agent may be told, and what may be kept: it quotes no answer.
    pub(super) fn told(&self) -> String {
        let Self::WrongAnswer { violations } = self else {
            return self.to_string();
        };
        let rules: Vec<&str> = violations
            .iter()
            .map(|violation| violation.rule.as_str())
            .collect();
        let rules = rules.join(", ");
        let separator = if rules.is_empty() { "" } else { ": " };
        format!("the answer, which is charged, does not follow its JSON schema{separator}{rules}")
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Unauthorized => RefusalKind::Unauthorized,
            Self::NoAccess { .. } | Self::Halted { .. } => RefusalKind::Forbidden,
            Self::NoSuchPath { .. } | Self::UnknownModel { .. } | Self::NotRecorded { .. } => {
                RefusalKind::NotFound
            }
            Self::TooLarge => RefusalKind::TooLarge,
            Self::Unread
            | Self::BadRequest(_)
            | Self::Malformed(_)
            | Self::PersonalData { .. }
            | Self::BadRouter { .. }
            | Self::Unreadable {
                place: Place::Prompt,
            }
            | Self::UnknownPrice { .. }
            | Self::Beta { .. }
            | Self::BadSchema(_)
            | Self::Unsafe { .. }
            | Self::Boundless(_) => RefusalKind::BadRequest,
            Self::WrongAnswer { .. } => RefusalKind::Unprocessable,
            Self::OverBudget(_) => RefusalKind::Budget,
            Self::HourlyTokens(_)
            | Self::Limited { .. }
            | Self::ProviderFailed { status: 429, .. } => RefusalKind::RateLimit,
            Self::Unsupported { .. } | Self::Answer(_) => RefusalKind::Unsupported,
            Self::Busy | Self::Unrecorded | Self::Unjudged { .. } | Self::Cooling { .. } => {
                RefusalKind::Overloaded
            }
            Self::TimedOut { .. } => RefusalKind::Timeout,
            Self::Unreadable {
                place: Place::Answer,
            }
            | Self::BrokeOff
            | Self::Unreachable { .. }
            | Self::ProviderFailed { .. }
            | Self::Misconfigured { .. } => RefusalKind::Upstream,
        }
    }

    /// The fixed word for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "invalid_token",
            Self::NoAccess { .. } => "no_llm_access",
            Self::NoSuchPath { .. } => "no_such_path",
            Self::TooLarge => "body_too_large",
            Self::Unread => "body_incomplete",
            Self::Busy => "busy",
            Self::BadRequest(_) | Self::Malformed(_) | Self::BadRouter { .. } => "invalid_request",
            Self::PersonalData { .. } => "personal_data",
            Self::Unreadable { .. } => "unreadable",
            Self::UnknownModel { .. } => "model_not_found",
            Self::NotRecorded { .. } => "not_recorded",
            Self::UnknownPrice { .. } => "unknown_price",
            Self::Beta { .. } => "unknown_beta",
            Self::Boundless(_) => "unbounded_cost",
            Self::OverBudget(_) => "budget_exceeded",
            Self::HourlyTokens(_) => "tokens_per_hour_exceeded",
            Self::Unsupported { .. } | Self::Answer(_) => "unsupported_feature",
            Self::BadSchema(_) => "invalid_schema",
            Self::WrongAnswer { .. } => "schema_violation",
            Self::BrokeOff => "answer_broke_off",
            Self::Unsafe { .. } => "unsafe_content",
            Self::Unjudged { .. } => "content_not_judged",
            Self::Halted { .. } => "halted",
            Self::Unrecorded => "journal_unavailable",
            Self::Cooling { .. } => "provider_cooling",
            Self::Limited { .. } => "provider_rate_limit",
            Self::Unreachable { .. } => "provider_unreachable",
            Self::TimedOut { .. } => "provider_timeout",
            Self::ProviderFailed { .. } => "provider_failed",
            Self::Misconfigured { .. } => "provider_misconfigured",
        }
    }

    /// Which of several targets' refusals the agent is told: an outage before what else passes by
    /// itself, that before what money or time would help, and last what must be changed, by an
    /// operator or by the agent. Of equals it is the one of the target that was asked first.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Cooling { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::ProviderFailed { .. } => 4,
            Self::Unrecorded | Self::Limited { .. } => 3,
            Self::OverBudget(_) | Self::HourlyTokens(_) => 2,
            Self::Misconfigured { .. } => 1,
            Self::Unauthorized
            | Self::NoAccess { .. }
            | Self::Halted { .. }
            | Self::NoSuchPath { .. }
            | Self::TooLarge
            | Self::Unread
            | Self::Busy
            | Self::BadRequest(_)
            | Self::Malformed(_)
            | Self::PersonalData { .. }
            | Self::BadRouter { .. }
            | Self::Unreadable { .. }
            | Self::UnknownModel { .. }
            | Self::NotRecorded { .. }
            | Self::UnknownPrice { .. }
            | Self::Beta { .. }
            | Self::Boundless(_)
            | Self::Unsupported { .. }
            | Self::BadSchema(_)
            | Self::WrongAnswer { .. }
            | Self::BrokeOff
            | Self::Unsafe { .. }
            | Self::Unjudged { .. }
            | Self::Answer(_) => 0,
        }
    }

    /// The HTTP status, which for want of money is the agent's choice.
    pub(super) fn status(&self, for_budget: RefusalStatus) -> u16 {
        match (self.kind(), for_budget) {
            (RefusalKind::Budget, RefusalStatus::BadRequest) => 400,
            (kind, RefusalStatus::BadRequest | RefusalStatus::PaymentRequired) => kind.status(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::HourlyTokens(spent) => Some(spent.retry_after),
            Self::Busy => Some(BUSY),
            Self::Cooling { left, .. } => Some(*left),
            Self::Limited { retry_after, .. } => Some(*retry_after),
            Self::ProviderFailed { retry_after, .. } => *retry_after,
            Self::Unauthorized
            | Self::NoAccess { .. }
            | Self::Halted { .. }
            | Self::NoSuchPath { .. }
            | Self::TooLarge
            | Self::Unread
            | Self::BadRequest(_)
            | Self::Malformed(_)
            | Self::PersonalData { .. }
            | Self::BadRouter { .. }
            | Self::Unreadable { .. }
            | Self::UnknownModel { .. }
            | Self::NotRecorded { .. }
            | Self::UnknownPrice { .. }
            | Self::Beta { .. }
            | Self::Boundless(_)
            | Self::OverBudget(_)
            | Self::Unsupported { .. }
            | Self::Answer(_)
            | Self::BadSchema(_)
            | Self::WrongAnswer { .. }
            | Self::BrokeOff
            | Self::Unsafe { .. }
            | Self::Unjudged { .. }
            | Self::Unrecorded
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Misconfigured { .. } => None,
        }
    }

    /// What the agent is told, in the form of its interface.
    pub(super) fn response(&self, side: Side, for_budget: RefusalStatus) -> Response<AnswerBody> {
        let param = if let Self::BadRequest(bad) = self {
            bad.field().map(str::to_owned)
        } else {
            None
        };
        let refusal = Refusal {
            kind: self.kind(),
            message: self.to_string(),
            param,
            code: Some(self.code()),
        };
        let mut body = error_body(side, &refusal);
        if let Self::OverBudget(refused) = self {
            body = with_numbers(&body, refused);
        }
        if let Self::WrongAnswer { violations } = self {
            body = with_violations(&body, violations);
        }
        let mut response = Response::new(AnswerBody::whole(body));
        let status = StatusCode::from_u16(self.status(for_budget));
        *response.status_mut() = status.expect("the statuses of refusals are valid");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Nobody has tried yet what there was no memory for.
        let should_retry = if let Self::Busy = self {
            "true"
        } else {
            "false"
        };
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(should_retry));
        if let Some(wait) = self.retry_after() {
            // Rounded up: who comes back too early is refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The body with what the refusal knows, for programs.
fn with_numbers(body: &str, refused: &Refused) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    body["error"]["openclaw"] = json!({
        "window": refused.window.period.to_string(),
        "scope": refused.window.scope.to_string(),
        "limit_usd": refused.limit.as_usd(),
        "spent_usd": refused.spent.as_usd(),
        "held_usd": refused.held.as_usd(),
        "uncertain_usd": refused.uncertain.as_usd(),
        "needed_usd": refused.needed.as_usd(),
        "resets_at": refused.fits_at().map(|at| at.to_string()),
    });
    body.to_string()
}

/// The body with what is wrong with the answer, for programs.
fn with_violations(body: &str, violations: &[Violation]) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    let listed = violations.iter().map(|violation| {
        json!({
            "path": violation.path,
            "message": violation.message,
        })
    });
    body["error"]["openclaw"] = json!({"violations": listed.collect::<Vec<_>>()});
    body.to_string()
}

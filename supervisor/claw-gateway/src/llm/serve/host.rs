//! What the gateway needs of its host: a journal, a clock, and somebody to tell.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use super::cache::{CacheResult, CachedCall};
use super::conclusion::Conclusion;
use crate::llm::budget::{Alert, CallId, Refused, Settled};
use crate::llm::money::Money;
use crate::llm::rates::Rates;
use crate::llm::usage::Usage;
use crate::llm::validate::content_safety::OnFailure;
use crate::llm::validate::json_schema::{OnViolation, Violation};
use crate::llm::validate::pii::{Action, Found};
use crate::llm::wire::Api;

/// A future of a trait's method.
pub type Written<'a> = Pin<Box<dyn Future<Output = Result<(), JournalError>> + Send + 'a>>;

/// What keeps the money of calls across restarts.
pub trait Journal: Send + Sync {
    /// Keeps a call that is about to be sent; it leaves when this is done.
    fn reserve<'a>(&'a self, call: &'a CallRecord) -> Written<'a>;

    /// Keeps that it may cost no more than this by now. What is left of its money is free for others
    /// when this is done. A call that is settled already stays as it is.
    fn shrink(&self, call: CallId, held: Money) -> Written<'_>;

    /// Keeps what became of it. Each call that was reserved comes here once.
    fn settle<'a>(&'a self, call: &'a CallRecord) -> Written<'a>;

    /// Keeps a call that no provider was asked for, so that nothing was reserved and nothing is
    /// settled.
    fn cached<'a>(&'a self, call: &'a CachedCall) -> Written<'a>;
}

/// Why the journal could not keep a call.
#[derive(Debug, thiserror::Error)]
#[error("the journal of calls cannot be written")]
pub struct JournalError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The time.
pub trait Clock: Send + Sync {
    /// Of the wall: for windows, records and dates.
    fn now(&self) -> Timestamp;

    /// Since some moment; it does not go back.
    fn monotonic(&self) -> Duration;
}

/// Is told what happens, at once and by whoever serves the call: it must not wait.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn tell(&self, event: Event<'_>);
}

/// What happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// A call is about to be sent.
    Begun(&'a CallRecord),
    /// An attempt failed, and another one follows or not.
    Failed {
        /// The call.
        call: &'a CallRecord,
        /// How.
        attempt: &'a Attempt,
    },
    /// The first byte of its answer came.
    FirstByte(&'a CallRecord),
    /// More of its stream came.
    Progress {
        /// The call.
        call: &'a CallRecord,
        /// Bytes that the model wrote so far.
        text_bytes: u64,
    },
    /// It is settled.
    Ended(&'a CallRecord),
    /// The cache was asked, or could have been, for a request of an agent whose answers are kept.
    Cache {
        /// Whose it was.
        caller: &'a Caller,
        /// What came of it.
        result: CacheResult,
    },
    /// A request was refused, before any provider or after all of them.
    Refused {
        /// Whose it was.
        caller: &'a Caller,
        /// The HTTP status.
        status: u16,
        /// The fixed word for the reason.
        code: &'static str,
        /// Why. It quotes no answer, which the agent may be told of.
        message: &'a str,
    },
    /// A request has come to its end, as far as its agent is concerned. Told once of each that could
    /// be read.
    Concluded {
        /// Whose it was.
        caller: &'a Caller,
        /// SHA-256 of its body, as the agent sent it.
        hash: &'a [u8; 32],
        /// What it came to.
        conclusion: &'a Conclusion,
        /// That in words. It quotes no answer, which the agent may be told of.
        message: &'a str,
    },
    /// A provider, or a model of it, is left alone after its failures.
    ProviderDown {
        /// Which.
        provider: &'a str,
        /// Until then.
        until: Timestamp,
    },
    /// A provider that was left alone answers again, or has another key or address, so that it may
    /// be asked.
    ProviderUp {
        /// Which.
        provider: &'a str,
    },
    /// A budget had no room for a call; the request may still go to another target.
    OverBudget {
        /// Whose it was.
        caller: &'a Caller,
        /// Why.
        refused: &'a Refused,
    },
    /// A validator found personal data.
    PersonalData {
        /// Whose request it was.
        caller: &'a Caller,
        /// Which request.
        request: &'a str,
        /// Where it was found.
        place: Place,
        /// What was done about it.
        action: Action,
        /// How much of what.
        found: &'a Found,
    },
    /// A validator of personal data could not read all of a text, so it did not pass.
    Unreadable {
        /// Whose request it was.
        caller: &'a Caller,
        /// Which request.
        request: &'a str,
        /// What could not be read.
        place: Place,
    },
    /// An answer does not follow its JSON schema.
    WrongAnswer {
        /// Whose request it was.
        caller: &'a Caller,
        /// Which request.
        request: &'a str,
        /// What is done about it; an answer that is wrong after it was asked for again is blocked.
        action: OnViolation,
        /// What is wrong, or that it could not be checked. It may quote the answer.
        violations: &'a [Violation],
    },
    /// A text was judged unsafe, so it did not pass.
    Unsafe {
        /// Whose request it was.
        caller: &'a Caller,
        /// Which request.
        request: &'a str,
        /// Where it was.
        place: Place,
        /// For what, in the words of the one who judges.
        categories: &'a [String],
    },
    /// Who judges texts could not be asked.
    Unjudged {
        /// Whose request it was.
        caller: &'a Caller,
        /// Which request.
        request: &'a str,
        /// What was to be judged.
        place: Place,
        /// What became of it.
        action: OnFailure,
    },
    /// Money runs out.
    Alert(&'a Alert),
    /// A provider refuses the key, the model or the address: an operator has to look.
    Misconfigured {
        /// Which provider.
        provider: &'a str,
        /// The id of the model.
        model: &'a str,
        /// Its status.
        status: u16,
    },
}

/// Where a validator looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In what the agent asks.
    Prompt,
    /// In what the model answers.
    Answer,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prompt => "prompt",
            Self::Answer => "answer",
        })
    }
}

/// Who speaks on a connection.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent.
    pub agent: Arc<str>,
    /// Which replica of it, by its own name; the agent itself, if it has none. Halts are of these.
    pub replica: Arc<str>,
    /// Which life of it, as the host names it; that of the token, where one is shown.
    pub instance: Arc<str>,
    /// The unit of work, if it is known; likewise.
    pub run: Option<Arc<str>>,
    /// How it is known to be the agent.
    pub credential: Credential,
}

/// One life of an agent, and what it works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The life, as the host names it.
    pub instance: Arc<str>,
    /// The unit of work, if it is known.
    pub run: Option<Arc<str>>,
}

/// Knows by a token which life of the agent shows it; `None`: none does.
pub type LifeOfToken = Arc<dyn Fn(&[u8]) -> Option<Life> + Send + Sync>;

/// How a caller is known to be the agent.
#[derive(Clone)]
pub enum Credential {
    /// Nobody else can connect there.
    Trusted,
    /// By its token.
    Token(LifeOfToken),
    /// Nobody else can connect there, but a token that is shown must be the agent's.
    OwnNetwork(LifeOfToken),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "Trusted",
            Self::Token(_) => "Token(…)",
            Self::OwnNetwork(_) => "OwnNetwork(…)",
        })
    }
}

/// A call to one target, with all of its attempts there.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Its reservation.
    pub id: CallId,
    /// The agent's request that it serves; others may serve it too.
    pub request: Arc<str>,
    /// Whose it is.
    pub agent: Arc<str>,
    /// Of which life.
    pub instance: Arc<str>,
    /// Of which unit of work.
    pub run: Option<Arc<str>>,
    /// The interface that the agent used.
    pub api: Api,
    /// When it was admitted.
    pub admitted_at: Timestamp,
    /// The day in whose windows it counts.
    pub day: Date,
    /// The provider.
    pub provider: Arc<str>,
    /// The model as the agent asked for it.
    pub model_asked: Arc<str>,
    /// The provider's id of the model.
    pub model: Arc<str>,
    /// SHA-256 of the request's body as the agent sent it, as it was redacted, or as it asks for a
    /// better answer.
    pub request_hash: [u8; 32],
    /// The rates by which it is charged; `None` when nobody knows them and no budget asks.
    pub rates: Option<Arc<Rates>>,
    /// What is held.
    pub held: Money,
    /// What it costs if the provider has seen it and answered nothing.
    pub estimate: Money,
    /// The limit of its answer that was lowered to what the budget has left.
    pub clamped_to: Option<u64>,
    /// Attempts that failed, at this target.
    pub attempts: Vec<Attempt>,
    /// When the first byte of an answer came.
    pub first_byte_at: Option<Timestamp>,
    /// What became of it.
    pub end: Option<CallEnd>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub failure: AttemptFailure,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection was made.
    Connect,
    /// The connection ended before the answer.
    Broken,
    /// The answer did not come in time.
    TimedOut,
    /// The provider refused with this status.
    Status(u16),
}

/// What became of a call.
#[derive(Debug, Clone)]
pub struct CallEnd {
    /// When.
    pub at: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// What was used, as reported; `None` where the cost is an estimate.
    pub usage: Option<Usage>,
    /// The service tier in which the provider says it served, and charges.
    pub service_tier: Option<String>,
    /// The model that answered, in the provider's words.
    pub model_served: Option<String>,
    /// The provider's HTTP status, if it answered.
    pub status: Option<u16>,
    /// Its money.
    pub settled: Settled,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It was answered, and all of the answer came.
    Answered,
    /// The provider refused it or could not be reached.
    Failed,
    /// The provider ended its answer before the end.
    CutByProvider,
    /// The answer cost as much as was held for it, so it was ended here.
    CutByBudget,
    /// A validator did not let the answer pass.
    CutByValidator,
    /// The agent hung up, and the rest was read for the sake of its cost.
    Drained,
    /// The agent hung up or the answer was late, and nobody read the rest.
    Abandoned,
}

impl Ending {
    /// The word for it in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::CutByProvider => "cut_by_provider",
            Self::CutByBudget => "cut_by_budget",
            Self::CutByValidator => "cut_by_validator",
            Self::Drained => "drained",
            Self::Abandoned => "abandoned",
        }
    }
}

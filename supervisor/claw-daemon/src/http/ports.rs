//! What the API needs from the rest of the daemon, as functions.
//!
//! The server knows no supervisor, journal, log or driver: it knows these
//! questions. `wiring.rs` makes them of the real parts, tests make them of a
//! small fleet in memory, and the server is the same for both.

mod llm;
mod upgrade;

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::event::ShutdownMode;
use claw_core::{
    AgentName, AgentStatus, Answer, Command, FleetSpec, InstanceId, Refusal, Run, RunId, SpawnError,
};
use claw_drivers::container::pool::Sandboxes;
use claw_drivers::driver::Usage;
use claw_drivers::sandbox::LearnedCall;
use claw_drivers::session::{Session, SessionOptions};
use claw_store::Store;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::idempotency::Stored;
use crate::api::{
    Applied, Container, Degraded, Denial, Engine, Event, FieldError, Lockdown, LogLine, LogStream,
    Plan, ProcessSandbox, Time, Transition, UpgradeBegun,
};
use crate::config::{Replicas, Webhook};
pub use crate::telemetry::metrics::{JournalLatency, JournalLoad};
pub use llm::{Balances, FindLlm, LlmPorts, NotReconciled, Prices, Reconciliation};
pub use upgrade::{UpgradeQuestion, UpgradeRefusal};

/// A question that is answered some time later.
pub struct Port<I, O>(Arc<dyn Fn(I) -> BoxFuture<'static, O> + Send + Sync>);

impl<I, O> Port<I, O> {
    /// Makes a port of a function.
    pub fn new<F: Future<Output = O> + Send + 'static>(
        function: impl Fn(I) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |input| Box::pin(function(input))))
    }

    pub(super) fn call(&self, input: I) -> BoxFuture<'static, O> {
        (self.0)(input)
    }
}

impl<I, O> Clone for Port<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Reads one page of a log.
pub type ReadLog = Arc<dyn Fn(&LogQuestion) -> Result<LogPage, LogError> + Send + Sync>;

/// Finds a webhook by its name.
pub type FindWebhook = Arc<dyn Fn(&str) -> Option<Arc<Webhook>> + Send + Sync>;

/// Finds the container of an agent.
pub type FindContainer = Arc<dyn Fn(&AgentName) -> Option<Container> + Send + Sync>;

/// Says why the supervisor cannot cut the connections of a live instance; `None`: it can, or there
/// are none.
pub type FindUncut = Arc<dyn Fn(&InstanceId) -> Option<String> + Send + Sync>;

/// How an agent is confined as a process; `None`: it is not, or is a container.
pub type FindSandbox =
    Arc<dyn Fn(&AgentName, Option<&InstanceId>) -> Option<ProcessSandbox> + Send + Sync>;

/// What an agent was not allowed to reach lately, the newest first.
pub type FindDenials = Arc<dyn Fn(&AgentName) -> Vec<Denial> + Send + Sync>;

/// Begins a subscription.
pub type Subscribe = Arc<dyn Fn(Option<u64>) -> BoxStream<'static, Event> + Send + Sync>;

/// Everything the API asks of the daemon.
#[derive(Clone)]
pub struct Ports {
    /// The supervision loop.
    pub fleet: FleetPorts,
    /// Lifecycle events after a number, or from now on. The subscription begins with the call.
    pub events: Subscribe,
    /// The history.
    pub journal: JournalPorts,
    /// One page of a log. It may block, so it is called on a thread for that.
    pub logs: ReadLog,
    /// State and events.
    pub store: Store,
    /// The webhook of a name.
    pub webhook: FindWebhook,
    /// The configuration.
    pub config: ConfigPorts,
    /// In what code is run once.
    pub sandboxes: Sandboxes,
    /// What live instances use.
    pub usage: Port<(), BTreeMap<InstanceId, Usage>>,
    /// What the image of a live instance is, if it is a container and that is known.
    pub image_digest: Port<InstanceId, Option<String>>,
    /// How an agent, with its live instance, is confined as a process.
    pub sandbox: FindSandbox,
    /// Why the connections of a live instance cannot be cut.
    pub uncut: FindUncut,
    /// What agents were not allowed to reach.
    pub denials: FindDenials,
    /// What an agent has called that the usual filter of system calls refuses.
    pub learned: Port<AgentName, Vec<LearnedCall>>,
    /// Whether the supervisor has locked itself down.
    pub lockdown: Lockdown,
    /// Runs a command beside a live instance, for somebody who looks on.
    pub session: Port<SessionQuestion, Result<Session, SpawnError>>,
    /// Models, and the money they cost.
    pub llm: FindLlm,
    /// The container engine; `None` for a fleet without images. Takes a second at most.
    pub engine: Port<(), Option<Engine>>,
    /// The metrics that agents report of themselves, as OpenMetrics text without its end.
    pub agent_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What of the supervisor does not work as it should; answers without waiting.
    pub degraded: Arc<dyn Fn() -> Vec<Degraded> + Send + Sync>,
    /// How the journal's writer does; `None` where it cannot be told.
    pub journal_load: Arc<dyn Fn() -> Option<JournalLoad> + Send + Sync>,
    /// Gives the supervisor's place to another executable.
    pub upgrade: Port<UpgradeQuestion, Result<UpgradeBegun, UpgradeRefusal>>,
    /// The wall clock.
    pub now: fn() -> Time,
}

/// The supervision loop.
#[derive(Clone)]
pub struct FleetPorts {
    /// Asks for something; resolves with the core's answer.
    pub ask: Port<Command, Result<Answer, AskError>>,
    /// One agent as it is after everything asked before.
    pub status: Port<AgentName, Result<Option<AgentStatus>, AskError>>,
    /// All agents, by name.
    pub statuses: Port<(), Result<Vec<AgentStatus>, AskError>>,
    /// Asks the supervisor to end.
    pub shutdown: Port<ShutdownMode, ()>,
}

/// The history.
#[derive(Clone)]
pub struct JournalPorts {
    /// Runs of an agent, newest first.
    pub runs: Port<RunsQuestion, Result<Vec<Run>, JournalFailure>>,
    /// One run.
    pub run: Port<RunId, Result<Option<Run>, JournalFailure>>,
    /// The newest transitions of an agent, newest first, at most so many.
    pub transitions: Port<(AgentName, u32), Result<Vec<Transition>, JournalFailure>>,
    /// When a request was first seen under an idempotency key: now, unless it was before.
    pub first_seen: Port<(String, Time), Result<Time, JournalFailure>>,
    /// The answer kept under an idempotency key.
    pub recall: Port<String, Result<Option<Stored>, JournalFailure>>,
    /// Keeps an answer under an idempotency key for 24 hours.
    pub remember: Port<(String, Stored), Result<(), JournalFailure>>,
}

/// The configuration.
#[derive(Clone)]
pub struct ConfigPorts {
    /// The configuration in force.
    pub current: Arc<dyn Fn() -> Current + Send + Sync>,
    /// Which agents are replicas of which.
    pub replicas: Arc<dyn Fn() -> Arc<Replicas> + Send + Sync>,
    /// The container of an agent, if it is one.
    pub container: FindContainer,
    /// What applying a configuration would change.
    pub plan: Port<ConfigSource, Result<Plan, ReloadFailure>>,
    /// Puts a configuration in force.
    pub apply: Port<ConfigSource, Result<Applied, ReloadFailure>>,
}

/// The configuration in force.
#[derive(Clone)]
pub struct Current {
    /// The fleet.
    pub fleet: Arc<FleetSpec>,
    /// The file it was read from.
    pub file: String,
}

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// The fleet file on disk.
    File,
    /// A text that was sent.
    Text(String),
}

/// Why a configuration is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFailure {
    /// It cannot be read, or says something impossible.
    #[error("the configuration has errors")]
    Invalid(Vec<FieldError>),
    /// It asks for something that only a new supervisor can do.
    #[error("`{0}` cannot change while the supervisor runs; restart the supervisor")]
    NeedsRestart(String),
    /// Another change is under way.
    #[error("another change of the configuration is under way")]
    Busy,
    /// The core did not take it.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Why a question to the supervision loop has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The core refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The loop has ended.
    #[error("the supervisor has ended")]
    Gone,
}

/// The journal could not answer; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JournalFailure(pub String);

/// Which command is to be run beside which instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuestion {
    /// Beside which.
    pub instance: InstanceId,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How.
    pub options: SessionOptions,
}

/// Which runs are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunsQuestion {
    /// Whose.
    pub agent: AgentName,
    /// How many at most.
    pub limit: u32,
    /// Only older ones than this.
    pub before: Option<RunId>,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct LogQuestion {
    /// Whose log.
    pub agent: AgentName,
    /// Only the last so many lines of those the other fields select.
    pub tail: Option<usize>,
    /// Only lines of this time or later.
    pub since: Option<Time>,
    /// Only lines before this time.
    pub until: Option<Time>,
    /// Only what comes after this place.
    pub after: Option<String>,
    /// Only these bytes of one lane.
    pub range: Option<crate::api::LogRange>,
    /// Only these streams.
    pub streams: Vec<LogStream>,
    /// Keeps back a line that has not ended yet, for the next question.
    pub follow: Following,
}

/// Whether more will be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// Yes: a line that has not ended is kept back.
    Yes,
    /// No: it is given as it is.
    No,
}

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogPage {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// The place after the last line.
    pub cursor: String,
    /// Whether the page was full, so that there may be more at once.
    pub full: bool,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The text is not a place in a log.
    #[error("`{0}` is not a log cursor")]
    Cursor(String),
    /// Reading failed; the text says how.
    #[error("{0}")]
    Failed(String),
}

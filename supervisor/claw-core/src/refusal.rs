//! Why a command is not carried out.

use serde::Serialize;

use crate::clock::Wall;
use crate::halt::Halt;
use crate::id::RunId;
use crate::name::AgentName;

/// A typed refusal. Its text is one sentence that says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// No agent has that name.
    #[error("there is no agent `{agent}`")]
    NoSuchAgent {
        /// The name asked for.
        agent: AgentName,
    },
    /// No such run of that agent is queued or running.
    #[error("run {run} is not queued or running")]
    NoSuchRun {
        /// The run asked for.
        run: RunId,
    },
    /// A daemon takes no runs.
    #[error(
        "{agent} is one long-lived process (`mode: daemon`) and takes no runs; use `clawctl restart {agent}`, or make it `mode: oneshot`"
    )]
    TakesNoRuns {
        /// Who.
        agent: AgentName,
    },
    /// The agent is paused.
    #[error("{agent} is paused; `clawctl resume {agent}` first")]
    Paused {
        /// Who.
        agent: AgentName,
    },
    /// The agent was stopped.
    #[error("{agent} is stopped; `clawctl start {agent}` first")]
    Stopped {
        /// Who.
        agent: AgentName,
    },
    /// The agent is being stopped.
    #[error("{agent} is stopping; try again when it is stopped")]
    Stopping {
        /// Who.
        agent: AgentName,
    },
    /// The agent was given up.
    #[error("{agent} was given up after repeated failures; `clawctl start {agent}` tries again")]
    GaveUp {
        /// Who.
        agent: AgentName,
    },
    /// The agent waits for its next start.
    #[error("{agent} is backing off until {until}; `clawctl start {agent}` starts it now")]
    BackingOff {
        /// Who.
        agent: AgentName,
        /// The next start.
        until: Wall,
    },
    /// A run is under way and the overlap rule is `skip`.
    #[error("{agent} is busy with run {run} and its overlap rule is `skip`")]
    Busy {
        /// Who.
        agent: AgentName,
        /// With which run.
        run: RunId,
    },
    /// Too many runs wait.
    #[error("{agent} has {queued} runs waiting, which is the most it may have")]
    QueueFull {
        /// Who.
        agent: AgentName,
        /// How many wait.
        queued: u32,
    },
    /// The kill switch holds the agent.
    #[error("{agent} is halted: {halt}; `clawctl resume --halt {agent}` lifts that after a review")]
    Halted {
        /// Who.
        agent: AgentName,
        /// How, since when, and by whom.
        halt: Halt,
    },
    /// The agent is not halted.
    #[error("{agent} is not halted")]
    NotHalted {
        /// Who.
        agent: AgentName,
    },
    /// The agent is halted, and the journal does not know.
    #[error(
        "{agent} is halted, but the journal did not take that down: {reason}; it is offered again, and until it is taken a restart of the supervisor would lift the halt"
    )]
    HaltUnrecorded {
        /// Who.
        agent: AgentName,
        /// Why.
        reason: String,
    },
    /// The agent is not paused.
    #[error("{agent} is not paused")]
    NotPaused {
        /// Who.
        agent: AgentName,
    },
    /// A newer command took its place before it was done.
    #[error("a newer command for {agent} took the place of this one")]
    Superseded {
        /// Who.
        agent: AgentName,
    },
    /// What was asked for could not be written down in time, so it was not promised.
    #[error("the journal did not take the request: {reason}; nothing was started")]
    JournalUnavailable {
        /// Why.
        reason: String,
    },
    /// The supervisor is ending.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// The stable one-word code, as in problem+json.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchAgent { .. } => "no_such_agent",
            Self::NoSuchRun { .. } => "no_such_run",
            Self::TakesNoRuns { .. } => "takes_no_runs",
            Self::Paused { .. } => "paused",
            Self::Stopped { .. } => "stopped",
            Self::Stopping { .. } => "stopping",
            Self::GaveUp { .. } => "gave_up",
            Self::BackingOff { .. } => "backing_off",
            Self::Busy { .. } => "busy",
            Self::QueueFull { .. } => "queue_full",
            Self::Halted { .. } => "halted",
            Self::NotHalted { .. } => "not_halted",
            Self::HaltUnrecorded { .. } => "halt_unrecorded",
            Self::NotPaused { .. } => "not_paused",
            Self::Superseded { .. } => "superseded",
            Self::JournalUnavailable { .. } => "journal_unavailable",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

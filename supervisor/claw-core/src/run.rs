//! Units of work.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::death::{Cause, LogRange};
use crate::id::{Generation, RunId};
use crate::image::Image;
use crate::name::AgentName;

/// What caused a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// Somebody called `trigger`.
    Manual,
    /// A slot of the schedule; the time is the planned one.
    Schedule {
        /// The planned time.
        slot: Wall,
    },
    /// The agent came up and runs once at start.
    Start,
}

impl Trigger {
    /// The one-word code, as in `OPENCLAW_TRIGGER`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule { .. } => "schedule",
            Self::Start => "start",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A run as it is recorded and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// Whose work it is.
    pub agent: AgentName,
    /// What caused it.
    pub trigger: Trigger,
    /// JSON handed to it, if any.
    pub payload: Option<String>,
    /// When it was accepted.
    pub queued_at: Wall,
    /// Where it stands.
    pub phase: RunPhase,
    /// How often it was started.
    pub attempts: u32,
    /// The instance of its last attempt.
    pub generation: Option<Generation>,
    /// What that instance was made of, if it was a container; known once it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Where the output of its last attempt lies.
    pub log: Option<LogRange>,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum RunPhase {
    /// Accepted, not started.
    Queued,
    /// Its process runs, or its worker has been given it.
    Running {
        /// Since when.
        since: Wall,
    },
    /// An attempt failed and the next is due.
    Retrying {
        /// When.
        next: Wall,
        /// How the last attempt ended.
        cause: Cause,
    },
    /// It ended, for good.
    Finished {
        /// When its first attempt started; `None` when it never did.
        started: Option<Wall>,
        /// When it ended.
        at: Wall,
        /// How.
        outcome: RunOutcome,
    },
}

/// The final outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RunOutcome {
    /// It did its work.
    Succeeded,
    /// Its last attempt failed.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// It was ended before it was done (stop, replace, shutdown), or never started.
    Cancelled {
        /// Why.
        cause: Cause,
    },
    /// The supervisor, the machine or the process that worked on it died, and how it ended is not
    /// known.
    Interrupted {
        /// Why.
        cause: Cause,
    },
}

/// How a worker says that it is done with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkOutcome {
    /// It did its work.
    Succeeded,
    /// It did not.
    Failed {
        /// What went wrong, for people.
        message: String,
        /// Whether another attempt may help. One that may is made by the restart policy's delays
        /// and limit, also where the policy would not restart; else the run has failed.
        retryable: bool,
    },
    /// It was never told of it, and will not be: the attempt does not count, and a run that is
    /// still wanted waits for its turn again.
    NotBegun,
}

impl RunOutcome {
    /// The one-word code, as in API and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Interrupted { .. } => "interrupted",
        }
    }
}

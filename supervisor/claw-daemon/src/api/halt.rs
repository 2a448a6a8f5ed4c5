//! The kill switch: who is halted, how, and what waits for the end of that.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{State, Time};

/// How much a halt takes away; each level takes what the one before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HaltLevel {
    /// No run, restart or delivery begins; what runs goes on to its end.
    Runs,
    /// Its calls, connections and events are refused, and those under way are cut.
    Egress,
    /// Its processes stand still.
    Freeze,
    /// Its processes are killed at once.
    Kill,
}

/// How an agent is halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Halt {
    /// How much it may not do.
    pub level: HaltLevel,
    /// Since when at this level.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Who halted it, as far as the supervisor knows.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is to be halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HaltRequest {
    /// How much.
    pub level: HaltLevel,
    /// Which agents; a name may stand for all replicas of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// All agents that there are now.
    #[serde(default)]
    pub all: bool,
    /// Why, for those who find them halted: at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whose halt is to be lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftRequest {
    /// Which agents; a name may stand for all replicas of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// All that are halted.
    #[serde(default)]
    pub all: bool,
}

/// Agents that are halted, or were until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HaltedList {
    /// By name.
    pub agents: Vec<Halted>,
}

/// An agent that is halted, or was until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Halted {
    /// Which.
    pub agent: String,
    /// Whose replica it is; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The state it is in.
    pub state: State,
    /// How it is halted; absent once that is over.
    pub halt: Option<Halt>,
    /// What waits for the end of that.
    pub held: Held,
    /// Why its connections cannot be cut, where they should be and somebody else's network is what
    /// it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncut: Option<String>,
}

/// What waits for the end of a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// Slots of its schedule that have fallen due; `catch_up` says which are made up for.
    pub slots: u64,
    /// Runs that were accepted and wait.
    pub runs: u32,
    /// Events that wait to be delivered to it; absent when it takes none, or the store does not
    /// answer.
    pub events: Option<u64>,
}

impl HaltLevel {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Egress => "egress",
            Self::Freeze => "freeze",
            Self::Kill => "kill",
        }
    }
}

impl std::fmt::Display for HaltLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (level, by, since) = (self.level, &self.by, self.since);
        write!(f, "{level} since {since:.0} by {by}")?;
        let reason = self.reason.as_ref();
        reason.map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl From<core::HaltLevel> for HaltLevel {
    fn from(level: core::HaltLevel) -> Self {
        match level {
            core::HaltLevel::Runs => Self::Runs,
            core::HaltLevel::Egress => Self::Egress,
            core::HaltLevel::Freeze => Self::Freeze,
            core::HaltLevel::Kill => Self::Kill,
        }
    }
}

impl From<HaltLevel> for core::HaltLevel {
    fn from(level: HaltLevel) -> Self {
        match level {
            HaltLevel::Runs => Self::Runs,
            HaltLevel::Egress => Self::Egress,
            HaltLevel::Freeze => Self::Freeze,
            HaltLevel::Kill => Self::Kill,
        }
    }
}

impl From<&core::Halt> for Halt {
    fn from(halt: &core::Halt) -> Self {
        Self {
            level: halt.level.into(),
            since: halt.since,
            by: halt.by.clone(),
            reason: halt.why.clone(),
        }
    }
}

//! The configuration: what runs, what would change, what was changed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunningConfig {
    /// The fleet's name.
    pub project: String,
    /// The fleet file it was read from.
    pub file: String,
    /// The whole fleet with defaults filled in and secrets masked.
    #[schema(value_type = Object)]
    pub fleet: serde_json::Value,
}

/// What applying a configuration would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The changes; none when the configuration is the one in force.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The agent it is about; absent for settings of the supervisor itself.
    pub agent: Option<String>,
    /// Whether something is added, removed or changed.
    pub kind: ChangeKind,
    /// What it takes.
    pub class: ReloadClass,
    /// The key, such as `agents.monitor.env.LEVEL`.
    pub path: String,
    /// The value in force, secrets masked.
    pub old: Option<serde_json::Value>,
    /// The value to come, secrets masked.
    pub new: Option<serde_json::Value>,
}

/// Kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It has another value.
    Changed,
    /// It is gone.
    Removed,
}

/// What a change takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReloadClass {
    /// Taken over while the agent runs.
    Live,
    /// Taken over with the next instance or run.
    Drain,
    /// The agent is restarted.
    Restart,
    /// The supervisor itself must be restarted.
    Supervisor,
}

/// What applying a configuration did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The changes that were planned; all are in force but those of `held_back`.
    pub changes: Vec<Change>,
    /// Agents left as they were, because `reload: hot` restarts nobody.
    pub held_back: Vec<String>,
}

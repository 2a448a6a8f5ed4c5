//! The supervisor's own health.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Engine, Time};

/// How the supervisor is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or `degraded` with the parts named.
    pub status: Overall,
    /// The supervisor's version.
    pub version: String,
    /// The fleet's name.
    pub project: String,
    /// The supervisor's process id.
    pub pid: u32,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Time,
    /// Seconds since then.
    pub uptime_seconds: f64,
    /// The parts that do not work as they should.
    pub degraded: Vec<Degraded>,
    /// Whether it has given up system calls that it has no use for.
    #[serde(default)]
    pub lockdown: Lockdown,
    /// The container engine; absent for a fleet without images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
}

/// Whether the supervisor has given up system calls that it has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lockdown {
    /// It has.
    On,
    /// It has not: `security.lockdown` is false.
    #[default]
    Off,
    /// The kernel did not let it; the supervisor's log says why.
    Failed,
}

/// Whether everything works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// It does.
    Ok,
    /// Agents are supervised, but some part does not work as it should.
    Degraded,
}

/// A part that does not work as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Degraded {
    /// Which.
    pub part: Part,
    /// What is wrong, and since when if known.
    pub detail: String,
}

/// The parts of the supervisor whose health is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The journal cannot be written.
    Journal,
    /// The disk of the data directory is nearly full.
    Disk,
    /// The supervisor's loop does not answer.
    Loop,
    /// An agent runs with less of a sandbox than its file wants.
    Sandbox,
    /// The container engine does not answer; agents that are processes are not touched by that.
    Engine,
}

/// Whether the supervisor may be given work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Always true; a supervisor that is not ready answers 503 with the code `not_ready`.
    pub ready: bool,
}

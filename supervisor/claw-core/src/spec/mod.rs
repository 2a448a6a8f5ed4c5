//! What a fleet is to be: validated, resolved, defaults filled in.
//!
//! The fleet file is parsed into these types by the daemon; nothing here is
//! ever half valid. Spec and runtime state never share a struct.

pub mod container;
pub mod cron;
pub mod launch;
pub mod probe;
pub mod restart;
pub mod sandbox;
pub mod schedule;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::AgentName;

pub use container::Container;
pub use cron::{CronError, CronExpression};
pub use launch::{
    HookSpec, Hooks, Launch, LogPolicy, OnFull, Program, Requirements, Resources, Secret,
};
pub use probe::{Breaker, Check, Probe, Probes, Progress};
pub use restart::{Backoff, ExitCodes, Restart, RestartPolicy};
pub use sandbox::Sandbox;
pub use schedule::{CatchUp, Overlap, Schedule, Timing};

/// A whole fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetSpec {
    /// Its name.
    pub project: String,
    /// How many agents may be between spawn and ready at once.
    pub max_concurrent_starts: NonZeroU32,
    /// Its agents. Dependencies name agents of this map and have no cycle.
    pub agents: BTreeMap<AgentName, Arc<AgentSpec>>,
    /// Agents of this map that stand in for one another, as replicas do, each in one group at
    /// most. A change that takes a restart ends no more than one of a group at a time.
    #[serde(skip)]
    pub groups: Vec<Vec<AgentName>>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentSpec {
    /// The program and its surroundings.
    pub launch: Launch,
    /// One long-lived process, one process per run, or one process that runs are given to.
    pub mode: Mode,
    /// When runs are due; not with `mode: daemon`.
    pub schedule: Option<Schedule>,
    /// How many runs a worker may be given at once, where its overlap rule allows several. Of no
    /// meaning for the other modes.
    pub concurrency: NonZeroU32,
    /// What must be there before it starts.
    pub depends_on: BTreeMap<AgentName, Condition>,
    /// What happens when it ends.
    pub restart: Restart,
    /// How its health is judged.
    pub probes: Probes,
    /// What it may use.
    pub resources: Resources,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Programs around its life.
    pub hooks: Hooks,
    /// What becomes of its output.
    pub logging: LogPolicy,
}

impl AgentSpec {
    /// Tells whether an instance started with this spec has to be replaced under another: a hash of
    /// every field whose change takes a restart, secrets included, as 16 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        crate::plan::restart_hash(self)
    }
}

/// Whether an agent is one process, one per run, or one that is given runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One long-lived process.
    Daemon,
    /// One process per run. Without a schedule it runs once at start, and on triggers.
    Oneshot,
    /// One long-lived process that runs are delivered to while it is ready.
    Worker,
}

/// What a dependency must have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its process was started.
    Started,
    /// It is ready: startup and readiness probes pass, or `READY=1` arrived.
    Ready,
    /// It is a oneshot and its first run of this fleet's life succeeded.
    Completed,
}

/// How an agent is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// From the signal to the kill of the whole tree.
    pub timeout: Duration,
    /// The signal, by number; SIGTERM unless said otherwise.
    pub signal: i32,
    /// Endings that count as clean after the signal was sent.
    pub clean: Vec<CleanExit>,
}

/// An ending that counts as clean when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanExit {
    /// An exit code.
    Code(u8),
    /// A signal's number.
    Signal(i32),
}

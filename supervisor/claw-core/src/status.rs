//! The public face of an agent: the words users see.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::death::Cause;
use crate::halt::{Halt, HaltChange};
use crate::id::{Generation, RunId};
use crate::models::{GateStage, ProviderName};
use crate::name::AgentName;
use crate::order::ProbeKind;

/// The public states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicState {
    /// Waiting for its turn or its dependencies, or started and not yet up.
    Initializing,
    /// Up: a daemon or a worker runs, a oneshot is armed or at work.
    Running,
    /// No new work.
    Paused,
    /// Failed; the next start is at a known time.
    Error,
    /// On its way down.
    Stopping,
    /// Down.
    Stopped,
}

impl PublicState {
    /// The word, as in YAML, API, CLI and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Error => "error",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for PublicState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an agent is in its state, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// Waits for agents it depends on.
    WaitingFor {
        /// Those not yet there.
        agents: Vec<AgentName>,
    },
    /// Waits for its turn: only so many agents start at once.
    Queued,
    /// Its last life died of an outage of a provider of models, which is not over for all who did.
    ProviderDown {
        /// Which provider.
        provider: ProviderName,
        /// When the outage was first heard of.
        since: Wall,
        /// How it stands with it.
        stage: GateStage,
    },
    /// Its `pre_start` hook runs.
    PreStart,
    /// Its process is being started.
    Spawning,
    /// What its start needs is fetched or built.
    Preparing {
        /// What is done, and how far it is.
        detail: String,
    },
    /// Whoever runs it cannot be asked, so nobody knows whether it still runs.
    Unobserved {
        /// Why.
        detail: String,
    },
    /// Its process runs on, but is held by a shim that cannot be talked to until it is restarted.
    NeedsRestart {
        /// Why.
        detail: String,
    },
    /// Its process runs; startup probe or `READY=1` is awaited.
    StartingUp,
    /// A daemon runs.
    Up,
    /// A oneshot, or a worker that is up, waits for its next slot or trigger.
    Waiting,
    /// A oneshot or a worker is at work.
    Working {
        /// The runs under way.
        runs: Vec<RunId>,
    },
    /// Runs, but a readiness probe fails.
    NotReady {
        /// What was seen.
        detail: String,
    },
    /// Somebody paused it.
    Paused,
    /// Somebody paused and froze it.
    Frozen,
    /// The kill switch holds it.
    Halted(Halt),
    /// Failed and waits for its next start.
    BackingOff {
        /// How it ended.
        cause: Cause,
        /// When it is started again.
        until: Wall,
        /// Failures in a row.
        failures: u32,
    },
    /// Being ended.
    Ending {
        /// Why.
        cause: Cause,
    },
    /// Stopped on request.
    Asked,
    /// Did what it had to do.
    Completed,
    /// Failed too often.
    GaveUp {
        /// How it ended last.
        cause: Cause,
        /// Failures in a row.
        failures: u32,
    },
    /// Cannot be started as it is written.
    Refused {
        /// Why.
        reason: String,
    },
    /// Its restart policy does not start it again.
    NotRestarted {
        /// How it ended.
        cause: Cause,
    },
}

impl Reason {
    /// The stable code, as in API and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WaitingFor { .. } => "waiting_for",
            Self::Queued => "queued",
            Self::ProviderDown { .. } => "provider_down",
            Self::PreStart => "pre_start",
            Self::Spawning => "spawning",
            Self::Preparing { .. } => "preparing",
            Self::Unobserved { .. } => "unobserved",
            Self::NeedsRestart { .. } => "needs_restart",
            Self::StartingUp => "starting_up",
            Self::Up => "up",
            Self::Waiting => "waiting",
            Self::Working { .. } => "working",
            Self::NotReady { .. } => "not_ready",
            Self::Paused => "paused",
            Self::Frozen => "frozen",
            Self::Halted(_) => "halted",
            Self::BackingOff { .. } => "backing_off",
            Self::Ending { .. } => "ending",
            Self::Asked => "asked",
            Self::Completed => "completed",
            Self::GaveUp { .. } => "gave_up",
            Self::Refused { .. } => "refused",
            Self::NotRestarted { .. } => "not_restarted",
        }
    }
}

/// One agent as API and CLI show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// Its name.
    pub name: AgentName,
    /// Its public state.
    pub state: PublicState,
    /// May be given work.
    pub ready: bool,
    /// Why it is in this state.
    pub reason: Reason,
    /// Since when.
    pub since: Wall,
    /// Its newest live instance.
    pub instance: Option<LiveInstance>,
    /// Restarts by the restart policy, ever.
    pub restarts: u64,
    /// The last text the agent sent with `STATUS=`.
    pub status_text: Option<String>,
    /// How its last instance ended.
    pub last_death: Option<(Cause, Wall)>,
    /// Its halt, if somebody has halted it, whatever state it is in.
    pub halt: Option<Halt>,
    /// The last changes of its kill switch, oldest first.
    pub switch_changes: Vec<HaltChange>,
    /// Runs.
    pub runs: RunSummary,
    /// Failures in a row, per probe.
    pub probes: Vec<(ProbeKind, u32)>,
}

/// A live instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveInstance {
    /// Which life.
    pub generation: Generation,
    /// Its process id, once started.
    pub pid: Option<u32>,
    /// When it was started.
    pub started_at: Option<Wall>,
}

/// Runs in short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RunSummary {
    /// Under way.
    pub active: u32,
    /// Waiting.
    pub queued: u32,
    /// Finished well, ever.
    pub succeeded: u64,
    /// Finished otherwise, ever.
    pub failed: u64,
    /// When the last one ended.
    pub last: Option<Wall>,
    /// The next slot.
    pub next: Option<Wall>,
    /// Slots that have fallen due since it was halted, and wait for the end of that.
    pub held_slots: u64,
}

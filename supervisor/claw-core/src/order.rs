//! What the core may ask of a driver.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::id::{InstanceId, RunId};
use crate::redact;
use crate::run::Trigger;
use crate::spec::{AgentSpec, Launch};

/// An order to the driver that runs the instance. Orders for one instance are carried out in
/// order; each is answered by the facts named here, and no order blocks the sender.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Start an instance. Answered by `Started` or `SpawnFailed`, after any number of `Preparing`;
    /// later by `MainExited` and `Gone`.
    Spawn {
        /// The new life.
        instance: InstanceId,
        /// What to start, and within which limits.
        spec: Arc<AgentSpec>,
        /// The unit of work it is started for; `None` for a daemon and a worker.
        run: Option<RunContext>,
    },
    /// Send a signal to the main process. Not answered; a gone process is no error.
    Signal {
        /// To whom.
        instance: InstanceId,
        /// The signal's number.
        signal: i32,
    },
    /// End the whole tree at once, escaped descendants included. Answered by `Gone`.
    Kill {
        /// Whose tree.
        instance: InstanceId,
    },
    /// Stop scheduling the whole tree. Not answered.
    Freeze {
        /// Whose tree.
        instance: InstanceId,
    },
    /// Undo `Freeze`. Not answered.
    Thaw {
        /// Whose tree.
        instance: InstanceId,
    },
    /// Run a probe once. Answered by `Probed` with the same sequence number, within
    /// `timeout` plus a second; a driver never runs two of the same kind at once.
    Probe {
        /// Whose probe.
        instance: InstanceId,
        /// Which of its probes; the check itself stands in `spec`.
        probe: ProbeKind,
        /// The spec that holds the check.
        spec: Arc<AgentSpec>,
        /// Echoed in the answer.
        sequence: u64,
    },
    /// Run a hook to its end or its timeout. Answered by `HookDone`.
    RunHook {
        /// For which life; `pre_start` runs before its `Spawn`.
        instance: InstanceId,
        /// Which hook.
        hook: Hook,
        /// The spec that holds the hook.
        spec: Arc<AgentSpec>,
    },
    /// Give a run to a worker that is ready. Answered by `RunFinished` with the same attempt, and
    /// before that by `RunTaken` and `RunProgressed` where the agent says so; the end of the
    /// instance answers it too. No attempt of a run is ever delivered twice, unless it was answered
    /// by `NotBegun`.
    Deliver {
        /// To whom.
        instance: InstanceId,
        /// What it is told of the run.
        run: RunContext,
        /// When its time is up, for the agent to know; the core keeps that time itself.
        deadline: Option<Wall>,
    },
    /// Tell a worker that a run it was given is not wanted any more. Answered by `RunFinished`;
    /// an instance that does not within its grace is restarted. One that does not know the run
    /// does nothing.
    CancelRun {
        /// Who works on it.
        instance: InstanceId,
        /// Which run.
        run: RunId,
    },
    /// Tell a worker to finish what it works on and to take nothing new; the signal follows when
    /// that is done, at the latest at `until`. Not answered.
    Drain {
        /// Who.
        instance: InstanceId,
        /// When the signal comes at the latest.
        until: Wall,
    },
    /// Forget a gone instance: its run directory and cgroup may be removed. Not answered.
    Release {
        /// Which.
        instance: InstanceId,
    },
}

impl Order {
    /// The instance the order is about.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        match self {
            Self::Spawn { instance, .. }
            | Self::Signal { instance, .. }
            | Self::Kill { instance }
            | Self::Freeze { instance }
            | Self::Thaw { instance }
            | Self::Probe { instance, .. }
            | Self::RunHook { instance, .. }
            | Self::Deliver { instance, .. }
            | Self::CancelRun { instance, .. }
            | Self::Drain { instance, .. }
            | Self::Release { instance } => instance,
        }
    }
}

/// What whoever works on a run is told about it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunContext {
    /// `OPENCLAW_RUN_ID`.
    pub run: RunId,
    /// `OPENCLAW_TRIGGER`.
    pub trigger: Trigger,
    /// `OPENCLAW_ATTEMPT`, from 1.
    pub attempt: u32,
    /// JSON on its standard input; empty input when there is none.
    pub payload: Option<Arc<str>>,
}

/// Which probe of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Has it come up? Holds back the other two until it succeeded once.
    Startup,
    /// Does it still work? Failure restarts.
    Liveness,
    /// May it be given work? Failure never restarts.
    Readiness,
    /// Is there evidence of work? Silence restarts. Judged by the core, never run by a driver.
    Progress,
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Progress => "progress",
        })
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The check passed.
    Success,
    /// The check was made and did not pass; the text says what was seen.
    Failure(String),
    /// The check could not be made (no descriptors, the supervisor was paused); takes no action.
    Unknown(String),
}

impl ProbeOutcome {
    /// Without the agent's secrets, which it may have shown.
    #[must_use]
    pub fn masked(self, launch: &Launch) -> Self {
        match self {
            Self::Success => Self::Success,
            Self::Failure(text) => Self::Failure(redact::text(launch, text)),
            Self::Unknown(text) => Self::Unknown(redact::text(launch, text)),
        }
    }
}

/// What is known of a worker's own readiness check. It is asked over the worker's socket, so no
/// order leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfCheck {
    /// Its program has such a check, which has not answered in this life yet: there is no work
    /// before it passes.
    Awaited,
    /// It was made.
    Made(ProbeOutcome),
}

/// Which hook of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before each start; its failure is the reason shown and counts as a failed start.
    PreStart,
    /// After each end, before the next start; its failure is recorded only.
    PostStop,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreStart => "pre_start",
            Self::PostStop => "post_stop",
        })
    }
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOutcome {
    /// It exited with code 0.
    Success,
    /// It failed; the text names the exit status and the last lines of its output.
    Failure(String),
    /// It was killed with its tree after this long.
    TimedOut(Duration),
}

impl HookOutcome {
    /// Without the agent's secrets, which it may have printed.
    #[must_use]
    pub fn masked(self, launch: &Launch) -> Self {
        match self {
            Self::Failure(text) => Self::Failure(redact::text(launch, text)),
            Self::Success | Self::TimedOut(_) => self,
        }
    }
}

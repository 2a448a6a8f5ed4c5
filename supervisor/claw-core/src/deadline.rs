//! Why a step is due at a time: the label of a deadline, for traces.

use std::fmt;

use serde::Serialize;

use crate::clock::Mono;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// An answer of the journal is overdue.
    Journal,
    /// A hook is overdue.
    Hook,
    /// The answer to a spawn is overdue.
    Spawn,
    /// The next start after a failure.
    Backoff,
    /// One more passes the gate of a provider that had an outage.
    Gate,
    /// The grace after the signal ends.
    Grace,
    /// A kill has not been answered and is repeated.
    Kill,
    /// The next probe.
    Probe,
    /// The answer to a probe is overdue.
    ProbeAnswer,
    /// `READY=1` is overdue.
    StartTimeout,
    /// `WATCHDOG=1` is overdue.
    Watchdog,
    /// Evidence of work is overdue.
    Progress,
    /// Healthy long enough to start counting afresh.
    Healthy,
    /// A run has used up its time.
    RunTimeout,
    /// The next attempt of a run.
    Retry,
    /// What an adopted worker still works on is not yet known.
    Resume,
    /// A slot of a schedule.
    Slot,
    /// Have the clocks drifted apart, so that slots must be planned anew?
    Clocks,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Journal => "journal",
            Self::Hook => "hook",
            Self::Spawn => "spawn",
            Self::Backoff => "backoff",
            Self::Gate => "gate",
            Self::Grace => "grace",
            Self::Kill => "kill",
            Self::Probe => "probe",
            Self::ProbeAnswer => "probe_answer",
            Self::StartTimeout => "start_timeout",
            Self::Watchdog => "watchdog",
            Self::Progress => "progress",
            Self::Healthy => "healthy",
            Self::RunTimeout => "run_timeout",
            Self::Retry => "retry",
            Self::Resume => "resume",
            Self::Slot => "slot",
            Self::Clocks => "clocks",
        })
    }
}

/// A point in time and what it is for.
pub(crate) type Deadline = (Mono, Why);

/// The earlier of two deadlines that may be absent.
pub(crate) fn earlier(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

//! Why a life ended: the verdict over what was observed and what we had wanted.

use crate::death::{Cause, ExitReport, ExitStatus};
use crate::spec::{AgentSpec, CleanExit};

use super::instance::journal_error;

/// SIGKILL, the signal by which the kernel ends a process for memory.
const SIGKILL: i32 = 9;

/// Who began the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The agent.
    Own,
    /// We, for this.
    Ours(Cause),
}

impl Ending {
    /// What to show while it goes on.
    pub(crate) fn shown(&self, exit: Option<ExitStatus>) -> Cause {
        match (self, exit) {
            (Self::Ours(cause), _) => cause.clone(),
            (Self::Own, Some(status)) => plain(status),
            (Self::Own, None) => Cause::Lost,
        }
    }
}

/// The end of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// Why.
    pub cause: Cause,
    /// How it is to be counted.
    pub kind: EndKind,
    /// What was observed, where anything was.
    pub report: Option<ExitReport>,
}

/// How an end is to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndKind {
    /// It was asked for, and went as it should.
    Clean,
    /// It was asked for, but went otherwise (killed after its grace, or with another code).
    Unclean,
    /// It was called off before anything was started.
    NotBegun,
    /// The restart policy judges it.
    Judged,
    /// The journal did not let it begin; tried again, and not the agent's failure.
    Unrecorded,
}

impl End {
    /// The agent's own end, or one that counts like it.
    pub(crate) const fn own(cause: Cause, report: Option<ExitReport>) -> Self {
        Self {
            cause,
            kind: EndKind::Judged,
            report,
        }
    }

    /// The end that we wanted for `cause`.
    pub(crate) fn ours(cause: Cause, report: Option<ExitReport>, spec: &AgentSpec) -> Self {
        let status = report.as_ref().map(|report| report.status);
        let kind = if !is_wish(&cause) {
            EndKind::Judged
        } else if cause == Cause::Halted {
            // However it ended: that is what a kill switch is for.
            EndKind::Clean
        } else if status.is_none_or(|status| is_clean(spec, status)) {
            EndKind::Clean
        } else {
            EndKind::Unclean
        };
        Self {
            cause,
            kind,
            report,
        }
    }

    /// The journal did not take the intent.
    pub(crate) fn unrecorded(reason: &str) -> Self {
        Self {
            cause: Cause::Spawn {
                error: journal_error(reason),
            },
            kind: EndKind::Unrecorded,
            report: None,
        }
    }

    /// It was called off before anything was started.
    pub(crate) const fn never_began(cause: Cause) -> Self {
        Self {
            cause,
            kind: EndKind::NotBegun,
            report: None,
        }
    }

    /// What the report alone says.
    pub(crate) fn observed(report: &ExitReport) -> Cause {
        let killed = report.status == ExitStatus::Signal(SIGKILL);
        if killed && report.oom_kills > 0 {
            Cause::Oom {
                kills: report.oom_kills,
            }
        } else {
            plain(report.status)
        }
    }
}

/// The verdict: what we wanted goes before what was observed, unless the agent came first.
pub(crate) fn judge(
    ending: &Ending,
    observed: Cause,
    report: Option<ExitReport>,
    spec: &AgentSpec,
) -> End {
    match ending {
        Ending::Own => End::own(observed, report),
        Ending::Ours(cause) => End::ours(cause.clone(), report, spec),
    }
}

/// Whether a cause is a wish of ours and not a failure of the agent.
pub(crate) const fn is_wish(cause: &Cause) -> bool {
    match cause {
        Cause::Asked
        | Cause::Reconfigured
        | Cause::Replaced
        | Cause::Halted
        | Cause::HostReboot => true,
        Cause::Exit { .. }
        | Cause::Signal { .. }
        | Cause::Oom { .. }
        | Cause::Probe { .. }
        | Cause::Watchdog
        | Cause::Protocol
        | Cause::NoProgress(_)
        | Cause::StartTimeout
        | Cause::RunTimeout
        | Cause::RunFailed { .. }
        | Cause::RunLost
        | Cause::Spawn { .. }
        | Cause::Hook { .. }
        | Cause::Lost => false,
    }
}

fn is_clean(spec: &AgentSpec, status: ExitStatus) -> bool {
    let clean = &spec.shutdown.clean;
    clean.iter().any(|clean| match (clean, status) {
        (CleanExit::Code(clean), ExitStatus::Code(code)) => *clean == code,
        (CleanExit::Signal(clean), ExitStatus::Signal(signal)) => *clean == signal,
        (CleanExit::Code(_), ExitStatus::Signal(_))
        | (CleanExit::Signal(_), ExitStatus::Code(_)) => false,
    })
}

const fn plain(status: ExitStatus) -> Cause {
    match status {
        ExitStatus::Code(code) => Cause::exit(code),
        ExitStatus::Signal(signal) => Cause::Signal { signal },
    }
}

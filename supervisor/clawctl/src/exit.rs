//! Exit codes and the errors that carry them, decided in this one place.

use std::fmt;
use std::process::ExitCode;

use claw_daemon::api::{Code, Problem};

/// The exit codes. They are documented and never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// It failed.
    Failed,
    /// The command line cannot be understood (clap's own code).
    Usage,
    /// The agent asked about is not running.
    NotRunning,
    /// There is no such agent.
    NoSuchAgent,
    /// No supervisor answers.
    Unreachable,
    /// The caller may not do that.
    NotPermitted,
    /// `--wait` gave up waiting.
    TimedOut,
    /// The supervisor refused, with a reason.
    Refused,
    /// A bug in this program.
    Bug,
    /// The fleet file has errors.
    InvalidConfig,
    /// Ended by Ctrl-C.
    Interrupted,
    /// A command in a sandbox was out of time, as `timeout(1)` says it.
    CommandTimedOut,
    /// There was no sandbox for a command.
    CommandNotRun,
    /// What a command in a sandbox has ended with.
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotRunning => 3,
            Exit::NoSuchAgent => 4,
            Exit::Unreachable => 5,
            Exit::NotPermitted => 6,
            Exit::TimedOut => 7,
            Exit::Refused => 8,
            Exit::Bug => 70,
            Exit::InvalidConfig => 78,
            Exit::CommandTimedOut => 124,
            Exit::CommandNotRun => 125,
            Exit::Interrupted => 130,
            Exit::Command(code) => code,
        })
    }
}

/// Why a command did not succeed: what to print, what to do about it, what to exit with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened; empty when everything was printed already.
    pub message: String,
    /// What to do now.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with a message.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure whose story has been printed already.
    #[must_use]
    pub(crate) const fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: String::new(),
            hint: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let mut message = problem.detail.clone();
        for error in &problem.errors {
            message.push_str("\n  ");
            message.push_str(&error.message);
        }
        let failure = Self::new(exit_of(problem.code), message);
        if problem.code == Code::NoSuchAgent {
            failure.hint("`clawctl status` lists the agents")
        } else if problem.code == Code::Internal {
            failure.hint(format!(
                "the supervisor's log knows more of request {}",
                problem.request_id
            ))
        } else {
            failure
        }
    }
}

/// The exit code for a problem code.
const fn exit_of(code: Code) -> Exit {
    match code {
        Code::NoSuchAgent | Code::NoSuchRun => Exit::NoSuchAgent,
        Code::NotRunning => Exit::NotRunning,
        Code::UnknownKey
        | Code::VersionGone
        | Code::NoSuchDeadLetter
        | Code::NoSuchHook
        | Code::NoModels
        | Code::NoSuchSandbox
        | Code::SandboxUnusable
        | Code::StateTooLarge => Exit::Failed,
        Code::TakesNoRuns
        | Code::Paused
        | Code::Stopped
        | Code::Stopping
        | Code::GaveUp
        | Code::BackingOff
        | Code::Busy
        | Code::QueueFull
        | Code::NotPaused
        | Code::Halted
        | Code::NotHalted
        | Code::HaltUnrecorded
        | Code::NotUncertain
        | Code::Superseded
        | Code::JournalUnavailable
        | Code::ShuttingDown
        | Code::NotReady
        | Code::TooManyStreams
        | Code::ReloadBusy
        | Code::NeedsRestart
        | Code::UpgradeRefused
        | Code::IdempotencyKeyReused
        | Code::VersionConflict
        | Code::RateLimited
        | Code::StoreUnavailable
        | Code::SandboxBusy
        | Code::EngineUnavailable
        | Code::IdempotencyInProgress => Exit::Refused,
        Code::SupervisorGone => Exit::Unreachable,
        Code::BadAgentName
        | Code::BadRunId
        | Code::BadEvent
        | Code::BadParameter
        | Code::BadHeader
        | Code::InvalidJson
        | Code::UnreadableBody
        | Code::BodyTooLarge => Exit::Usage,
        Code::InvalidConfig => Exit::InvalidConfig,
        Code::WaitTimedOut => Exit::TimedOut,
        Code::BadSignature | Code::Forbidden | Code::ForeignHost | Code::ForeignOrigin => {
            Exit::NotPermitted
        }
        Code::NoSuchRoute
        | Code::MethodNotAllowed
        | Code::UnsupportedMediaType
        | Code::NotAcceptable
        | Code::LogUnavailable
        | Code::Internal
        | Code::Unknown => Exit::Failed,
    }
}

//! What comes of a command.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::{ExitStatus, SpawnError, SpawnStage};

use super::super::fault::EngineError;
use super::files::OutFile;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent findings, each of which may be there with any other"
)]
pub struct Outcome {
    /// Its exit code or signal; of a command that was out of time, the signal that ended it.
    pub status: ExitStatus,
    /// Its time was over, and it was killed with all that it had started.
    pub timed_out: bool,
    /// Something in the sandbox was killed for memory.
    pub out_of_memory: bool,
    /// What it wrote to its standard output, as far as it was kept.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error, as far as it was kept.
    pub stderr: Vec<u8>,
    /// More was written than is kept.
    pub truncated: bool,
    /// From the call of the command to its end.
    pub duration: Duration,
    /// Whether a sandbox was waiting for it.
    pub temperature: Temperature,
    /// The files that were asked for; none of a command that was out of time.
    pub files: BTreeMap<String, OutFile>,
}

/// Whether a command found a container that was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temperature {
    /// It did.
    Ready,
    /// One was made for it.
    Cold,
}

/// Why a command was not run, or how it ended is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// No sandbox has that name.
    #[error("there is no sandbox `{0}`; see `sandboxes` in the fleet file")]
    NoSuchSandbox(String),
    /// The request cannot be carried out as it is.
    #[error("{0}")]
    Invalid(String),
    /// As many commands run and wait as may.
    #[error(
        "{running} commands run in `{sandbox}` and {waiting} wait, which is the most: try again, or \
         raise its `max_running`"
    )]
    Busy {
        /// The sandbox's name.
        sandbox: String,
        /// Commands that run.
        running: usize,
        /// Commands that wait.
        waiting: usize,
    },
    /// There is no engine, or it does not answer.
    #[error(transparent)]
    Engine(EngineError),
    /// The engine is there, and does not make such a container.
    #[error("the sandbox cannot be made: {0}")]
    Unusable(String),
    /// The supervisor is ending.
    #[error("the supervisor is ending")]
    Ending,
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused { status, message } if status < 500 => Self::Unusable(message),
            EngineError::Refused { .. }
            | EngineError::Unreachable { .. }
            | EngineError::Silent { .. }
            | EngineError::Address { .. }
            | EngineError::TooOld { .. } => Self::Engine(error),
        }
    }
}

impl From<SpawnError> for RunError {
    fn from(error: SpawnError) -> Self {
        match error.stage {
            SpawnStage::Engine => Self::Engine(EngineError::Refused {
                status: 0,
                message: error.detail,
            }),
            SpawnStage::Image
            | SpawnStage::Sandbox
            | SpawnStage::Prepare
            | SpawnStage::Log
            | SpawnStage::Cgroup
            | SpawnStage::Limits
            | SpawnStage::User
            | SpawnStage::WorkingDir
            | SpawnStage::Fork
            | SpawnStage::Exec => Self::Unusable(error.detail),
        }
    }
}

//! A step of a set-up that failed.

use std::io;

use claw_core::{SpawnError, SpawnStage};

/// What could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Fault {
    /// A sentence without its end, such as `cannot mount /proc`.
    pub(crate) what: String,
    #[source]
    pub(crate) source: io::Error,
}

impl Fault {
    /// Makes an error of a system call one of a step.
    pub(crate) fn of<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self {
            what,
            source: source.into(),
        }
    }

    /// What the start of an instance failed with. A machine that is short of something may have it
    /// the next time.
    pub(crate) fn into_spawn_error(self) -> SpawnError {
        use nix::libc::{EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC};
        let errno = self.source.raw_os_error().unwrap_or(0);
        let passes = [EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC].contains(&errno);
        SpawnError {
            stage: if passes {
                SpawnStage::Prepare
            } else {
                SpawnStage::Sandbox
            },
            errno,
            detail: format!("{}: {}", self.what, crate::process::reason(&self.source)),
        }
    }
}

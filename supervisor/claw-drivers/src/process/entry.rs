//! Where our own executable is entered again for something else than its `main`.

use crate::sandbox::{TRIAL, trial};

/// The first argument of the fork server.
pub(crate) const SPAWNER: &str = "__spawner";

/// The first argument of a process that only enters a cgroup, for trial.
pub(crate) const ENTER: &str = "__enter-cgroup";

/// Does what a re-entered executable is for, and returns the exit code; `None` in an ordinary start.
///
/// To be called first thing in `main`, before any thread, runtime or logging exists: the spawner
/// forks without executing anything, and what it forks is to be small.
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = claw_drivers::process::reenter() {
///         return ExitCode::from(code);
///     }
///     // The program proper.
///     ExitCode::SUCCESS
/// }
/// ```
#[must_use]
pub fn reenter() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == SPAWNER {
        return Some(super::respawn::run());
    }
    if first == TRIAL {
        return Some(trial::run());
    }
    if first == ENTER {
        return Some(enter(&arguments.next()?));
    }
    None
}

/// Enters one cgroup; the exit code is the error number.
fn enter(entrance: &std::ffi::OsStr) -> u8 {
    let entered = std::fs::File::options()
        .write(true)
        .open(entrance)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"0"));
    match entered {
        Ok(()) => 0,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(1);
            u8::try_from(errno).unwrap_or(1)
        }
    }
}

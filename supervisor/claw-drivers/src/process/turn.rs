//! Whose turn it is to launch on a data directory.
//!
//! A supervisor may die right after it handed a launch to its spawner. The next one must not judge
//! an instance as never started while the old spawner is still starting it. So the spawner holds a
//! lock, each shim holds a share of it until it can be found by a lock of its own, and a new
//! supervisor waits for the lock before it looks at anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::signal;

/// How long launches under way may take. They take milliseconds; whoever still holds the lock
/// then is stopped or stuck, and waiting longer would keep the fleet down.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the lock is tried.
const PACE: Duration = Duration::from_millis(5);

/// The lock, held by this supervisor, its spawner, and shims that are being born.
#[derive(Debug)]
pub(crate) struct Turn(File);

impl Turn {
    /// Waits until no earlier spawner launches any more. Blocks, at most some seconds.
    pub(crate) fn take(data_dir: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            // Nobody else is to take the turn, and with it the start.
            .mode(0o600)
            .open(data_dir.join("spawner.lock"))?;
        let began = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => {
                    signal::pause(PACE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    tracing::warn!("an earlier spawner is stuck; going on without it");
                    return Ok(Self(file));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// A share for the spawner: the lock is free when every share is closed.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

//! Removes the run directories of instances that are over and written down.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_failpoint::Step;
use tokio::runtime::Handle;

/// A crash is followed by a restart, which needs the same folder and both processors; its
/// leftovers can wait until that is done.
const LINGER: Duration = Duration::from_millis(100);

/// The directories that wait.
#[derive(Debug)]
pub(super) struct Cleanup {
    runtime: Handle,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Vec<PathBuf>>);

impl Cleanup {
    pub(super) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            waiting: Arc::default(),
        }
    }

    /// Removes the directory soon, off the runtime. One that is left because we die first is
    /// found by the next supervisor.
    pub(super) fn remove(&self, dir: PathBuf) {
        let first = self.waiting.add(dir);
        if !first {
            return;
        }
        let waiting = Arc::clone(&self.waiting);
        self.runtime.spawn(async move {
            tokio::time::sleep(LINGER).await;
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(move || waiting.remove_all()));
        });
    }

    /// Removes at once what waits. Blocks.
    pub(super) fn remove_all(&self) {
        self.waiting.remove_all();
    }
}

impl Waiting {
    /// Whether it is the first that waits.
    fn add(&self, dir: PathBuf) -> bool {
        let mut dirs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dirs.push(dir);
        dirs.len() == 1
    }

    fn remove_all(&self) {
        let dirs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for dir in &dirs {
            remove(dir);
        }
    }
}

/// Removes a run directory; one that cannot be removed is left to the next sweep.
pub(super) fn remove(dir: &Path) {
    claw_failpoint::before(Step::InstanceRemoval);
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a run directory could not be removed");
        }
        Ok(()) | Err(_) => {}
    }
    claw_failpoint::after(Step::InstanceRemoval);
}

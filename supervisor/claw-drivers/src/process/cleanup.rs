//! Removes the run directories of instances that are over and written down, and the groups that
//! their shims did not live to remove.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_failpoint::Step;
use tokio::runtime::Handle;

use super::cgroup::Group;

/// A crash is followed by a restart, which needs the same folder and both processors; its
/// leftovers can wait until that is done.
const LINGER: Duration = Duration::from_millis(100);

/// What is left of an instance.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) dir: PathBuf,
    pub(super) group: Group,
}

/// The remains that wait.
#[derive(Debug)]
pub(super) struct Cleanup {
    runtime: Handle,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Vec<Remains>>);

impl Cleanup {
    pub(super) fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            waiting: Arc::default(),
        }
    }

    /// Removes what is left soon, off the runtime. What stays because we die first is found by the
    /// next supervisor.
    pub(super) fn remove(&self, remains: Remains) {
        let first = self.waiting.add(remains);
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
    fn add(&self, remains: Remains) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(remains);
        all.len() == 1
    }

    fn remove_all(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for Remains { dir, group } in &all {
            remove(dir);
            // Its shim removes it, unless it died meanwhile; one that is busy with that still is.
            if let Err(error) = group.remove() {
                tracing::debug!(dir = %dir.display(), %error, "a cgroup is left to the next sweep");
            }
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

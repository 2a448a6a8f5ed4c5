//! Removes the run directories of instances that are over and written down.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A crash is followed by a restart, which needs the same folder and both processors; its
/// leftovers can wait until that is done.
const LINGER: Duration = Duration::from_millis(100);

/// The thread that removes them, one after the other, off every other path.
#[derive(Debug)]
pub(super) struct Cleanup {
    released: Option<Sender<PathBuf>>,
    thread: Option<JoinHandle<()>>,
}

impl Cleanup {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(super) fn start() -> std::io::Result<Self> {
        let (released, orders) = channel();
        let thread = std::thread::Builder::new()
            .name("cleanup".to_owned())
            .spawn(move || work(&orders))?;
        Ok(Self {
            released: Some(released),
            thread: Some(thread),
        })
    }

    /// Removes the directory soon. One that is left because we die first is found by the next
    /// supervisor.
    pub(super) fn remove(&self, dir: PathBuf) {
        if let Some(released) = &self.released {
            // The thread ends with `self` only.
            released.send(dir).ok();
        }
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        drop(self.released.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Gathers what is released within the time, then removes it.
fn work(orders: &Receiver<PathBuf>) {
    while let Ok(first) = orders.recv() {
        let mut dirs = vec![first];
        let mut open = true;
        let until = Instant::now() + LINGER;
        while open {
            match orders.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(dir) => dirs.push(dir),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        }
        for dir in &dirs {
            remove(dir);
        }
    }
}

/// Removes a run directory; one that cannot be removed is left to the next sweep.
pub(super) fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "a run directory could not be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

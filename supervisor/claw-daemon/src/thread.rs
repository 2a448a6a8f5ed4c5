//! The thread that supervision runs on, and nothing else.
//!
//! The loop, the driver's followers and their timers share one runtime with one thread: what a
//! shim reports reaches the core without waking another processor on its way, and no request of
//! a client, however large its answer, is worked on where a restart is waiting.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Ends the thread, with the tasks on it, when dropped.
#[derive(Debug)]
pub(crate) struct SupervisionThread {
    tasks: Handle,
    #[expect(dead_code, reason = "the thread ends when this is dropped")]
    end: oneshot::Sender<()>,
}

impl SupervisionThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no descriptors for its runtime.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("supervise".to_owned())
            .spawn(move || {
                // Dropped by the owner, never sent to.
                drop(runtime.block_on(ended));
                runtime.shutdown_background();
            })?;
        Ok(Self { tasks, end })
    }

    /// Where to start its tasks.
    pub(crate) const fn tasks(&self) -> &Handle {
        &self.tasks
    }
}

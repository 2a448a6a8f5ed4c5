//! Threads with tasks of their own, and no others.
//!
//! Supervision: the loop, the driver's followers and their timers share one runtime with one
//! thread. What a shim reports reaches the core without waking another processor on its way, and
//! no request of a client, however large its answer, is worked on where a restart is waiting.
//!
//! Models: a call passes through a dozen tasks, and most of what it would cost with several threads
//! is that they wake each other.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long a thread of a runtime for what blocks is kept without work. tokio panics where it can
/// neither make the first one nor wait for another, so on a machine without room for a new thread,
/// one that is there is worth its memory.
pub const BLOCKING_KEPT: Duration = Duration::from_secs(3600);

/// Ends the thread, with the tasks on it, when dropped.
#[derive(Debug)]
pub(crate) struct TaskThread {
    tasks: Handle,
    #[expect(dead_code, reason = "the thread ends when this is dropped")]
    end: oneshot::Sender<()>,
}

impl TaskThread {
    /// Starts the thread, under a name of at most 15 bytes: Linux shows no more.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no descriptors for its runtime.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_keep_alive(BLOCKING_KEPT)
            .build()?;
        let tasks = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(name.to_owned())
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

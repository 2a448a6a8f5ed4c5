//! An instance whose shim cannot be talked to: it goes on, and what can be done without its shim
//! is done.
//!
//! ```text
//!  lock released ──► exit record: how it ended
//!  signal        ──► its main process, known by its start time
//!  kill, freeze  ──► its cgroup
//! ```

use std::sync::Arc;
use std::time::Duration;

use claw_core::InstanceId;

use super::driver::Inner;
use super::inspect;
use super::procfs::ProcessIdentity;
use super::protocol::Gap;
use super::signal;
use super::wire::Request;

/// Between looks at the lock of a shim: nothing tells of its release, and nobody waits for the end
/// of one agent for longer than this.
const LOOK_STEP: Duration = Duration::from_millis(250);

/// What is known of such an instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mute {
    pub(super) main: ProcessIdentity,
    pub(super) gap: Gap,
}

impl Mute {
    /// Why, and what to do about it.
    pub(super) fn reason(&self, instance: &InstanceId) -> String {
        format!("{}; `clawctl restart {}`", self.gap, instance.agent)
    }

    /// Does what a shim would be asked for.
    pub(super) async fn carry_out(
        &self,
        inner: &Arc<Inner>,
        instance: &InstanceId,
        request: Request,
    ) {
        let (inner, main) = (Arc::clone(inner), self.main);
        let name = inspect::group_name(instance);
        let done = tokio::task::spawn_blocking(move || {
            let group = inner.cgroups.every(&name);
            let done = match request {
                Request::Signal(number) => {
                    inspect::signal_verified(main, number);
                    // A stopped process would sleep through what is to end it.
                    inspect::signal_verified(main, signal::CONT);
                    Ok(())
                }
                Request::Kill => {
                    inspect::end_tree(&group, Some(main));
                    Ok(())
                }
                Request::Freeze if group.tree.is_some() => group.freeze(),
                Request::Thaw if group.tree.is_some() => group.thaw(),
                Request::Freeze => {
                    inspect::signal_verified(main, signal::STOP);
                    Ok(())
                }
                Request::Thaw => {
                    inspect::signal_verified(main, signal::CONT);
                    Ok(())
                }
                Request::Learned => Ok(()),
            };
            if let Err(error) = done {
                tracing::warn!(group = name, %error, "a cgroup did not do as it was told");
            }
        });
        // The runtime is ending when this fails; the next supervisor is asked again.
        done.await.ok();
    }
}

/// Waits until no shim holds the lock of an instance.
pub(super) async fn release(inner: &Arc<Inner>, instance: &InstanceId) {
    loop {
        tokio::time::sleep(LOOK_STEP).await;
        let (inner, instance) = (Arc::clone(inner), instance.clone());
        let looking = tokio::task::spawn_blocking(move || inspect::is_released(&inner, &instance));
        if looking.await.unwrap_or(false) {
            return;
        }
    }
}

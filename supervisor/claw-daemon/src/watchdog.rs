//! The service manager's watchdog: it starts another supervisor where this one hangs.

use sd_notify::NotifyState;

use crate::supervise::Handle;

/// Tells the service manager, if it wants to know, that the loop answers, twice in the time after
/// which it would take the supervisor for stuck.
pub(crate) fn start(handle: Handle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(limit / 2);
        loop {
            pace.tick().await;
            // The loop is gone when the supervisor ends, which takes no longer than the manager allows.
            if handle.inspect(|_fleet, _now| ()).await.is_err() {
                return;
            }
            if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
                tracing::warn!(%error, "cannot tell the service manager that all is well");
            }
        }
    });
}

//! What the store wants from its host from time to time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::api::AgentApi;

/// How often versions of state that need not be kept are removed.
const PRUNING: Duration = Duration::from_secs(3600);

impl AgentApi {
    /// Prunes the store now and every hour, until the sockets are closed.
    pub(crate) fn maintain(&self) {
        let (store, closing) = (self.shared.store.clone(), self.shared.closing.clone());
        self.shared.tasks.spawn(async move {
            let mut hours = interval(PRUNING);
            hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = closing.cancelled() => return,
                    _ = hours.tick() => {}
                }
                match store.prune().await {
                    Ok(pruned) => tracing::debug!(?pruned, "the store was pruned"),
                    Err(error) => tracing::warn!(%error, "the store was not pruned"),
                }
            }
        });
    }
}

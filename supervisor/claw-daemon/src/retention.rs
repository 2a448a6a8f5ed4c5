//! Old logs go, also those of agents that print nothing any more.

use std::sync::Arc;
use std::time::Duration;

use claw_drivers::process::ProcessDriver;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Loaded;
use crate::reload::Reloader;

/// Retention is written in days; a segment may outlive it by this much.
const EVERY: Duration = Duration::from_secs(3600);

/// Expires logs now and from time to time, by the configuration in force then.
pub(crate) fn start(driver: Arc<ProcessDriver>, reloader: Reloader) {
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (driver, loaded) = (Arc::clone(&driver), reloader.current());
            if let Err(error) = spawn_blocking(move || expire(&driver, &loaded)).await {
                tracing::error!(%error, "old logs are not deleted, by a bug");
            }
        }
    });
}

fn expire(driver: &ProcessDriver, loaded: &Loaded) {
    for (name, agent) in &loaded.fleet.agents {
        if let Err(error) = driver.expire_log(name, agent.logging.retention) {
            tracing::warn!(agent = %name, %error, "old logs are not deleted");
        }
    }
}

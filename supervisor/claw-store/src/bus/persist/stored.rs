//! The configuration of a group as a column.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::bus::group::{Batch, Bound, GroupConfig, Ordering, RetryPolicy, Subscription};
use crate::bus::slot::Sharding;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    subscriptions: Vec<Subscription>,
    ordering: Ordering,
    sharding: Sharding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    retry: RetryPolicy,
    lease: Duration,
    concurrency: u32,
    bound: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    debounce: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<Batch>,
}

pub(crate) fn write_config(config: &GroupConfig) -> Result<String, serde_json::Error> {
    let config = config.clone();
    serde_json::to_string(&Stored {
        subscriptions: config.subscriptions,
        ordering: config.ordering,
        sharding: config.sharding,
        key: config.key,
        retry: config.retry,
        lease: config.lease,
        concurrency: config.concurrency,
        bound: config.bound,
        debounce: config.debounce,
        batch: config.batch,
    })
}

pub(crate) fn read_config(text: &str) -> Option<GroupConfig> {
    let stored: Stored = serde_json::from_str(text).ok()?;
    Some(GroupConfig {
        subscriptions: stored.subscriptions,
        ordering: stored.ordering,
        sharding: stored.sharding,
        key: stored.key,
        retry: stored.retry,
        lease: stored.lease,
        concurrency: stored.concurrency,
        bound: stored.bound,
        debounce: stored.debounce,
        batch: stored.batch,
    })
}

//! How many events a source may publish in a minute: a bucket that fills evenly.

use std::collections::HashMap;
use std::time::Duration;

use crate::store::UnixMs;

const MINUTE_MS: u64 = 60_000;

/// The buckets of all sources that have a rate.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, Bucket>);

#[derive(Debug)]
struct Bucket {
    per_minute: u64,
    /// In parts of an event: this many make one.
    parts: u64,
    filled: UnixMs,
}

impl Rates {
    pub(super) fn set(&mut self, source: String, per_minute: Option<u32>, now: UnixMs) {
        match per_minute {
            None => {
                self.0.remove(&source);
            }
            Some(per_minute) => {
                let per_minute = u64::from(per_minute);
                let bucket = self.0.entry(source).or_insert(Bucket {
                    per_minute,
                    parts: per_minute * MINUTE_MS,
                    filled: now,
                });
                bucket.per_minute = per_minute;
            }
        }
    }

    /// When so many events of a source would be allowed, if not now.
    pub(super) fn refuses(&mut self, source: &str, events: u64, now: UnixMs) -> Option<Duration> {
        let bucket = self.0.get_mut(source)?;
        bucket.fill(now);
        let missing = (events * MINUTE_MS).checked_sub(bucket.parts)?;
        if missing == 0 {
            return None;
        }
        let wait = missing.div_ceil(bucket.per_minute.max(1));
        Some(Duration::from_millis(wait))
    }

    pub(super) fn take(&mut self, source: &str, events: u64) {
        if let Some(bucket) = self.0.get_mut(source) {
            bucket.parts = bucket.parts.saturating_sub(events * MINUTE_MS);
        }
    }
}

impl Bucket {
    fn fill(&mut self, now: UnixMs) {
        let since = u64::try_from(now.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        let more = since.saturating_mul(self.per_minute);
        self.parts = (self.parts.saturating_add(more)).min(self.per_minute * MINUTE_MS);
        self.filled = now;
    }
}

//! How many events a source may publish in a minute: a bucket that fills evenly.

use std::collections::HashMap;
use std::time::Duration;

use crate::store::UnixMs;

const MINUTE_MS: i64 = 60_000;

/// The buckets of all sources that have a rate.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<String, Bucket>);

#[derive(Debug)]
struct Bucket {
    per_minute: i64,
    /// In parts of an event, of which [`MINUTE_MS`] make one; below 0 after a batch that was
    /// larger than what the bucket holds.
    parts: i64,
    filled: UnixMs,
}

impl Rates {
    pub(super) fn set(&mut self, source: String, per_minute: Option<u32>, now: UnixMs) {
        match per_minute {
            None => {
                self.0.remove(&source);
            }
            Some(per_minute) => {
                let per_minute = i64::from(per_minute);
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
        // A batch that no bucket would hold goes when it is full, and the next one waits for it.
        let needed = parts(events).min(bucket.full());
        let missing = u64::try_from(needed - bucket.parts).ok()?;
        if missing == 0 {
            return None;
        }
        let wait = missing.div_ceil(bucket.per_minute.unsigned_abs().max(1));
        Some(Duration::from_millis(wait))
    }

    pub(super) fn take(&mut self, source: &str, events: u64) {
        if let Some(bucket) = self.0.get_mut(source) {
            bucket.parts = bucket.parts.saturating_sub(parts(events));
        }
    }
}

fn parts(events: u64) -> i64 {
    let events = i64::try_from(events).unwrap_or(i64::MAX);
    events.saturating_mul(MINUTE_MS)
}

impl Bucket {
    const fn full(&self) -> i64 {
        self.per_minute * MINUTE_MS
    }

    fn fill(&mut self, now: UnixMs) {
        let since = i64::try_from(now.since(self.filled).as_millis()).unwrap_or(i64::MAX);
        let more = since.saturating_mul(self.per_minute);
        self.parts = self.parts.saturating_add(more).min(self.full());
        self.filled = now;
    }
}

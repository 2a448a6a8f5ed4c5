//! What the journal tells about itself, and whether it can still promise anything.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Buckets of a [`Latency`]: powers of two of microseconds, up to 67 seconds.
const BUCKETS: usize = 27;

/// A snapshot for metrics and `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries that wait or are being written.
    pub depth: usize,
    /// Entries written.
    pub written: u64,
    /// Transactions they took.
    pub commits: u64,
    /// Entries answered as failed.
    pub failed: u64,
    /// Outcomes dropped because their instance had one.
    pub duplicate_outcomes: u64,
    /// Entries dropped because the queue was beyond its last bound. Never, on a healthy machine.
    pub dropped: u64,
    /// Pages in the write-ahead log, about.
    pub wal_pages: u64,
    /// Why records that must survive a power cut are refused, if they are.
    pub degraded: Option<String>,
    /// Why nothing can be written at the moment: a full disk, a foreign lock.
    pub blocked: Option<String>,
    /// From `append` to the answer, for what must survive our death.
    pub our_death: Latency,
    /// From `append` to the answer, for what must survive a power cut.
    pub power_cut: Latency,
    /// Syncs of the disk.
    pub sync: Latency,
}

/// A histogram of times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
    /// How many took less than 2^n microseconds and not less than half of it, for each n.
    pub buckets: [u64; BUCKETS],
}

impl Latency {
    /// A bound that the given share (0 to 1) of the times was below; zero without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut seen = 0;
        for (power, count) in (0_u32..).zip(self.buckets) {
            seen += count;
            // Counts far below 2^52: exact as floats.
            if count > 0 && seen as f64 >= share * self.count as f64 {
                return Duration::from_micros(1 << power);
            }
        }
        Duration::ZERO
    }
}

/// The counters behind [`Stats`], written by the writer and the sync thread.
#[derive(Default)]
pub(super) struct Meters {
    pub(super) written: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) duplicate_outcomes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) wal_pages: AtomicU64,
    pub(super) our_death: Meter,
    pub(super) power_cut: Meter,
    pub(super) sync: Meter,
    unsafe_disk: AtomicBool,
    degraded: Mutex<Option<String>>,
    blocked: Mutex<Option<String>>,
}

#[derive(Default)]
pub(super) struct Meter {
    count: AtomicU64,
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Meter {
    pub(super) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let power = (u64::BITS - micros.leading_zeros()) as usize;
        self.count.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(micros, Relaxed);
        self.buckets[power.min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    fn read(&self) -> Latency {
        let mut buckets = [0; BUCKETS];
        for (to, from) in buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Relaxed);
        }
        Latency {
            count: self.count.load(Relaxed),
            sum: Duration::from_micros(self.sum_us.load(Relaxed)),
            buckets,
        }
    }
}

impl Meters {
    /// Nothing that is written from now on can be promised to survive a power cut.
    pub(super) fn degrade(&self, reason: String) {
        let mut degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        if degraded.is_none() {
            tracing::error!(reason, "the journal cannot promise durability any more");
            *degraded = Some(reason);
        }
        self.unsafe_disk.store(true, Relaxed);
    }

    /// What was written is safe from a power cut after all.
    pub(super) fn mended(&self) {
        let mut degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        *degraded = None;
        self.unsafe_disk.store(false, Relaxed);
        tracing::warn!("the journal was written anew, and promises durability again");
    }

    pub(super) fn degraded(&self) -> Option<String> {
        if !self.unsafe_disk.load(Relaxed) {
            return None;
        }
        let degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        degraded.clone()
    }

    /// An entry that nobody waits for was lost: history has a gap from here on.
    pub(super) fn count_dropped(&self) {
        if self.dropped.fetch_add(1, Relaxed) == 0 {
            tracing::error!("the journal's queue is beyond its last bound, entries are dropped");
        }
    }

    /// Says why nothing can be written at the moment, or that something can again.
    pub(super) fn set_blocked(&self, reason: Option<String>) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*blocked, &reason) {
            (None, Some(reason)) => tracing::warn!(reason, "the journal cannot write"),
            (Some(_), None) => tracing::info!("the journal writes again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *blocked = reason;
    }

    pub(super) fn read(&self, depth: usize) -> Stats {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            depth,
            written: self.written.load(Relaxed),
            commits: self.commits.load(Relaxed),
            failed: self.failed.load(Relaxed),
            duplicate_outcomes: self.duplicate_outcomes.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            wal_pages: self.wal_pages.load(Relaxed),
            degraded: self.degraded(),
            blocked: blocked.clone(),
            our_death: self.our_death.read(),
            power_cut: self.power_cut.read(),
            sync: self.sync.read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_bounds_within_a_factor_of_two() {
        let meter = Meter::default();
        for micros in [3_u64, 3, 3, 900] {
            meter.record(Duration::from_micros(micros));
        }
        let latency = meter.read();
        assert_eq!(latency.quantile(0.5), Duration::from_micros(4));
        assert_eq!(latency.quantile(1.0), Duration::from_micros(1024));
        assert_eq!(Latency::default().quantile(0.5), Duration::ZERO);
    }
}

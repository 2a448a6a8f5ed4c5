//! `delivery`: in what order and how often an agent gets its events.

use std::num::NonZeroU32;
use std::time::Duration;

use claw_core::spec::Mode;
use claw_store::bus::{Batch, Bound, Ordering, Overflow, RetryPolicy};

use super::diagnostic::Code;
use super::item::Fields;
use super::keys_events::{BATCH, DELIVERY, LARGEST_BATCH};
use super::reader::Reader;
use crate::agent_api::LEASE;

/// The supervisor renews leases, and one renewal may come late.
const SHORTEST_LEASE: Duration = Duration::from_secs(30);
/// An event of a supervisor that died waits no longer than this for another one.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// In what order and how often an agent gets its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whether events of one name and key wait for each other.
    pub ordering: Ordering,
    /// When and how often a failed event is tried again.
    pub retry: RetryPolicy,
    /// How long an event is held without a sign of life of the supervisor.
    pub lease: Duration,
    /// How many events may wait, and what happens with more.
    pub bound: Option<Bound>,
    /// How long it is quiet after an event before that is delivered.
    pub debounce: Option<Duration>,
    /// How events are collected.
    pub batch: Option<Batch>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            ordering: Ordering::None,
            retry: RetryPolicy::default(),
            lease: LEASE,
            bound: None,
            debounce: None,
            batch: None,
        }
    }
}

impl Reader<'_> {
    /// Reads how events are delivered, and how much an agent does at a time.
    pub(super) fn delivery(&mut self, fields: &Fields<'_>, mode: Mode) -> (Delivery, NonZeroU32) {
        let nothing = (Delivery::default(), NonZeroU32::MIN);
        let Some(fields) = self.inner(fields, "delivery", &DELIVERY) else {
            return nothing;
        };
        if mode != Mode::Worker {
            return nothing;
        }
        let ordering = fields.get("ordering").and_then(|item| {
            self.choice(&item, &[("none", Ordering::None), ("key", Ordering::Key)])
        });
        let concurrency = self.number(&fields, "concurrency", 64);
        let concurrency =
            concurrency.and_then(|number| NonZeroU32::new(u32::try_from(number).ok()?));
        let debounce = fields.get("debounce");
        let delivery = Delivery {
            ordering: ordering.unwrap_or_default(),
            retry: self.retry(&fields),
            lease: self.lease(&fields),
            bound: self.bound(&fields),
            debounce: debounce.and_then(|item| self.some_time(&item)),
            batch: self.batch(&fields),
        };
        (delivery, concurrency.unwrap_or(NonZeroU32::MIN))
    }

    fn number(&mut self, fields: &Fields<'_>, key: &str, most: u64) -> Option<u64> {
        let item = fields.get(key)?;
        self.whole(&item, (1, most))
    }

    fn retry(&mut self, fields: &Fields<'_>) -> RetryPolicy {
        let usual = RetryPolicy::default();
        let attempts = self.number(fields, "max_attempts", 100);
        let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok());
        let first = fields.get("initial_delay");
        let base = first.as_ref().and_then(|item| self.some_time(item));
        let base = base.unwrap_or(usual.base);
        let last = fields.get("max_delay");
        let max = last.as_ref().and_then(|item| self.some_time(item));
        let max = max.unwrap_or_else(|| usual.max.max(base));
        if let Some(item) = last.filter(|_| max < base) {
            let message = "`max_delay` is shorter than `initial_delay`";
            self.error(&item, Code::Conflict, message, "make it at least as long");
        }
        RetryPolicy {
            max_attempts: attempts.unwrap_or(usual.max_attempts),
            base,
            max,
            jitter_percent: usual.jitter_percent,
        }
    }

    fn lease(&mut self, fields: &Fields<'_>) -> Duration {
        let Some(item) = fields.get("lease") else {
            return LEASE;
        };
        let lease = self.duration(&item).unwrap_or(LEASE);
        if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease) {
            let message = "`lease` is from 30s to 24h";
            let help = "it ends at once when the process of an agent does; only the death of a supervisor is waited for";
            self.error(&item, Code::InvalidValue, message, help);
        }
        lease
    }

    fn batch(&mut self, fields: &Fields<'_>) -> Option<Batch> {
        let fields = self.inner(fields, "batch", &BATCH)?;
        let size = self.number(&fields, "size", LARGEST_BATCH);
        let wait = fields.get("wait");
        let wait = wait.and_then(|item| self.some_time(&item));
        for key in ["size", "wait"] {
            if fields.get(key).is_none() {
                let message = format!("a batch needs `{key}`");
                let help = "write `batch: {size: 50, wait: 2s}`: as many as that, or what there is after that time";
                self.key_error(&fields.item, Code::MissingKey, &message, help);
            }
        }
        Some(Batch {
            size: u32::try_from(size?).ok()?,
            wait: wait?,
        })
    }

    fn bound(&mut self, fields: &Fields<'_>) -> Option<Bound> {
        let words = [
            ("reject", Overflow::Reject),
            ("drop_oldest", Overflow::DropOldest),
        ];
        let full = fields.get("on_full");
        let policy = full.as_ref().and_then(|item| self.choice(item, &words));
        let max_pending = self.number(fields, "max_pending", 1_000_000_000);
        if let (Some(item), None) = (full, fields.get("max_pending")) {
            let message = "`on_full` is about `max_pending`, and there is none";
            self.key_error(
                &item,
                Code::Conflict,
                message,
                "add `max_pending`, or remove it",
            );
        }
        Some(Bound {
            max_pending: max_pending?,
            policy: policy.unwrap_or(Overflow::Reject),
        })
    }
}

//! The journal's own histogram, passed on as it is.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// How the journal's writer does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JournalLoad {
    /// Entries that wait to be written.
    pub waiting: u64,
    /// How long entries took until they were as durable as they must be.
    pub latency: Vec<JournalLatency>,
}

/// How long entries of one class took.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalLatency {
    /// The class: `our_death` or `power_cut`.
    pub class: &'static str,
    /// How many.
    pub count: u64,
    /// All their times together, in seconds.
    pub sum_seconds: f64,
    /// Upper bounds in seconds, the last infinite, each with how many lie above the one before.
    pub buckets: Vec<(f64, u64)>,
}

/// The last load that was told; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct JournalCollector(Arc<Mutex<Option<JournalLoad>>>);

impl JournalCollector {
    pub(super) fn set(&self, load: Option<JournalLoad>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = load;
    }
}

impl Collector for JournalCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(load) = load.as_ref() else {
            return Ok(());
        };
        let help = "Entries that wait for the journal.";
        encoder
            .encode_descriptor("journal_waiting", help, None, MetricType::Gauge)?
            .encode_gauge(&i64::try_from(load.waiting).unwrap_or(i64::MAX))?;
        let help = "From an entry to its durability, by class of durability.";
        let unit = Unit::Seconds;
        let mut histogram = encoder.encode_descriptor(
            "journal_latency",
            help,
            Some(&unit),
            MetricType::Histogram,
        )?;
        for latency in &load.latency {
            let class = [("class", latency.class)];
            histogram
                .encode_family(&class)?
                .encode_histogram::<[(&str, &str); 0]>(
                    latency.sum_seconds,
                    latency.count,
                    &latency.buckets,
                    None,
                )?;
        }
        Ok(())
    }
}

//! What live instances use, measured at most once a second however many ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::InstanceId;
use claw_drivers::driver::Usage;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::limits;
use super::ports::Port;
use crate::api::ResourceUse;

/// Measures, and remembers the last two measurements; clones share them.
#[derive(Clone)]
pub(super) struct Meter {
    usage: Port<(), BTreeMap<InstanceId, Usage>>,
    last: Arc<Mutex<Option<Measured>>>,
}

/// One measurement.
#[derive(Clone)]
pub(super) struct Measured {
    at: Instant,
    by_instance: Arc<BTreeMap<InstanceId, Usage>>,
    before: Option<(Duration, Arc<BTreeMap<InstanceId, Usage>>)>,
}

impl Meter {
    pub(super) fn new(usage: Port<(), BTreeMap<InstanceId, Usage>>) -> Self {
        Self {
            usage,
            last: Arc::default(),
        }
    }

    /// The present use; those who ask while it is measured share the answer.
    pub(super) async fn read(&self) -> Measured {
        let mut last = self.last.lock().await;
        let fresh = last
            .as_ref()
            .filter(|one| one.at.elapsed() < limits::USAGE_AGE);
        if let Some(measured) = fresh {
            return measured.clone();
        }
        let by_instance = Arc::new(self.usage.call(()).await);
        let at = Instant::now();
        let before = last.take().map(|one| (at - one.at, one.by_instance));
        let measured = Measured {
            at,
            by_instance,
            before,
        };
        *last = Some(measured.clone());
        measured
    }
}

impl Measured {
    /// Every live instance with what it uses.
    pub(super) fn by_instance(&self) -> &BTreeMap<InstanceId, Usage> {
        &self.by_instance
    }

    /// The use of all live instances of an agent; `None` when none was measured.
    pub(super) fn of(&self, agent: &claw_core::AgentName) -> Option<ResourceUse> {
        let own = || self.by_instance.range(InstanceId::all_of(agent));
        own().next()?;
        let cpu_us: u64 = own().map(|(_, usage)| usage.cpu_us).sum();
        Some(ResourceUse {
            cpu_seconds: Duration::from_micros(cpu_us).as_secs_f64(),
            cpu_cores: self.cores(own()),
            memory_bytes: own().map(|(_, usage)| usage.memory).sum(),
            pids: own().map(|(_, usage)| usage.pids).sum(),
            oom_kills: own().map(|(_, usage)| usage.oom_kills).sum(),
        })
    }

    fn cores<'a>(&self, own: impl Iterator<Item = (&'a InstanceId, &'a Usage)>) -> Option<f64> {
        let (span, before) = self.before.as_ref()?;
        let used_us: u64 = own
            .map(|(instance, usage)| {
                let earlier = before.get(instance).map_or(0, |usage| usage.cpu_us);
                usage.cpu_us.saturating_sub(earlier)
            })
            .sum();
        let cores = Duration::from_micros(used_us).as_secs_f64() / span.as_secs_f64();
        Some((cores * 1000.0).round() / 1000.0)
    }
}

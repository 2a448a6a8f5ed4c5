//! What an agent's program says of itself in hello: its schedule and its subscriptions. Kept, so
//! that nothing is missed between the start of a supervisor and the agent's next hello.

use std::time::Duration;

use claw_core::spec::Schedule;
use claw_core::{AgentSpec, Generation};
use claw_store::bus::{Seq, Subscription, TopicFilter};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::config::{self, DeclaredTiming};

/// Subscriptions of one program.
const SUBSCRIPTIONS: usize = 64;

/// The shortest time between two scheduled runs.
const SHORTEST_MS: u64 = 1000;

/// What a program declared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Declared {
    #[serde(default)]
    pub(super) schedule: Option<DeclaredSchedule>,
    #[serde(default)]
    pub(super) subscriptions: Vec<DeclaredSubscription>,
    /// The last life of it that has said hello.
    #[serde(default)]
    pub(super) greeted: Option<Generation>,
    /// The first event that it is owed, until it has said for the first time which ones it takes:
    /// the supervisor that hears it may be another one than that which made its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) joined: Option<Seq>,
}

/// A schedule as it stands in hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeclaredSchedule {
    #[serde(default)]
    every_ms: Option<u64>,
    #[serde(default)]
    cron: Option<String>,
    #[serde(default)]
    daily: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    run_on_start: Option<bool>,
}

/// A subscription as it stands in hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeclaredSubscription {
    pub(super) event: String,
    #[serde(default)]
    pub(super) from: Option<String>,
}

impl Declared {
    /// Checks what a program said.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.filters()?;
        if let Some(schedule) = &self.schedule {
            schedule.resolve()?;
        }
        Ok(())
    }

    /// Its subscriptions, as the bus has them.
    pub(super) fn filters(&self) -> Result<Vec<Subscription>, Fault> {
        if self.subscriptions.len() > SUBSCRIPTIONS {
            let message = format!("an agent has at most {SUBSCRIPTIONS} subscriptions");
            return Err(Fault::bad("too_many", message));
        }
        let filter = |one: &DeclaredSubscription| {
            let topic = TopicFilter::try_new(&super::topics::inside(&one.event))
                .map_err(|error| Fault::bad("bad_name", error.to_string()))?;
            Ok(Subscription {
                from: one.from.iter().cloned().collect(),
                ..Subscription::to(topic)
            })
        };
        self.subscriptions.iter().map(filter).collect()
    }

    /// Puts the schedule into the spec of an agent whose file names none.
    pub(super) fn schedule(&self, spec: &mut AgentSpec) {
        let resolved = self.schedule.as_ref().map(DeclaredSchedule::resolve);
        // One that an older supervisor took and this one does not is as good as none.
        spec.schedule = resolved.and_then(Result::ok);
    }
}

impl DeclaredSchedule {
    fn resolve(&self) -> Result<Schedule, Fault> {
        let bad = |message: String| Fault::bad("bad_schedule", message);
        let timing = match (self.every_ms, &self.cron, &self.daily) {
            (Some(ms), None, None) if ms >= SHORTEST_MS => {
                DeclaredTiming::Every(Duration::from_millis(ms))
            }
            (Some(_), None, None) => {
                return Err(bad(format!("`every_ms` is at least {SHORTEST_MS}")));
            }
            (None, Some(cron), None) => DeclaredTiming::Cron(cron),
            (None, None, Some(daily)) => DeclaredTiming::Daily(daily),
            (_, _, _) => {
                let message = "a schedule has exactly one of `every_ms`, `cron` and `daily`";
                return Err(bad(message.to_owned()));
            }
        };
        config::declared_schedule(timing, self.timezone.as_deref(), self.run_on_start).map_err(bad)
    }
}

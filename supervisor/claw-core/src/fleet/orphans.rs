//! Live instances of agents that are no longer configured: they left the fleet file while no
//! supervisor ran. They are stopped; nothing is ever started for them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::Report;
use crate::clock::Mono;
use crate::deadline::{Deadline, Why};
use crate::death::{Cause, ExitReport};
use crate::id::InstanceId;
use crate::order::Order;
use crate::record::Record;

use super::turn::Turn;

/// The grace of an agent whose own is not known any more: the default of the fleet file.
const GRACE: Duration = Duration::from_secs(30);

/// SIGTERM.
const SIGTERM: i32 = 15;

/// A kill that is not answered is repeated after this long.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// Instances that are on their way down, with the time of the next kill.
#[derive(Debug, Default)]
pub(super) struct Orphans(BTreeMap<InstanceId, Mono>);

impl Orphans {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins to stop one.
    pub(super) fn stop(&mut self, turn: &mut Turn, instance: InstanceId) {
        turn.order(Order::Signal {
            instance: instance.clone(),
            signal: SIGTERM,
        });
        self.0.insert(instance, turn.now.mono + GRACE);
    }

    /// Ends all at once.
    pub(super) fn kill_all(&mut self, turn: &mut Turn) {
        for (instance, at) in &mut self.0 {
            *at = turn.now.mono + KILL_AGAIN;
            turn.order(Order::Kill {
                instance: instance.clone(),
            });
        }
    }

    pub(super) fn tick(&mut self, turn: &mut Turn) {
        let now = turn.now.mono;
        for (instance, at) in self.0.iter_mut().filter(|(_, at)| **at <= now) {
            *at = now + KILL_AGAIN;
            turn.order(Order::Kill {
                instance: instance.clone(),
            });
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.0.values().min().map(|at| (*at, Why::Grace))
    }

    pub(super) fn shift(&mut self, gap: Duration) {
        for at in self.0.values_mut() {
            *at = *at + gap;
        }
    }

    /// Whether it is one of them.
    pub(super) fn owns(&self, instance: &InstanceId) -> bool {
        self.0.contains_key(instance)
    }

    /// A driver has reported of one of them.
    pub(super) fn report(&mut self, turn: &mut Turn, instance: &InstanceId, report: &Report) {
        let (cause, report) = match report {
            Report::Gone(report) => (Cause::Reconfigured, Some(report.clone())),
            Report::Lost | Report::SpawnFailed(_) => (Cause::Lost, None),
            Report::Started { .. }
            | Report::MainExited(_)
            | Report::Probed(..)
            | Report::Notified(_)
            | Report::Progressed
            | Report::HookDone(..) => return,
        };
        self.0.remove(instance);
        bury(turn, instance, cause, report);
    }
}

/// Writes the outcome of an instance that nobody supervises.
pub(super) fn bury(
    turn: &mut Turn,
    instance: &InstanceId,
    cause: Cause,
    report: Option<ExitReport>,
) {
    turn.record(Record::Outcome {
        instance: instance.clone(),
        cause,
        failed: false,
        report: report.map(Box::new),
        at: turn.now.wall,
    });
    turn.order(Order::Release {
        instance: instance.clone(),
    });
}

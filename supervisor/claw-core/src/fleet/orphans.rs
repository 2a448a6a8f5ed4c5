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
use crate::record::{Record, RecordId};

use super::Fleet;
use super::turn::Turn;

/// The grace of an agent whose own is not known any more: the default of the fleet file.
const GRACE: Duration = Duration::from_secs(30);

/// SIGTERM.
const SIGTERM: i32 = 15;

/// A kill that is not answered is repeated after this long.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// Instances that belong to no agent.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// On their way down, with the time of the next kill.
    live: BTreeMap<InstanceId, Mono>,
    /// Gone, and their outcome is not yet recorded.
    buried: BTreeMap<RecordId, InstanceId>,
}

impl Orphans {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Begins to stop one.
    pub(super) fn stop(&mut self, turn: &mut Turn, instance: InstanceId) {
        turn.order(Order::Signal {
            instance: instance.clone(),
            signal: SIGTERM,
        });
        self.live.insert(instance, turn.now.mono + GRACE);
    }

    /// Ends all at once.
    pub(super) fn kill_all(&mut self, turn: &mut Turn) {
        for (instance, at) in &mut self.live {
            *at = turn.now.mono + KILL_AGAIN;
            turn.order(Order::Kill {
                instance: instance.clone(),
            });
        }
    }

    pub(super) fn tick(&mut self, turn: &mut Turn) {
        let now = turn.now.mono;
        for (instance, at) in self.live.iter_mut().filter(|(_, at)| **at <= now) {
            *at = now + KILL_AGAIN;
            turn.order(Order::Kill {
                instance: instance.clone(),
            });
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.live.values().min().map(|at| (*at, Why::Grace))
    }

    pub(super) fn shift(&mut self, gap: Duration) {
        for at in self.live.values_mut() {
            *at = *at + gap;
        }
    }

    /// Whether it is one of them.
    pub(super) fn owns(&self, instance: &InstanceId) -> bool {
        self.live.contains_key(instance)
    }

    /// A driver has reported of one of them. Returns its end, if it was that.
    pub(super) fn report(
        &mut self,
        instance: &InstanceId,
        report: &Report,
    ) -> Option<(Cause, Option<ExitReport>)> {
        let end = match report {
            Report::Gone(report) => (Cause::Reconfigured, Some(report.clone())),
            Report::Lost | Report::SpawnFailed(_) => (Cause::Lost, None),
            Report::Started { .. }
            | Report::MainExited(_)
            | Report::Probed(..)
            | Report::Notified(_)
            | Report::Progressed
            | Report::HookDone(..) => return None,
        };
        self.live.remove(instance);
        Some(end)
    }

    /// The journal has answered. Says whether the record was one of these.
    pub(super) fn recorded(
        &mut self,
        turn: &mut Turn,
        id: RecordId,
        result: &Result<(), String>,
    ) -> bool {
        let Some(instance) = self.buried.remove(&id) else {
            return false;
        };
        // One that could not be written down is left for the next supervisor to find.
        if result.is_ok() {
            turn.order(Order::Release { instance });
        }
        true
    }
}

impl Fleet {
    /// Writes the outcome of an instance that belongs to no agent.
    pub(super) fn bury(
        &mut self,
        turn: &mut Turn,
        instance: InstanceId,
        cause: Cause,
        report: Option<ExitReport>,
    ) {
        let record = Record::Outcome {
            instance: instance.clone(),
            cause,
            failed: false,
            report: report.map(Box::new),
            at: turn.now.wall,
        };
        let mut cx = turn.context(&mut self.source);
        let id = cx.record_for(&instance.agent, record);
        self.orphans.buried.insert(id, instance);
    }
}

//! What a journal keeps of a ledger: reservations at once, settlements a little later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use claw_gateway::llm::budget::{
    Alert, CallId, InFlight, Settled, Standing, Told, UncertainCall, Window, WindowStanding,
};
use claw_gateway::llm::money::Money;
use jiff::civil::Date;

#[derive(Default)]
pub(crate) struct Journal {
    windows: BTreeMap<Window, (Money, Money, Told)>,
    calls: BTreeMap<CallId, InFlight>,
    uncertain: BTreeMap<CallId, UncertainCall>,
    last_id: CallId,
    kept_since: Option<Date>,
    /// Not written yet.
    waiting: VecDeque<(CallId, Settled)>,
}

impl Journal {
    /// Writes a reservation, and what waits before it.
    pub(crate) fn reserve(&mut self, call: InFlight) {
        self.write(usize::MAX);
        self.last_id = call.id;
        self.calls.insert(call.id, call);
    }

    pub(crate) fn settle(&mut self, id: CallId, settled: Settled) {
        self.waiting.push_back((id, settled));
    }

    /// Writes so many of the settlements that wait.
    pub(crate) fn write(&mut self, count: usize) {
        for _ in 0..count {
            let Some((id, settled)) = self.waiting.pop_front() else {
                return;
            };
            self.calls.remove(&id).expect("each call is settled once");
            for window in &settled.windows {
                let row = self.windows.entry(window.clone()).or_default();
                row.0 = row.0.plus(settled.spent);
                row.1 = row.1.plus(settled.uncertain);
            }
            for alert in &settled.alerts {
                let row = self.windows.entry(alert.window.clone()).or_default();
                row.2 = row.2.max(alert.told);
            }
            if settled.uncertain > Money::ZERO {
                let call = UncertainCall {
                    id,
                    windows: settled.windows.to_vec(),
                    estimate: settled.spent,
                    uncertain: settled.uncertain,
                };
                self.uncertain.insert(id, call);
            }
        }
    }

    /// Notes alerts that came with no settlement.
    pub(crate) fn tell(&mut self, alerts: &[Alert]) {
        self.write(usize::MAX);
        for alert in alerts {
            let row = self.windows.entry(alert.window.clone()).or_default();
            row.2 = row.2.max(alert.told);
        }
    }

    pub(crate) fn reconcile(&mut self, id: CallId, actual: Money) {
        self.write(usize::MAX);
        let call = self.uncertain.remove(&id).expect("it is uncertain");
        for window in &call.windows {
            if let Some(row) = self.windows.get_mut(window) {
                row.0 = row.0.minus(call.estimate).plus(actual);
                row.1 = row.1.minus(call.uncertain);
            }
        }
    }

    pub(crate) fn forget_before(&mut self, day: Date) {
        self.write(usize::MAX);
        self.kept_since = self.kept_since.max(Some(day));
        let in_flight = self.calls.values();
        let held: BTreeSet<Window> = in_flight
            .flat_map(|call| Window::of(&call.agent, call.day))
            .collect();
        self.windows
            .retain(|window, _| window.start >= window.period.first(day) || held.contains(window));
        for call in self.uncertain.values_mut() {
            let windows = &self.windows;
            call.windows.retain(|window| windows.contains_key(window));
        }
    }

    /// What is found after a crash: what waited is lost.
    pub(crate) fn after_a_crash(&mut self) -> Standing {
        self.waiting.clear();
        let windows = self.windows.iter().map(|(window, row)| WindowStanding {
            window: window.clone(),
            settled: row.0,
            uncertain: row.1,
            told: row.2,
        });
        let uncertain = self.uncertain.values();
        Standing {
            windows: windows.collect(),
            in_flight: self.calls.values().cloned().collect(),
            uncertain: uncertain
                .filter(|call| !call.windows.is_empty())
                .cloned()
                .collect(),
            last_id: self.last_id,
            kept_since: self.kept_since,
        }
    }
}

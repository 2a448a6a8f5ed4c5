//! What the money must be, booked a second time and in another way: each call by itself, and each
//! window as a sum of calls.

use std::collections::BTreeMap;

use claw_gateway::llm::budget::Outcome;
use claw_gateway::llm::money::Money;
use jiff::civil::Date;

/// An agent's or, without one, the fleet's day, or its month if there is no day of it.
pub(crate) type Key = (Option<usize>, i16, i8, Option<i8>);

/// Sums over the calls of one window, in pico-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) settled: i64,
    pub(crate) held: i64,
    pub(crate) uncertain: i64,
    /// What the provider has charged, or can still charge for what is in flight.
    pub(crate) exposed: i64,
}

/// The limits in force, in pico-USD: by agent, each day and month, and those of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct ReferenceLimits {
    pub(crate) agents: Vec<[Option<i64>; 2]>,
    pub(crate) fleet: [Option<i64>; 2],
}

#[derive(Default)]
pub(crate) struct Reference {
    sums: BTreeMap<Key, Sums>,
}

/// The windows of a call, each with the index of its limit: a day's or a month's.
pub(crate) fn keys(agent: usize, day: Date) -> [(Key, usize); 4] {
    let (year, month) = (day.year(), day.month());
    [
        ((Some(agent), year, month, Some(day.day())), 0),
        ((Some(agent), year, month, None), 1),
        ((None, year, month, Some(day.day())), 0),
        ((None, year, month, None), 1),
    ]
}

impl ReferenceLimits {
    pub(crate) fn of(&self, key: &Key, period: usize) -> Option<i64> {
        let limits = key.0.map_or(self.fleet, |agent| self.agents[agent]);
        limits[period]
    }
}

impl Reference {
    pub(crate) fn sums(&self, key: &Key) -> Sums {
        self.sums.get(key).copied().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Sums)> {
        self.sums.iter()
    }

    /// Whether a call fits in all its windows.
    pub(crate) fn fits(&self, limits: &ReferenceLimits, call: (usize, Date), need: i64) -> bool {
        need == 0
            || keys(call.0, call.1).iter().all(|(key, period)| {
                let sums = self.sums(key);
                let taken = sums.settled + sums.held + sums.uncertain;
                limits
                    .of(key, *period)
                    .is_none_or(|limit| taken + need <= limit)
            })
    }

    /// Changes the windows that are not forgotten.
    pub(crate) fn change_known(
        &mut self,
        agent: usize,
        day: Date,
        mut change: impl FnMut(&mut Sums),
    ) {
        for (key, _) in keys(agent, day) {
            if let Some(sums) = self.sums.get_mut(&key) {
                change(sums);
            }
        }
    }

    /// Forgets days and months that were over before this day and its month, unless money is held.
    pub(crate) fn forget_before(&mut self, day: Date) {
        let (year, month) = (day.year(), day.month());
        self.sums.retain(|key, sums| {
            let first = (key.1, key.2, key.3.unwrap_or(0));
            let kept = (year, month, key.3.map_or(0, |_| day.day()));
            sums.held > 0 || first >= kept
        });
    }

    pub(crate) fn change(&mut self, agent: usize, day: Date, mut change: impl FnMut(&mut Sums)) {
        for (key, _) in keys(agent, day) {
            change(self.sums.entry(key).or_default());
        }
    }
}

/// What is settled and what uncertain of a call, by the table of settlements.
pub(crate) fn booked(held: i64, outcome: Outcome) -> (i64, i64) {
    match outcome {
        Outcome::Reported(cost) => (cost.pico(), 0),
        Outcome::Unbilled => (0, 0),
        Outcome::Estimated { estimate } | Outcome::Lost { estimate } => {
            let estimate = Money::pico(estimate);
            (estimate, (held - estimate).max(0))
        }
    }
}

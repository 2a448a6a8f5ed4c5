//! How much may be spent.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::super::money::Money;
use super::window::{Period, Scope};

/// At which share of a limit an alert is due unless the configuration says another, in percent.
pub const DEFAULT_ALERT_AT_PCT: u8 = 80;

/// The limits of one scope. What has no limit is counted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// For each day.
    pub daily: Option<Money>,
    /// For each month.
    pub monthly: Option<Money>,
}

/// All budgets of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// Whose calendar days and months follow.
    pub timezone: TimeZone,
    /// For all agents together.
    pub fleet: Limits,
    /// By agent.
    pub agents: BTreeMap<Arc<str>, Limits>,
    /// From which share of a limit on an alert is due, in percent.
    pub alert_at_pct: u8,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            timezone: TimeZone::UTC,
            fleet: Limits::default(),
            agents: BTreeMap::new(),
            alert_at_pct: DEFAULT_ALERT_AT_PCT,
        }
    }
}

impl Limits {
    /// The limit of a window of this length.
    #[must_use]
    pub const fn of(&self, period: Period) -> Option<Money> {
        match period {
            Period::Day => self.daily,
            Period::Month => self.monthly,
        }
    }
}

impl Budgets {
    /// The limit of a window.
    #[must_use]
    pub fn limit(&self, scope: &Scope, period: Period) -> Option<Money> {
        match scope {
            Scope::Fleet => self.fleet.of(period),
            Scope::Agent(name) => self.agents.get(name)?.of(period),
        }
    }
}

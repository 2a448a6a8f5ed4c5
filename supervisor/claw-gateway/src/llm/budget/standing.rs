//! What of a ledger survives a restart.

use std::sync::Arc;

use jiff::civil::Date;

use super::super::money::Money;
use super::account::Told;
use super::call::CallId;
use super::window::Window;

/// What a journal kept of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The windows that still count.
    pub windows: Vec<WindowStanding>,
    /// Calls that were admitted and not settled.
    pub in_flight: Vec<InFlight>,
    /// Calls whose cost is not known, in windows that still count.
    pub uncertain: Vec<UncertainCall>,
    /// The highest id ever given.
    pub last_id: CallId,
    /// What was before this day was forgotten.
    pub kept_since: Option<Date>,
}

/// The settled money of one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowStanding {
    /// Which window.
    pub window: Window,
    /// Spent, as far as is known.
    pub settled: Money,
    /// May have been spent.
    pub uncertain: Money,
    /// Which alerts it has given.
    pub told: Told,
}

/// A call that was not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Its id.
    pub id: CallId,
    /// Whose it is.
    pub agent: Arc<str>,
    /// The day on which it was admitted.
    pub day: Date,
    /// What was held for it.
    pub held: Money,
    /// What it costs at least, if the provider has seen it.
    pub estimate: Money,
}

/// A call whose cost is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncertainCall {
    /// Its id.
    pub id: CallId,
    /// The windows whose uncertain money has a part of it.
    pub windows: Vec<Window>,
    /// What of it is settled.
    pub estimate: Money,
    /// What it may have cost besides.
    pub uncertain: Money,
}

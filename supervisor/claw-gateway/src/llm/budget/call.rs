//! What happens to the money of one call.

use std::fmt;

use jiff::civil::Date;

use super::super::money::Money;
use super::alert::Alert;
use super::window::Window;

/// Which reservation; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CallId(pub u64);

/// Money held for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Which one.
    pub id: CallId,
    /// How much is held.
    pub held: Money,
    /// The day to which the call belongs, in the time zone of the budgets.
    pub day: Date,
    /// The windows in which it counts.
    pub windows: [Window; 4],
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider reported what it used; an explicit nothing is nothing.
    Reported(Money),
    /// The provider refused it or failed before there was an answer, or was not reached.
    Unbilled,
    /// It ended without a report.
    Estimated {
        /// What the text that came would cost.
        estimate: Money,
    },
    /// Nobody saw its end: the agent hung up and it was not read on, or this process died.
    Lost {
        /// What the text that went and came would cost.
        estimate: Money,
    },
}

/// What became of the held money of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Spent, as far as is known.
    pub spent: Money,
    /// May have been spent besides.
    pub uncertain: Money,
    /// How much more was spent than was held.
    pub overrun: Money,
    /// The windows in which it counts.
    pub windows: [Window; 4],
    /// What somebody should be told now.
    pub alerts: Vec<Alert>,
}

/// How a window comes to what was billed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowCorrection {
    /// Which window.
    pub window: Window,
    /// What is added to its settled money; less than nothing if less was billed.
    pub settled: Money,
    /// What is uncertain no longer.
    pub cleared: Money,
    /// The calls whose uncertain money that is: they have no part of the window any more.
    pub calls: Vec<CallId>,
}

/// Why nothing is held under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// It is settled.
    #[error("call {0} is settled already")]
    Settled(CallId),
    /// There was never such a call.
    #[error("no call has the id {0}")]
    Unknown(CallId),
}

/// Why there is nothing to reconcile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUncertain {
    /// The cost of this call is known, or it is forgotten.
    #[error("the cost of call {0} is not uncertain")]
    Call(CallId),
    /// Nothing was spent in this window, or it is forgotten.
    #[error("no money of {} was counted in the window that begins on {}", .0.scope, .0.start)]
    Window(Window),
}

impl Outcome {
    /// How much of what was held is spent and how much uncertain.
    pub(super) fn divide(self, held: Money) -> (Money, Money) {
        match self {
            Self::Reported(cost) => (cost.max(Money::ZERO), Money::ZERO),
            Self::Unbilled => (Money::ZERO, Money::ZERO),
            Self::Estimated { estimate } | Self::Lost { estimate } => {
                let estimate = estimate.max(Money::ZERO);
                (estimate, held.minus(estimate).max(Money::ZERO))
            }
        }
    }
}

impl NotHeld {
    pub(super) fn of(id: CallId, last_id: CallId) -> Self {
        if CallId(0) < id && id <= last_id {
            Self::Settled(id)
        } else {
            Self::Unknown(id)
        }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Why a call is not admitted.

use std::fmt;

use jiff::Timestamp;

use super::super::money::Money;
use super::window::Window;

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitOf {
    /// The configuration of the fleet.
    Fleet,
    /// The request itself, which may only tighten.
    Request,
}

/// A call that may cost more than is left. If several windows refuse it, this is the one that
/// resets last, but for those whose whole limit is too low for it: they are told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which window.
    pub window: Window,
    /// Who set its limit.
    pub limit_of: LimitOf,
    /// The limit.
    pub limit: Money,
    /// Settled so far.
    pub spent: Money,
    /// Held for calls in flight.
    pub held: Money,
    /// May have been spent.
    pub uncertain: Money,
    /// What the call may cost.
    pub needed: Money,
    /// When the window ends.
    pub resets_at: Timestamp,
}

impl Refused {
    /// Whether the call costs more than the whole limit, so that no wait helps.
    #[must_use]
    pub fn never_fits(&self) -> bool {
        self.needed > self.limit
    }

    /// When there is money for the call; `None`: no wait helps.
    #[must_use]
    pub fn fits_at(&self) -> Option<Timestamp> {
        (!self.never_fits()).then_some(self.resets_at)
    }

    /// What is left of the limit.
    #[must_use]
    pub fn left(&self) -> Money {
        let taken = self.spent.plus(self.held).plus(self.uncertain);
        self.limit.minus(taken).max(Money::ZERO)
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { scope, period, .. } = &self.window;
        let set_by = match self.limit_of {
            LimitOf::Fleet => "",
            LimitOf::Request => " that the request sets",
        };
        write!(
            f,
            "this call may cost {} USD, and {} USD are left of the {period} budget of {} USD of \
             {scope}{set_by}: {} spent, {} held for calls in flight, {} uncertain; ",
            self.needed,
            self.left(),
            self.limit,
            self.spent,
            self.held,
            self.uncertain,
        )?;
        if self.never_fits() {
            return f.write_str("raise the budget, or ask for a shorter answer");
        }
        let until = self.resets_at;
        write!(
            f,
            "wait until {until}, ask for a shorter answer, or raise the budget"
        )
    }
}

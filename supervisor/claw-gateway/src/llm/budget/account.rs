//! The money of one window.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::money::Money;
use super::alert;
use super::window::Window;

/// Which alerts a window has given. Later ones include the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Told {
    /// None.
    #[default]
    Nothing,
    /// The share of the limit was spent at which an alert is due.
    Nearing,
    /// The limit was reached.
    Reached,
}

/// What has become of the money of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    settled: Money,
    uncertain: Money,
    /// Wider than one amount: a sum that saturated could not be released again.
    held: i128,
    told: Told,
}

/// How a window stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Which window.
    pub window: Window,
    /// Its limit, if it has one.
    pub limit: Option<Money>,
    /// Its money.
    pub account: Account,
    /// When it ends.
    pub resets_at: Timestamp,
}

impl Balance {
    /// When the limit is reached if money is spent on as it was since the window began, in the
    /// time zone of the budgets. Without an answer if there is no limit, if it is reached already,
    /// or if the window ends before.
    #[must_use]
    pub fn reached_at(&self, now: Timestamp, timezone: &TimeZone) -> Option<Timestamp> {
        let spent = self.account.settled();
        alert::forecast(now, &self.window, timezone, (spent, self.limit?))
    }
}

impl Account {
    /// An account with nothing in flight.
    pub(super) fn restored(settled: Money, uncertain: Money, told: Told) -> Self {
        Self {
            settled,
            uncertain,
            held: 0,
            told,
        }
    }

    /// Spent, as far as is known.
    #[must_use]
    pub const fn settled(&self) -> Money {
        self.settled
    }

    /// May have been spent. It counts against the limit until it is reconciled.
    #[must_use]
    pub const fn uncertain(&self) -> Money {
        self.uncertain
    }

    /// Held for calls in flight.
    #[must_use]
    pub fn held(&self) -> Money {
        Money::from_pico(i64::try_from(self.held).unwrap_or(i64::MAX))
    }

    /// Which alerts it has given.
    #[must_use]
    pub const fn told(&self) -> Told {
        self.told
    }

    /// What is left of a limit; less than nothing if the limit was lowered or overrun.
    #[must_use]
    pub fn free(&self, limit: Money) -> Money {
        let left = i128::from(limit.pico()) - self.taken();
        let saturated = if left < 0 { i64::MIN } else { i64::MAX };
        Money::from_pico(i64::try_from(left).unwrap_or(saturated))
    }

    /// S + U + H.
    fn taken(&self) -> i128 {
        i128::from(self.settled.pico()) + i128::from(self.uncertain.pico()) + self.held
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held > 0
    }

    pub(super) fn hold(&mut self, amount: Money) {
        self.held += i128::from(amount.pico());
    }

    pub(super) fn release(&mut self, amount: Money) {
        self.held -= i128::from(amount.pico());
        debug_assert!(self.held >= 0, "only what was held is released");
    }

    pub(super) fn book(&mut self, spent: Money, uncertain: Money) {
        self.settled = self.settled.plus(spent);
        self.uncertain = self.uncertain.plus(uncertain);
    }

    /// Puts the true amount in the place of an estimate and what was uncertain beside it.
    pub(super) fn clear(&mut self, estimate: Money, uncertain: Money, actual: Money) {
        self.uncertain = self.uncertain.minus(uncertain).max(Money::ZERO);
        self.settled = self.settled.minus(estimate).max(Money::ZERO).plus(actual);
    }

    /// Adds to what is settled, which may be less than nothing, and clears of what is uncertain.
    pub(super) fn correct(&mut self, settled: Money, cleared: Money) {
        self.settled = self.settled.plus(settled).max(Money::ZERO);
        self.uncertain = self.uncertain.minus(cleared).max(Money::ZERO);
    }

    pub(super) const fn set_told(&mut self, told: Told) {
        self.told = told;
    }
}

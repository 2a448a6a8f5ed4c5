//! When somebody should be told that money runs out.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::super::money::Money;
use super::account::{Account, Told};
use super::budgets::Budgets;
use super::window::Window;

/// More of a limit is spent than a threshold allows. Given once per window and threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Which window.
    pub window: Window,
    /// Which threshold. One that was passed at the same time as a higher one is not told of.
    pub told: Told,
    /// The limit.
    pub limit: Money,
    /// Settled so far.
    pub spent: Money,
    /// When the limit is reached if money is spent on as it was since the window began. Without
    /// one if it is reached already, or not before the window ends.
    pub reached_at: Option<Timestamp>,
    /// When the window ends.
    pub resets_at: Timestamp,
}

/// Which threshold an account has passed.
pub(super) fn due(account: &Account, limit: Option<Money>, at_pct: u8) -> Told {
    let Some(limit) = limit else {
        return Told::Nothing;
    };
    let spent = i128::from(account.settled().pico());
    let limit = i128::from(limit.pico());
    if spent == 0 {
        Told::Nothing
    } else if spent >= limit {
        Told::Reached
    } else if spent * 100 >= limit * i128::from(at_pct) {
        Told::Nearing
    } else {
        Told::Nothing
    }
}

/// Notes what an account must tell, and what it has told that no longer holds, because the limit
/// was raised or the amount corrected.
pub(super) fn check(
    now: Timestamp,
    budgets: &Budgets,
    window: &Window,
    account: &mut Account,
) -> Option<Alert> {
    let limit = budgets.limit(&window.scope, window.period);
    let due = due(account, limit, budgets.alert_at_pct);
    let told = account.told();
    account.set_told(due);
    let limit = limit.filter(|_| due > told)?;
    Some(Alert {
        window: window.clone(),
        told: due,
        limit,
        spent: account.settled(),
        reached_at: forecast(now, window, &budgets.timezone, (account.settled(), limit)),
        resets_at: window.resets_at(&budgets.timezone),
    })
}

/// When the limit is reached if money is spent on as it was since the window began. Without an
/// answer if it is reached already, or not before the window ends.
pub(super) fn forecast(
    now: Timestamp,
    window: &Window,
    timezone: &TimeZone,
    (spent, limit): (Money, Money),
) -> Option<Timestamp> {
    if spent >= limit || spent <= Money::ZERO {
        return None;
    }
    let begins_at = window.begins_at(timezone);
    let elapsed = now.duration_since(begins_at).as_millis();
    let whole = elapsed * i128::from(limit.pico()) / i128::from(spent.pico());
    let whole = SignedDuration::from_millis(i64::try_from(whole).ok()?);
    let reached_at = begins_at.checked_add(whole).ok()?;
    (elapsed > 0 && reached_at < window.resets_at(timezone)).then_some(reached_at)
}

//! The single writer of all accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::super::money::Money;
use super::account::{Account, Balance};
use super::alert::{self, Alert};
use super::budgets::{Budgets, Limits};
use super::call::{CallId, NotHeld, NotUncertain, Outcome, Reservation, Settled, WindowCorrection};
use super::refusal::{LimitOf, Refused};
use super::standing::{InFlight, Standing, UncertainCall, WindowStanding};
use super::window::{Scope, Window, day_of};

/// Calls of unknown cost that can be reconciled one by one. Of more, the oldest are reconciled
/// with their windows alone.
pub const UNCERTAIN_CALLS: usize = 65_536;

/// All accounts of a fleet.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    budgets: Budgets,
    accounts: BTreeMap<Window, Account>,
    in_flight: BTreeMap<CallId, Held>,
    uncertain: BTreeMap<CallId, UncertainCall>,
    last_id: CallId,
    kept_since: Option<Date>,
}

/// A call in flight.
#[derive(Debug, Clone)]
struct Held {
    agent: Arc<str>,
    day: Date,
    amount: Money,
}

impl Ledger {
    /// A ledger in which nothing is spent.
    #[must_use]
    pub fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            ..Self::default()
        }
    }

    /// The ledger as a journal kept it. Calls that were in flight are lost now; how they were
    /// settled is to be written to the journal like any other settlement.
    #[must_use]
    pub fn restore(
        now: Timestamp,
        budgets: Budgets,
        standing: Standing,
    ) -> (Self, Vec<(CallId, Settled)>) {
        let mut ledger = Self::new(budgets);
        ledger.last_id = standing.last_id;
        ledger.kept_since = standing.kept_since;
        for kept in standing.windows {
            let account = Account::restored(kept.settled, kept.uncertain, kept.told);
            ledger.accounts.insert(kept.window, account);
        }
        for call in standing.uncertain {
            ledger.note_uncertain(call);
        }
        ledger.rearm();
        let mut lost = Vec::new();
        for call in standing.in_flight {
            let (id, estimate) = (call.id, call.estimate);
            ledger.put_back(call);
            if let Ok(settled) = ledger.settle(now, id, Outcome::Lost { estimate }) {
                lost.push((id, settled));
            }
        }
        (ledger, lost)
    }

    /// Takes back what was told of limits that are higher now.
    fn rearm(&mut self) {
        for (window, account) in &mut self.accounts {
            let limit = self.budgets.limit(&window.scope, window.period);
            let due = alert::due(account, limit, self.budgets.alert_at_pct);
            account.set_told(account.told().min(due));
        }
    }

    fn put_back(&mut self, call: InFlight) {
        let held = Held {
            agent: call.agent,
            day: call.day,
            amount: call.held.max(Money::ZERO),
        };
        for window in Window::of(&held.agent, held.day) {
            self.accounts.entry(window).or_default().hold(held.amount);
        }
        self.in_flight.insert(call.id, held);
        self.last_id = self.last_id.max(call.id);
    }

    /// Holds `need` for a call in all its windows, or in none. `tighter` are limits of the request
    /// for its agent's own money; they count where they are lower than those of the budgets.
    ///
    /// # Errors
    ///
    /// It does not fit into one of the windows.
    pub fn reserve(
        &mut self,
        now: Timestamp,
        agent: &Arc<str>,
        need: Money,
        tighter: &Limits,
    ) -> Result<Reservation, Box<Refused>> {
        let need = need.max(Money::ZERO);
        let day = self.day(now);
        let windows = Window::of(agent, day);
        let refusals = windows
            .iter()
            .filter_map(|window| self.refusal(window, need, tighter));
        // To wait for one window does not help where another one never has room.
        if let Some(refused) =
            refusals.max_by_key(|refused| (refused.never_fits(), refused.resets_at))
        {
            return Err(Box::new(refused));
        }
        for window in &windows {
            let account = self.accounts.entry(window.clone()).or_default();
            account.hold(need);
        }
        self.last_id = self.next_id();
        let held = Held {
            agent: Arc::clone(agent),
            day,
            amount: need,
        };
        self.in_flight.insert(self.last_id, held);
        Ok(Reservation {
            id: self.last_id,
            held: need,
            day,
            windows,
        })
    }

    /// The id and the day of a call that costs nothing, whatever the budgets have left. It is in no
    /// window.
    pub fn number(&mut self, now: Timestamp) -> (CallId, Date) {
        self.last_id = self.next_id();
        (self.last_id, self.day(now))
    }

    fn next_id(&self) -> CallId {
        CallId(self.last_id.0 + 1)
    }

    /// What a call of an agent may cost at most now; without an answer if nothing limits it.
    #[must_use]
    pub fn free(&self, now: Timestamp, agent: &Arc<str>, tighter: &Limits) -> Option<Money> {
        let windows = Window::of(agent, self.day(now));
        let left = windows.iter().filter_map(|window| {
            let (limit, _) = self.limit(window, tighter)?;
            Some(self.account(window).free(limit).max(Money::ZERO))
        });
        left.min()
    }

    /// Holds less for a call from now on, and answers how much that is. Never more: what was free
    /// may be held by another call by now.
    ///
    /// # Errors
    ///
    /// Nothing is held for it.
    pub fn shrink(&mut self, id: CallId, to: Money) -> Result<Money, NotHeld> {
        let last_id = self.last_id;
        let held = self.in_flight.get_mut(&id);
        let held = held.ok_or_else(|| NotHeld::of(id, last_id))?;
        let to = to.max(Money::ZERO).min(held.amount);
        let surplus = held.amount.minus(to);
        held.amount = to;
        for window in Window::of(&held.agent, held.day) {
            self.accounts.entry(window).or_default().release(surplus);
        }
        Ok(to)
    }

    /// Books what became of a call, in the windows in which it was admitted.
    ///
    /// # Errors
    ///
    /// Nothing is held for it, in particular because it is settled already; nothing changes then.
    pub fn settle(
        &mut self,
        now: Timestamp,
        id: CallId,
        outcome: Outcome,
    ) -> Result<Settled, NotHeld> {
        let held = self.in_flight.remove(&id);
        let held = held.ok_or_else(|| NotHeld::of(id, self.last_id))?;
        let (spent, uncertain) = outcome.divide(held.amount);
        let windows = Window::of(&held.agent, held.day);
        let mut alerts = Vec::new();
        for window in &windows {
            let account = self.accounts.entry(window.clone()).or_default();
            account.release(held.amount);
            account.book(spent, uncertain);
            alerts.extend(alert::check(now, &self.budgets, window, account));
        }
        if uncertain > Money::ZERO {
            self.note_uncertain(UncertainCall {
                id,
                windows: windows.to_vec(),
                estimate: spent,
                uncertain,
            });
        }
        Ok(Settled {
            spent,
            uncertain,
            overrun: spent.minus(held.amount).max(Money::ZERO),
            windows,
            alerts,
        })
    }

    /// Puts the true cost of a call in the place of its estimate and its uncertain money, in all
    /// windows that still have them.
    ///
    /// # Errors
    ///
    /// Its cost is not uncertain.
    pub fn reconcile_call(
        &mut self,
        now: Timestamp,
        id: CallId,
        actual: Money,
    ) -> Result<Vec<Alert>, NotUncertain> {
        let unknown = self.uncertain.remove(&id);
        let unknown = unknown.ok_or(NotUncertain::Call(id))?;
        let mut alerts = Vec::new();
        for window in &unknown.windows {
            if let Some(account) = self.accounts.get_mut(window) {
                let known = actual.max(Money::ZERO);
                account.clear(unknown.estimate, unknown.uncertain, known);
                alerts.extend(alert::check(now, &self.budgets, window, account));
            }
        }
        Ok(alerts)
    }

    /// What changes if a window is corrected to what the provider billed for all that has ended in
    /// it by now. It is to be written to the journal, and then put into force; what ends meanwhile
    /// is added to both.
    ///
    /// # Errors
    ///
    /// Nothing was counted in it.
    pub fn correction(
        &self,
        window: &Window,
        billed: Money,
    ) -> Result<WindowCorrection, NotUncertain> {
        let account = self.accounts.get(window);
        let account = account.ok_or_else(|| NotUncertain::Window(window.clone()))?;
        let calls = self.uncertain.values();
        let calls = calls.filter(|call| call.windows.contains(window));
        Ok(WindowCorrection {
            window: window.clone(),
            settled: billed.max(Money::ZERO).minus(account.settled()),
            cleared: account.uncertain(),
            calls: calls.map(|call| call.id).collect(),
        })
    }

    /// Puts a correction into force. Other windows keep what they have, also those around it. No
    /// other correction may have come between.
    pub fn reconcile_window(
        &mut self,
        now: Timestamp,
        correction: &WindowCorrection,
    ) -> Option<Alert> {
        let window = &correction.window;
        // Forgotten meanwhile.
        let account = self.accounts.get_mut(window)?;
        account.correct(correction.settled, correction.cleared);
        for id in &correction.calls {
            if let Some(call) = self.uncertain.get_mut(id) {
                call.windows.retain(|other| other != window);
                if call.windows.is_empty() {
                    self.uncertain.remove(id);
                }
            }
        }
        alert::check(now, &self.budgets, window, account)
    }

    /// Puts other budgets in force. A limit below what is spent refuses from now on; calls in
    /// flight go on. Alerts are those that the new limits make due in the windows of today.
    pub fn set_budgets(&mut self, now: Timestamp, budgets: Budgets) -> Vec<Alert> {
        self.budgets = budgets;
        let today = self.day(now);
        let mut alerts = Vec::new();
        for (window, account) in &mut self.accounts {
            if window.start == window.period.first(today) {
                alerts.extend(alert::check(now, &self.budgets, window, account));
            }
        }
        alerts
    }

    /// The budgets in force.
    #[must_use]
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// How an agent and the fleet stand now.
    #[must_use]
    pub fn balances(&self, now: Timestamp, agent: &Arc<str>) -> [Balance; 4] {
        Window::of(agent, self.day(now)).map(|window| self.balance(window))
    }

    /// How one window stands.
    #[must_use]
    pub fn balance(&self, window: Window) -> Balance {
        Balance {
            limit: self.budgets.limit(&window.scope, window.period),
            account: self.account(&window),
            resets_at: window.resets_at(&self.budgets.timezone),
            window,
        }
    }

    /// The money of one window.
    #[must_use]
    pub fn account(&self, window: &Window) -> Account {
        self.accounts.get(window).copied().unwrap_or_default()
    }

    /// All accounts, by window.
    pub fn accounts(&self) -> impl Iterator<Item = (&Window, &Account)> {
        self.accounts.iter()
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Forgets days before `day`, and months before its month, unless they hold money. If the
    /// clock goes back behind `day`, calls count in the windows of `day`, so that nothing that was
    /// spent can be spent again.
    pub fn forget_before(&mut self, day: Date) {
        self.kept_since = self.kept_since.max(Some(day));
        let forgotten = |window: &Window| window.start < window.period.first(day);
        self.accounts
            .retain(|window, account| account.is_held() || !forgotten(window));
        self.uncertain.retain(|_, unknown| {
            let accounts = &self.accounts;
            unknown
                .windows
                .retain(|window| accounts.contains_key(window));
            !unknown.windows.is_empty()
        });
    }

    /// What a journal must keep, but for calls in flight.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let windows = self
            .accounts
            .iter()
            .map(|(window, account)| WindowStanding {
                window: window.clone(),
                settled: account.settled(),
                uncertain: account.uncertain(),
                told: account.told(),
            });
        Standing {
            windows: windows.collect(),
            in_flight: Vec::new(),
            uncertain: self.uncertain.values().cloned().collect(),
            last_id: self.last_id,
            kept_since: self.kept_since,
        }
    }

    fn day(&self, now: Timestamp) -> Date {
        let day = day_of(now, &self.budgets.timezone);
        self.kept_since.map_or(day, |kept| day.max(kept))
    }

    fn limit(&self, window: &Window, tighter: &Limits) -> Option<(Money, LimitOf)> {
        let ours = self.budgets.limit(&window.scope, window.period);
        let theirs = match window.scope {
            Scope::Agent(_) => tighter.of(window.period),
            Scope::Fleet => None,
        };
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if theirs < ours => Some((theirs, LimitOf::Request)),
            (None, Some(theirs)) => Some((theirs, LimitOf::Request)),
            (Some(ours), _) => Some((ours, LimitOf::Fleet)),
            (None, None) => None,
        }
    }

    /// Why a call does not fit into a window. What costs nothing fits into one that is overdrawn.
    fn refusal(&self, window: &Window, need: Money, tighter: &Limits) -> Option<Refused> {
        if need == Money::ZERO {
            return None;
        }
        let (limit, limit_of) = self.limit(window, tighter)?;
        let account = self.account(window);
        if need <= account.free(limit) {
            return None;
        }
        Some(Refused {
            window: window.clone(),
            limit_of,
            limit,
            spent: account.settled(),
            held: account.held(),
            uncertain: account.uncertain(),
            needed: need,
            resets_at: window.resets_at(&self.budgets.timezone),
        })
    }

    fn note_uncertain(&mut self, call: UncertainCall) {
        self.uncertain.insert(call.id, call);
        while self.uncertain.len() > UNCERTAIN_CALLS {
            self.uncertain.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;

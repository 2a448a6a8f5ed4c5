//! The money that assumed calls cost, in the ledger that the gateway books calls in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claw_core::{AgentName, Wall};
use claw_gateway::llm::budget::{Budgets, Ledger, Limits, Outcome, Period, Refused, Scope, Window};
use claw_gateway::llm::money::Money;

use crate::report;

/// What agents spend.
#[derive(Debug)]
pub(crate) struct Spending<'a> {
    ledger: Ledger,
    accounts: &'a BTreeMap<AgentName, Arc<str>>,
    spent: BTreeMap<AgentName, report::Spent>,
    refused: BTreeSet<Window>,
}

impl<'a> Spending<'a> {
    pub(crate) fn new(budgets: Budgets, accounts: &'a BTreeMap<AgentName, Arc<str>>) -> Self {
        Self {
            ledger: Ledger::new(budgets),
            accounts,
            spent: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// An agent makes a call, which ends at once.
    ///
    /// # Errors
    ///
    /// It does not fit into a budget.
    pub(crate) fn call(
        &mut self,
        agent: &AgentName,
        cost: Money,
        now: Wall,
    ) -> Result<(), Box<Refused>> {
        let account = self.accounts.get(agent);
        let account = account.map_or_else(|| Arc::from(agent.as_str()), Arc::clone);
        let spent = self.spent.entry(agent.clone()).or_default();
        let reservation = self
            .ledger
            .reserve(now, &account, cost, &Limits::default())
            .inspect_err(|refused| {
                spent.refused_calls += 1;
                self.refused.insert(refused.window.clone());
                spent
                    .first_refusal
                    .get_or_insert_with(|| report::OverBudget {
                        at: now,
                        scope: refused.window.scope.to_string(),
                        period: period(refused.window.period),
                        limit_usd: refused.limit.to_string(),
                    });
            })?;
        let booked = self
            .ledger
            .settle(now, reservation.id, Outcome::Reported(cost));
        debug_assert!(booked.is_ok(), "what was just held is settled once");
        spent.calls += 1;
        spent.usd = spent.usd.plus(cost);
        Ok(())
    }

    /// What an agent has spent.
    pub(crate) fn of(&self, agent: &AgentName) -> report::Spent {
        self.spent.get(agent).cloned().unwrap_or_default()
    }

    /// How the budgets with a limit have fared.
    pub(crate) fn budgets(&self) -> Vec<report::Budget> {
        let budgets = self.ledger.budgets();
        let scopes = budgets.agents.keys().cloned().map(Scope::Agent);
        let scopes = scopes.chain([Scope::Fleet]);
        let mut rows = Vec::new();
        for scope in scopes {
            for period in Period::ALL {
                if let Some(limit) = budgets.limit(&scope, period) {
                    rows.push(self.budget(&scope, period, limit));
                }
            }
        }
        rows
    }

    fn budget(&self, scope: &Scope, of: Period, limit: Money) -> report::Budget {
        let own = |window: &Window| window.scope == *scope && window.period == of;
        let accounts = self.ledger.accounts().filter(|(window, _)| own(window));
        let most = accounts.map(|(_, account)| account.settled()).max();
        let reached = self.refused.iter().filter(|window| own(window));
        report::Budget {
            scope: scope.to_string(),
            period: period(of),
            limit_usd: limit.to_string(),
            most_usd: most.unwrap_or(Money::ZERO).to_string(),
            times_reached: reached.count(),
        }
    }
}

const fn period(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Month => "month",
    }
}

//! What the API needs to know of models and of the money they cost.
//!
//! Calls and what they used are read from their store; the rest is what only the gateway knows.

use std::sync::Arc;

use claw_gateway::llm::budget::{Balance, CallId, Ledger, NotUncertain, Window};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::serve::Settings;
use claw_store::{Store, StoreError};
use jiff::tz::TimeZone;

use super::Port;
use crate::api::Time;

/// Finds the ports; `None`: the fleet file has no `llm` section.
pub type FindLlm = Arc<dyn Fn() -> Option<LlmPorts> + Send + Sync>;

/// What the API asks of the gateway to models.
#[derive(Clone)]
pub struct LlmPorts {
    /// Where calls are kept, and what they used.
    pub store: Store,
    /// How the budgets stand now. The ledger is locked for no longer than it takes to copy them.
    pub balances: Arc<dyn Fn() -> Balances + Send + Sync>,
    /// Puts what was billed in the place of what is uncertain, in the ledger and durably. Answers
    /// with the windows that it has changed, as they stand now.
    pub reconcile: Port<Reconciliation, Result<Vec<Balance>, NotReconciled>>,
    /// What models cost by the configuration in force.
    pub prices: Arc<dyn Fn() -> Prices + Send + Sync>,
}

/// How budgets stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Balances {
    /// At this moment.
    pub at: Time,
    /// The time zone whose days and months they follow.
    pub timezone: TimeZone,
    /// From which share of a limit on an alert is due, in percent.
    pub alert_at_pct: u8,
    /// The windows of that moment: the fleet's, then each agent's by name. Also those without a
    /// limit.
    pub windows: Vec<Balance>,
}

/// What was billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciliation {
    /// For one call.
    Call {
        /// Which.
        id: CallId,
        /// Not less than nothing.
        billed: Money,
    },
    /// For all that has ended in a window.
    Window {
        /// Which.
        window: Window,
        /// Not less than nothing.
        billed: Money,
    },
}

/// Why nothing was corrected.
#[derive(Debug, thiserror::Error)]
pub enum NotReconciled {
    /// There is nothing to correct.
    #[error(transparent)]
    NotUncertain(#[from] NotUncertain),
    /// It cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What models cost.
#[derive(Debug, Clone)]
pub struct Prices {
    /// All that is known: what is shipped, with the operator's own on top.
    pub table: Arc<PriceTable>,
    /// Which models the fleet file names, and what they cost by it.
    pub settings: Arc<Settings>,
}

impl Balances {
    /// The windows of the fleet and of all agents of these settings.
    #[must_use]
    pub fn of(ledger: &Ledger, settings: &Settings, at: Time) -> Self {
        let mut windows = Vec::with_capacity(2 + 2 * settings.agents.len());
        for agent in settings.agents.keys() {
            let [day, month, fleets_day, fleets_month] = ledger.balances(at, agent);
            if windows.is_empty() {
                windows.extend([fleets_day, fleets_month]);
            }
            windows.extend([day, month]);
        }
        let budgets = ledger.budgets();
        Self {
            at,
            timezone: budgets.timezone.clone(),
            alert_at_pct: budgets.alert_at_pct,
            windows,
        }
    }
}

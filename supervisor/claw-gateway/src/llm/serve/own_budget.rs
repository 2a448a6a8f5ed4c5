//! An agent's own money, for itself.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::llm::budget::{Balance, Ledger, Scope};
use crate::llm::money::Money;

/// The windows of an agent, without those of the fleet, which are nothing to it.
pub(super) fn balances(ledger: &Ledger, now: Timestamp, agent: &Arc<str>) -> Value {
    let balances = ledger.balances(now, agent);
    let own = balances
        .iter()
        .filter(|balance| match balance.window.scope {
            Scope::Agent(_) => true,
            Scope::Fleet => false,
        });
    let windows: Vec<Value> = own.map(shown).collect();
    json!({ "windows": windows })
}

fn shown(balance: &Balance) -> Value {
    let account = &balance.account;
    json!({
        "window": balance.window.period.to_string(),
        "limit_usd": balance.limit.map(Money::as_usd),
        "spent_usd": account.settled().as_usd(),
        "held_usd": account.held().as_usd(),
        "uncertain_usd": account.uncertain().as_usd(),
        "resets_at": balance.resets_at.to_string(),
    })
}

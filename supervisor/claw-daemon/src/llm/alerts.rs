//! Alerts of budgets: on the bus, where agents may subscribe to them, and kept with their windows,
//! so that the next supervisor does not give them again.

use claw_gateway::llm::budget::{Alert, Scope, Told};
use claw_store::Store;
use claw_store::bus::{Level, NewEvent, Publisher};
use serde_json::json;
use tokio::sync::mpsc;

use super::rows;
use crate::agent_api::inside;

/// The name of the event, as agents know it.
const TOPIC: &str = "agent.llm_budget_alert";

/// The source of what the supervisor itself says.
const SOURCE: &str = "openclaw";

/// Publishes alerts until nobody can give one any more.
pub(super) async fn publish(mut alerts: mpsc::Receiver<Alert>, calls: Store, bus: Store) {
    while let Some(alert) = alerts.recv().await {
        // One that came with a settlement is in the store already; then this changes nothing.
        let key = rows::window_key(&alert.window);
        let told = rows::told_column(alert.told);
        if let Err(error) = calls.tell_llm_window(key, told).await {
            tracing::warn!(%error, "an alert of a budget may be given again after a restart");
        }
        let event = vec![event(&alert)];
        let published = bus.publish(event, Level::Os, Publisher::Supervisor);
        if let Err(error) = published.await {
            tracing::warn!(%error, "an alert of a budget did not reach the bus");
        }
    }
}

fn event(alert: &Alert) -> NewEvent {
    let window = &alert.window;
    let agent = match &window.scope {
        Scope::Fleet => None,
        Scope::Agent(name) => Some(name.to_string()),
    };
    let threshold = match alert.told {
        Told::Nothing => "none",
        Told::Nearing => "nearing",
        Told::Reached => "reached",
    };
    let (period, start) = (window.period, window.start);
    let whose = agent.as_deref().unwrap_or_default();
    let data = json!({
        "agent": agent,
        "period": period.to_string(),
        "start": start.to_string(),
        "threshold": threshold,
        "limit_usd": alert.limit.to_string(),
        "spent_usd": alert.spent.to_string(),
        "reached_at": alert.reached_at.map(|at| at.to_string()),
        "resets_at": alert.resets_at.to_string(),
    });
    NewEvent {
        id: format!(
            "llm_alert_{period}_{start}_{threshold}_{}_{whose}",
            alert.limit.pico()
        ),
        source: SOURCE.to_owned(),
        topic: inside(TOPIC),
        key: agent,
        data: data.to_string().into_bytes(),
        ..NewEvent::default()
    }
}

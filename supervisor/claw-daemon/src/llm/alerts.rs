//! Alerts of budgets: on the bus, where agents may subscribe to them, and then kept with their
//! windows, so that the next supervisor gives those again, and only those, that nobody was told of.

use claw_gateway::llm::budget::{Alert, Scope, Told};
use claw_store::Store;
use claw_store::bus::{Level, NewEvent, Publisher};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rows;
use crate::agent_api::inside;

/// The name of the event, as agents know it.
const TOPIC: &str = "agent.llm_budget_alert";

/// The source of what the supervisor itself says.
const SOURCE: &str = "openclaw";

/// Publishes alerts until it is to end, and then those that wait already.
pub(super) async fn publish(
    mut alerts: mpsc::Receiver<Alert>,
    (calls, bus): (Store, Store),
    until: CancellationToken,
) {
    loop {
        let alert = tokio::select! {
            alert = alerts.recv() => alert,
            () = until.cancelled(), if !alerts.is_closed() => {
                alerts.close();
                continue;
            }
        };
        let Some(alert) = alert else { return };
        let event = vec![event(&alert)];
        let published = bus.publish(event, Level::Os, Publisher::Supervisor);
        if let Err(error) = published.await {
            tracing::warn!(%error, "an alert of a budget did not reach the bus; it is given again after a restart");
            continue;
        }
        // Only now: what is not written as told is told by the next supervisor. One that dies in
        // between leaves it to the bus, which knows the id of the event for a while.
        let key = rows::window_key(&alert.window);
        let told = rows::told_column(alert.told);
        if let Err(error) = calls.tell_llm_window(key, told).await {
            tracing::warn!(%error, "an alert of a budget may be given again after a restart");
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

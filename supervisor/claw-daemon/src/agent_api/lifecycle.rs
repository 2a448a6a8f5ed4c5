//! What happens in the fleet, on the bus: agents may subscribe to `agent.started` and the like.

use std::time::Duration;

use claw_core::action::Happened;
use claw_core::{AgentName, Announcement, HaltChange, PublicState, RunOutcome, RunPhase};
use claw_store::Store;
use claw_store::bus::{Level, NewEvent, Publisher};
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::api::AgentApi;
use super::topics;
use crate::feed::{Feed, Item};

/// A crash is followed by a restart, which needs the processors; what is told of it can wait.
const LINGER: Duration = Duration::from_millis(20);

/// So many are published at once.
const BATCH: usize = 100;

/// The source of what the supervisor itself says.
const SOURCE: &str = "openclaw";

impl AgentApi {
    /// Publishes what the feed says, until the api closes. On the thread of supervision, where a
    /// crash wakes no other processor for it.
    pub(crate) fn publish_lifecycle(&self, feed: &Feed, thread: &Handle) {
        let mut subscription = feed.subscribe(None);
        let (store, closing) = (self.shared.store.clone(), self.shared.closing.clone());
        let publishing = async move {
            loop {
                let item = tokio::select! {
                    biased;
                    () = closing.cancelled() => return,
                    item = subscription.next() => item,
                };
                let Some(item) = item else { return };
                tokio::time::sleep(LINGER).await;
                let mut events = Vec::from_iter(event_of(item));
                while events.len() < BATCH
                    && let Ok(Some(item)) = timeout(Duration::ZERO, subscription.next()).await
                {
                    events.extend(event_of(item));
                }
                publish(&store, events).await;
            }
        };
        self.shared.tasks.spawn_on(publishing, thread);
    }
}

fn event_of(item: Item) -> Option<NewEvent> {
    let numbered = match item {
        Item::Event(numbered) => numbered,
        Item::Lagged(lost) => {
            tracing::warn!(lost, "lifecycle events did not reach the bus");
            return None;
        }
    };
    let announcement = &numbered.announcement;
    let (topic, data) = told(announcement)?;
    Some(NewEvent {
        id: format!("l_{}", numbered.id),
        source: SOURCE.to_owned(),
        topic: topics::inside(topic),
        key: Some(announcement.agent.to_string()),
        data: data.to_string().into_bytes(),
        ..NewEvent::default()
    })
}

async fn publish(store: &Store, events: Vec<NewEvent>) {
    if events.is_empty() {
        return;
    }
    let published = store.publish(events, Level::Os, Publisher::SupervisorOnce);
    if let Err(error) = published.await {
        tracing::warn!(%error, "lifecycle events did not reach the bus");
    }
}

/// The event that an announcement is, if it is one.
fn told(announcement: &Announcement) -> Option<(&'static str, Json)> {
    let agent = &announcement.agent;
    let (topic, data) = match &announcement.happened {
        Happened::Started { instance, pid } => (
            "agent.started",
            json!({"agent": agent, "instance": instance.to_string(), "pid": pid}),
        ),
        Happened::Adopted { instance, pid } => (
            "agent.adopted",
            json!({"agent": agent, "instance": instance.to_string(), "pid": pid}),
        ),
        Happened::Ended {
            instance,
            cause,
            failed,
        } => {
            let topic = if *failed {
                "agent.failed"
            } else {
                "agent.stopped"
            };
            let cause = json!({"code": cause.code(), "text": cause.to_string()});
            (
                topic,
                json!({"agent": agent, "instance": instance.to_string(), "cause": cause}),
            )
        }
        Happened::StateChanged {
            state,
            ready,
            reason,
        } => {
            let topic = match state {
                PublicState::Running if *ready => "agent.ready",
                PublicState::Paused => "agent.paused",
                PublicState::Running
                | PublicState::Initializing
                | PublicState::Error
                | PublicState::Stopping
                | PublicState::Stopped => "agent.changed",
            };
            let (state, reason) = (state.as_str(), reason.code());
            let data = json!({"agent": agent, "state": state, "ready": ready, "reason": reason});
            (topic, data)
        }
        Happened::RunChanged { run } => {
            let RunPhase::Finished { outcome, .. } = &run.phase else {
                return None;
            };
            let topic = match outcome {
                RunOutcome::Succeeded => "agent.run_succeeded",
                RunOutcome::Failed { .. }
                | RunOutcome::Cancelled { .. }
                | RunOutcome::Interrupted { .. } => "agent.run_failed",
            };
            let data = json!({"agent": agent, "run": run.id, "outcome": outcome.code(), "attempts": run.attempts});
            (topic, data)
        }
        Happened::ProbeFailed {
            probe,
            detail,
            consecutive,
        } => {
            let data = json!({"agent": agent, "probe": probe.to_string(), "detail": detail, "consecutive": consecutive});
            ("agent.probe_failed", data)
        }
        Happened::SwitchTurned { change } => turned(agent, change),
        Happened::SlotSettled { .. } | Happened::StaleFact { .. } => return None,
    };
    Some((topic, data))
}

/// The event that a turn of the kill switch is.
fn turned(agent: &AgentName, change: &HaltChange) -> (&'static str, Json) {
    match change {
        HaltChange::Halted(halt) => ("agent.halted", json!({"agent": agent, "halt": halt})),
        HaltChange::Lifted { by, halt, .. } => (
            "agent.halt_lifted",
            json!({"agent": agent, "halt": halt, "by": by}),
        ),
    }
}

//! Hears what the gateway does: the supervisor's own log, and alerts for who is to be told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_gateway::llm::budget::{self, Alert};
use claw_gateway::llm::serve::{Clock, Event, Observer, Settings};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Told;
use super::news::News;
use crate::telemetry::llm::LlmMetrics;

/// Alerts on their way to the bus. There are two for each window at most, so that more wait only
/// when the store does not answer; they are in the log all the same.
pub(super) const ALERTS: usize = 1024;

/// How often an operator is told that a provider refuses a key, a model or its address.
const TOLD_AGAIN: Duration = Duration::from_secs(3600);

/// Writes the log, counts, and hands on alerts and what is for the core, without waiting for
/// anybody.
pub(super) struct Reporter {
    clock: Arc<dyn Clock>,
    metrics: LlmMetrics,
    news: News,
    alerts: mpsc::Sender<Alert>,
    /// When an operator was told of a provider's model. What is configured bounds them, and old
    /// ones are dropped.
    misconfigured: Mutex<BTreeMap<(String, String), Duration>>,
}

impl Reporter {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        (told, runtime): (Told, Handle),
        alerts: mpsc::Sender<Alert>,
    ) -> Self {
        Self {
            news: News::new(told.facts, Arc::clone(&clock), runtime),
            metrics: told.metrics,
            clock,
            alerts,
            misconfigured: Mutex::default(),
        }
    }

    /// Takes over who may call what.
    pub(super) fn configure(&self, settings: &Settings) {
        self.metrics.configure(settings);
        self.news.configure(settings);
    }

    fn alert(&self, alert: &Alert) {
        let (scope, period) = (&alert.window.scope, alert.window.period);
        let (limit, spent) = (alert.limit, alert.spent);
        let resets_at = alert.resets_at;
        match alert.told {
            // Not an alert.
            budget::Told::Nothing => return,
            budget::Told::Nearing => tracing::warn!(
                event = "llm_budget_alert",
                "{spent} USD of the {period} budget of {limit} USD of {scope} are spent; it resets at {resets_at}"
            ),
            budget::Told::Reached => tracing::warn!(
                event = "llm_budget_alert",
                "the {period} budget of {limit} USD of {scope} is spent: calls that cost are refused until {resets_at}"
            ),
        }
        if self.alerts.try_send(alert.clone()).is_err() {
            tracing::error!("an alert of a budget did not reach the bus");
        }
    }

    fn misconfigured(&self, provider: &str, model: &str, status: u16) {
        let now = self.clock.monotonic();
        let mut told = self
            .misconfigured
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_sub(*at) < TOLD_AGAIN);
        let place = (provider.to_owned(), model.to_owned());
        if told.contains_key(&place) {
            return;
        }
        told.insert(place, now);
        drop(told);
        tracing::warn!(
            provider,
            model,
            status,
            "the provider refuses: check its key, its `base_url` and the id of the model in `llm:`"
        );
    }
}

impl Observer for Reporter {
    fn tell(&self, event: Event<'_>) {
        self.metrics.observe(&event);
        self.news.observe(&event);
        match event {
            Event::Alert(alert) => self.alert(alert),
            Event::Misconfigured {
                provider,
                model,
                status,
            } => self.misconfigured(provider, model, status),
            Event::Refused {
                caller,
                status,
                code,
                message,
            } => {
                let agent = &*caller.agent;
                tracing::debug!(
                    agent,
                    status,
                    code,
                    "a request for a model was refused: {message}"
                );
            }
            Event::OverBudget { caller, refused } => {
                tracing::debug!(agent = &*caller.agent, "no room for a call: {refused}");
            }
            event @ (Event::PersonalData { .. }
            | Event::Unreadable { .. }
            | Event::WrongAnswer { .. }
            | Event::Unsafe { .. }
            | Event::Unjudged { .. }) => log_validation(&event),
            Event::Failed { call, attempt } => {
                let (provider, model) = (&*call.provider, &*call.model);
                tracing::debug!(call = %call.id, provider, model, failure = ?attempt.failure, "an attempt failed");
            }
            Event::ProviderDown { provider, until } => {
                tracing::warn!(provider, %until, "the provider failed and is left alone for a while");
            }
            Event::ProviderUp { provider } => {
                tracing::info!(provider, "the provider answers again")
            }
            Event::Begun(_)
            | Event::FirstByte(_)
            | Event::Progress { .. }
            | Event::Ended(_)
            | Event::Cache { .. }
            | Event::Concluded { .. } => {}
        }
    }
}

/// One line for what a validator found, which quotes neither prompt nor answer.
fn log_validation(event: &Event<'_>) {
    match event {
        Event::PersonalData {
            caller,
            request,
            place,
            action,
            found,
        } => {
            let agent = &*caller.agent;
            tracing::info!(target: "audit", agent, request, ?action, "personal data in the {place}: {found}");
        }
        Event::Unreadable {
            caller,
            request,
            place,
        } => {
            let agent = &*caller.agent;
            tracing::info!(target: "audit", agent, request, "the {place} could not be searched for personal data and did not pass");
        }
        Event::WrongAnswer {
            caller,
            request,
            action,
            violations,
        } => {
            let (agent, count) = (&*caller.agent, violations.len());
            tracing::debug!(
                agent,
                request,
                ?action,
                count,
                "an answer does not follow its schema"
            );
        }
        Event::Unsafe {
            caller,
            request,
            place,
            categories,
        } => {
            let (agent, categories) = (&*caller.agent, categories.join(", "));
            tracing::info!(target: "audit", agent, request, categories, "the {place} was judged unsafe and did not pass");
        }
        Event::Unjudged {
            caller,
            request,
            place,
            action,
        } => {
            let agent = &*caller.agent;
            tracing::warn!(target: "audit", agent, request, ?action, "nobody could judge the {place}");
        }
        Event::Begun(_)
        | Event::Failed { .. }
        | Event::FirstByte(_)
        | Event::Progress { .. }
        | Event::Ended(_)
        | Event::Refused { .. }
        | Event::OverBudget { .. }
        | Event::Cache { .. }
        | Event::Alert(_)
        | Event::Concluded { .. }
        | Event::ProviderDown { .. }
        | Event::ProviderUp { .. }
        | Event::Misconfigured { .. } => {}
    }
}

//! The series of calls to models.
//!
//! ```text
//!  settings ──► configure ─┐
//!  totals of the store ──► begin ─┼─► books ──► scrape, with the budgets of that moment
//!  the gateway's events ──► observe ─┘
//! ```
//!
//! Tokens and cost go on from where the store has them, so that they tell all that was ever spent.
//! Labels are bounded: models that the fleet file does not name are `other`, and an agent that may
//! call none any more takes its series with it.

mod books;
mod collector;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claw_gateway::llm::budget::Balance;
use claw_gateway::llm::serve::{CallEnd, CallRecord, Ending, Event, Settings};
use claw_store::llm::TotalRow;
use prometheus_client::registry::Registry;

use crate::api::{Time, seconds_between};
use books::{Books, OfModel};

/// The series of calls to models; clones share them.
#[derive(Debug, Clone, Default)]
pub struct LlmMetrics(Arc<Mutex<Books>>);

impl LlmMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// Takes over which agents may call which models. Agents that may call none any more are
    /// forgotten, once none of their calls is under way.
    pub fn configure(&self, settings: &Settings) {
        self.books().configure(settings);
    }

    /// Counts what was used before this supervisor began: once, after the first
    /// [`configure`](Self::configure) and before the first event.
    pub fn begin(&self, totals: &[TotalRow]) {
        let mut books = self.books();
        for row in totals {
            books.begin(row);
        }
    }

    /// Counts what happens. It waits for nobody but another count or a scrape.
    pub fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Begun(call) => {
                let mut books = self.books();
                let agent = books.agent(&call.agent);
                agent.in_flight = agent.in_flight.saturating_add(1);
            }
            Event::FirstByte(call) => {
                if let Some(at) = call.first_byte_at {
                    let seconds = since_admission(call, at);
                    self.books().model(call).observe_first_byte(seconds);
                }
            }
            Event::Ended(call) => {
                let mut books = self.books();
                if let Some(end) = &call.end {
                    ended(books.model(call), call, end);
                }
                books.leave(&call.agent);
            }
            Event::Refused { caller, code, .. } => {
                let mut books = self.books();
                *books.agent(&caller.agent).refusals.entry(code).or_default() += 1;
            }
            Event::OverBudget { caller, refused } => {
                let window = &refused.window;
                let window = ((&window.scope).into(), window.period.into());
                let mut books = self.books();
                let agent = books.agent(&caller.agent);
                *agent.rejections.entry(window).or_default() += 1;
            }
            Event::Cache { caller, result } => {
                let mut books = self.books();
                let agent = books.agent(&caller.agent);
                *agent.cache.entry(*result).or_default() += 1;
            }
            Event::Failed { .. }
            | Event::Progress { .. }
            | Event::PersonalData { .. }
            | Event::Unreadable { .. }
            | Event::WrongAnswer { .. }
            | Event::Unsafe { .. }
            | Event::Unjudged { .. }
            | Event::Alert(_)
            | Event::Concluded { .. }
            | Event::ProviderDown { .. }
            | Event::ProviderUp { .. }
            | Event::Misconfigured { .. } => {}
        }
    }

    /// Notes how the budgets stand, for the scrape that follows.
    pub(super) fn set_budgets(&self, budgets: &[Balance]) {
        self.books().budgets = budgets.to_vec();
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended(model: &mut OfModel, call: &CallRecord, end: &CallEnd) {
    if let Some(usage) = &end.usage {
        model.count(usage);
    }
    model.cost = model.cost.plus(end.settled.spent);
    model.overrun = model.overrun.plus(end.settled.overrun);
    *model.outcomes.entry(end.ending.as_str()).or_default() += 1;
    // The attempt that failed last was not followed by another one here.
    let last = usize::from(end.ending == Ending::Failed);
    model.retries += call.attempts.len().saturating_sub(last) as u64;
    if has_answer(end.ending) {
        model.observe_latency(since_admission(call, end.at));
    }
}

/// Whether the time to the end is that of an answer: nobody waited for one that was only read on
/// for its cost.
const fn has_answer(ending: Ending) -> bool {
    match ending {
        Ending::Answered | Ending::CutByProvider | Ending::CutByBudget | Ending::CutByValidator => {
            true
        }
        Ending::Failed | Ending::Drained | Ending::Abandoned => false,
    }
}

fn since_admission(call: &CallRecord, at: Time) -> f64 {
    seconds_between(call.admitted_at, at)
}

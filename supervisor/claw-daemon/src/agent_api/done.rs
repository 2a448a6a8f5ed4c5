//! `POST /v1/work/{id}/done`: the outcome of a piece of work, with everything that it changes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use claw_core::run::WorkOutcome;
use claw_core::{Fact, Generation, InstanceId, RunId};
use claw_failpoint::Step;
use claw_store::StoreError;
use claw_store::bus::{Done, Held, LastReport, LeaseId, Outcome, Repeated, Settle};
use claw_store::state::{Commit, Look, Mark};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::admission::{Caller, Context, WholeBody, json as answer};
use super::api::AgentApi;
use super::endpoint::Endpoint;
use super::fault::{Code, Fault};
use super::origin::Origin;
use super::outgoing::{self, Emitted, Op, Space};
use super::series::Sample;
use super::{limits, wire, write_rate};

/// The longest message that is kept of a failure.
const MESSAGE: usize = 2000;

/// The lease of nobody: settling it is refused before anything is done.
const NOBODY: Held = Held::One(LeaseId(u64::MAX));

/// The time between two questions to a store that cannot answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Report<'a> {
    attempt: u32,
    ok: bool,
    #[serde(default)]
    error: Option<WorkError>,
    #[serde(borrow, default)]
    state: Option<Vec<Op<'a>>>,
    #[serde(borrow, default)]
    shared: Option<Vec<Op<'a>>>,
    #[serde(borrow, default)]
    events: Option<Vec<Emitted<'a>>>,
    #[serde(default)]
    metrics: Option<Vec<Sample>>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// What went wrong, in the agent's words.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct WorkError {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    retryable: Option<bool>,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

impl WorkError {
    pub(super) fn sentence(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or("error");
        let message = self.message.as_deref().unwrap_or_default();
        let text = format!("{kind}: {message}");
        text.chars().take(MESSAGE).collect()
    }
}

/// Which piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Run(RunId),
    Events(Held),
}

impl Work {
    fn of(id: &str) -> Result<Self, Fault> {
        let (run, lease, batch) = (id.parse(), id.parse(), id.parse());
        let lease = lease.map(|lease| Self::Events(Held::One(lease)));
        let batch = batch.map(|batch| Self::Events(Held::Batch(batch)));
        let known = run.map(Self::Run).ok().or(lease.ok()).or(batch.ok());
        known.ok_or_else(|| lease_lost(id))
    }
}

pub(super) async fn done(
    State(context): State<Context>,
    Caller(generation): Caller,
    Path(id): Path<String>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let report: Report<'_> = wire::read(&body)?;
    report.check()?;
    let work = Work::of(&id)?;
    let done = report.done(&context.endpoint, work, &id)?;
    if !done.events.is_empty() {
        context.check_not_halted(Code::Unavailable)?;
    }
    if !done.commits.is_empty() {
        write_rate::turn(&context).await?;
    }
    let ending = Ending {
        generation,
        work,
        attempt: report.attempt,
        outcome: work_outcome(report.outcome()),
        metrics: report.metrics.unwrap_or_default(),
        id,
    };
    let api = context.api.clone();
    api.complete_task(async move { ending.settle(&context, done).await })
        .await
}

/// The end of a piece of work on its way into the store and to the core.
struct Ending {
    generation: Generation,
    work: Work,
    attempt: u32,
    outcome: WorkOutcome,
    metrics: Vec<Sample>,
    id: String,
}

impl Ending {
    async fn settle(self, context: &Context, done: Done) -> Result<Response, Fault> {
        let endpoint = &context.endpoint;
        // No later attempt is offered between what is committed and the core's hearing of it.
        let _reporting = endpoint.reporting.read().await;
        let done = match self.work {
            Work::Run(run) => self.with_fence(endpoint, run, done),
            Work::Events(_) => done,
        };
        claw_failpoint::before(Step::WorkDone);
        let completed = match context.api.shared.store.transact(done).await {
            Ok(completed) => completed,
            Err(StoreError::StaleLease(_)) => {
                if let Work::Events(held) = self.work {
                    endpoint.settled(self.generation, held);
                }
                return Err(lease_lost(&self.id));
            }
            Err(error) => return Err(error.into()),
        };
        claw_failpoint::after(Step::WorkDone);
        if completed.repeated == Repeated::First {
            endpoint.series.take(&self.metrics);
        }
        self.finish(context).await;
        Ok(answer(&json!({
            "version": completed.seen.map_or(0, |seen| seen.version),
            "events": completed.events,
            "duplicate": completed.repeated == Repeated::Again,
        })))
    }

    /// A run that the agent does not have can only be one that it has reported before: anything
    /// else is refused before it changes something.
    fn with_fence(&self, endpoint: &Endpoint, run: RunId, done: Done) -> Done {
        let has = endpoint.with(self.generation, |session| session.has(run, self.attempt));
        let settle = (has != Some(true)).then_some((NOBODY, Settle::Ack));
        Done { settle, ..done }
    }

    async fn finish(&self, context: &Context) {
        let (api, endpoint) = (&context.api, &context.endpoint);
        match self.work {
            Work::Events(held) => {
                endpoint.settled(self.generation, held);
                api.show_work(endpoint, self.generation).await;
            }
            Work::Run(run) => {
                let finished = endpoint.with(self.generation, |session| {
                    session.finished(run, self.attempt)
                });
                if finished == Some(true) {
                    let fact = Fact::RunFinished {
                        instance: endpoint.instance(self.generation),
                        run,
                        attempt: self.attempt,
                        outcome: self.outcome.clone(),
                    };
                    api.tell(fact).await;
                }
                endpoint.wake();
            }
        }
        checkpoint(api, endpoint);
    }
}

fn lease_lost(id: &str) -> Fault {
    let id: String = id.chars().take(limits::ID).collect();
    Fault::new(Code::LeaseLost, format!("{id} is not in the agent's hands"))
}

impl Report<'_> {
    fn check(&self) -> Result<(), Fault> {
        for sample in self.metrics.iter().flatten() {
            sample.check()?;
        }
        if self
            .result
            .is_some_and(|result| result.get().len() > limits::RESULT)
        {
            return Err(Fault::too_large("the result", limits::RESULT));
        }
        let changes = self
            .state
            .iter()
            .flatten()
            .chain(self.shared.iter().flatten());
        let changes = changes.count() + self.events.iter().flatten().count();
        if !self.ok && changes > 0 {
            let message = "work that has failed changes no state and publishes nothing";
            return Err(Fault::bad("failed_with_changes", message));
        }
        Ok(())
    }

    fn done(&self, endpoint: &Endpoint, work: Work, id: &str) -> Result<Done, Fault> {
        let worker = endpoint.worker();
        let mut commits: Vec<Commit> = Vec::new();
        let parts = [(Space::Own, &self.state), (Space::Shared, &self.shared)];
        for (space, ops) in parts {
            let ops = outgoing::changes(ops.as_deref().unwrap_or_default(), space, &worker)?;
            if !ops.is_empty() {
                commits.push(outgoing::commit(endpoint, space, ops, Some(id)));
            }
        }
        let events = self.events.as_deref().unwrap_or_default();
        Ok(Done {
            member: endpoint.member(),
            // One agent's work is never taken for another's.
            work: Some(format!("{}/{id}", endpoint.agent)),
            attempt: self.attempt,
            settle: match work {
                Work::Events(held) => Some((held, self.settle())),
                Work::Run(_) => None,
            },
            look: Some(Look {
                namespace: endpoint.namespace(),
                keys: Vec::new(),
            }),
            commits,
            events: outgoing::events(events, &Origin::of_outcome(endpoint))?,
            outcome: self.outcome(),
        })
    }

    fn settle(&self) -> Settle {
        if self.ok {
            return Settle::Ack;
        }
        let (error, retryable) = self.failure();
        let after = self.error.as_ref().and_then(|error| error.retry_after_ms);
        if retryable {
            let delay = after.map(Duration::from_millis);
            Settle::Nak { delay, error }
        } else {
            Settle::Terminate { error }
        }
    }

    fn outcome(&self) -> Outcome {
        if self.ok {
            return Outcome::Succeeded;
        }
        let (error, retryable) = self.failure();
        Outcome::Failed { error, retryable }
    }

    fn failure(&self) -> (String, bool) {
        match &self.error {
            Some(error) => (error.sentence(), error.retryable != Some(false)),
            None => ("the agent did not say why".to_owned(), true),
        }
    }
}

/// Marks what the work has left behind. Nobody waits for it: a mark that fails is made up for by
/// the next one.
fn checkpoint(api: &AgentApi, endpoint: &Endpoint) {
    let (store, namespace) = (api.shared.store.clone(), endpoint.namespace());
    api.shared.tasks.spawn(async move {
        if let Err(error) = store.checkpoint(&namespace, Mark::Checkpoint, None).await {
            tracing::debug!(%namespace, %error, "no checkpoint was made");
        }
    });
}

fn work_outcome(outcome: Outcome) -> WorkOutcome {
    match outcome {
        Outcome::Succeeded => WorkOutcome::Succeeded,
        Outcome::Failed { error, retryable } => WorkOutcome::Failed {
            message: error,
            retryable,
        },
    }
}

/// How an attempt of a run ended that was reported and committed, although the core does not know
/// of it. A run that an earlier attempt has done is done.
pub(super) async fn reported(
    api: &AgentApi,
    endpoint: &Endpoint,
    run: RunId,
    attempt: u32,
) -> Result<Option<WorkOutcome>, StoreError> {
    let work = format!("{}/{run}", endpoint.agent);
    let last = api.shared.store.last_report(&work, attempt).await?;
    let ends = |last: &LastReport| last.attempt == attempt || last.outcome == Outcome::Succeeded;
    Ok(last.filter(ends).map(|last| work_outcome(last.outcome)))
}

/// Lets a run be offered again unless an earlier attempt of it has done it: the agent may have died
/// after its report was committed and before anybody knew.
pub(super) async fn check_again(
    api: AgentApi,
    endpoint: Arc<Endpoint>,
    (run, attempt): (RunId, u32),
    instance: InstanceId,
) {
    let generation = instance.generation;
    let before = loop {
        // A report that is under way ends first; a new one of an earlier attempt is refused.
        let between = endpoint.reporting.write().await;
        let asked = reported(&api, &endpoint, run, attempt - 1).await;
        drop(between);
        match asked {
            Ok(before) => break before,
            Err(error) => {
                tracing::warn!(%run, %error, "the run waits: it is not known whether it was done");
            }
        }
        let has = endpoint.with(generation, |session| session.has(run, attempt));
        if has != Some(true) || api.shared.closing.is_cancelled() {
            return;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    };
    match before {
        Some(WorkOutcome::Succeeded) => {}
        // What follows from a failure is the core's to decide, and it has.
        Some(WorkOutcome::Failed { .. } | WorkOutcome::NotBegun) | None => {
            endpoint.checked(generation, run);
            return;
        }
    }
    endpoint.with(generation, |session| session.drop_run(run));
    let fact = Fact::RunFinished {
        instance,
        run,
        attempt,
        outcome: WorkOutcome::Succeeded,
    };
    api.tell(fact).await;
}

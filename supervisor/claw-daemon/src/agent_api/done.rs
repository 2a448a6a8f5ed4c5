//! `POST /v1/work/{id}/done`: the outcome of a piece of work, with everything that it changes.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use claw_core::run::WorkOutcome;
use claw_core::{Fact, Generation, RunId};
use claw_store::StoreError;
use claw_store::bus::{Done, LeaseId, Repeated, Settle};
use claw_store::state::{Commit, Mark};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::admission::{Caller, Context, WholeBody, json as answer};
use super::api::AgentApi;
use super::endpoint::Endpoint;
use super::fault::{Code, Fault};
use super::outgoing::{self, Emitted, Op, Space};
use super::series::Sample;
use super::{limits, wire};

/// The longest message that is kept of a failure.
const MESSAGE: usize = 2000;

/// The lease of nobody: settling it is refused before anything is done.
const NOBODY: LeaseId = LeaseId(u64::MAX);

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
    Event(LeaseId),
}

pub(super) async fn done(
    State(context): State<Context>,
    Caller(generation): Caller,
    Path(id): Path<String>,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let report: Report<'_> = wire::read(&body)?;
    report.check()?;
    let work = match (id.parse::<RunId>(), id.parse::<LeaseId>()) {
        (Ok(run), _) => Work::Run(run),
        (Err(_), Ok(lease)) => Work::Event(lease),
        (Err(_), Err(_)) => return Err(lease_lost(&id)),
    };
    let done = report.done(&context.endpoint, work, &id)?;
    let done = match work {
        Work::Run(run) if !report.ok => return context.fail(generation, run, &report, &id).await,
        Work::Run(run) => context.with_fence(generation, run, done),
        Work::Event(_) => done,
    };
    let ids: Vec<String> = done.events.iter().map(|event| event.id.clone()).collect();
    let completed = match context.api.shared.store.transact(done).await {
        Ok(completed) => completed,
        Err(StoreError::StaleLease(_)) => {
            if let Work::Event(lease) = work {
                context.endpoint.settled(generation, lease);
            }
            return Err(lease_lost(&id));
        }
        Err(error) => return Err(error.into()),
    };
    let metrics = report.metrics.as_deref().unwrap_or_default();
    if completed.repeated == Repeated::First {
        context.endpoint.series.take(metrics);
    }
    context.finish(generation, work, &report).await;
    let own = report.state.as_ref().is_some_and(|ops| !ops.is_empty());
    let version = match completed.versions.first().filter(|_| own) {
        Some(version) => *version,
        None => super::state::head(&context.api, &context.endpoint.namespace()).await,
    };
    Ok(answer(&json!({
        "version": version,
        "events": ids,
        "duplicate": completed.repeated == Repeated::Again,
    })))
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
            work: format!("{}/{id}", endpoint.agent),
            attempt: self.attempt,
            settle: match work {
                Work::Event(lease) => Some((lease, self.settle())),
                Work::Run(_) => None,
            },
            commits,
            events: outgoing::events(events, endpoint.identity().as_str(), None)?,
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

    fn failure(&self) -> (String, bool) {
        match &self.error {
            Some(error) => (error.sentence(), error.retryable != Some(false)),
            None => ("the agent did not say why".to_owned(), true),
        }
    }
}

impl Context {
    /// A failed run changes nothing that must not be changed twice, so the store does not keep it.
    async fn fail(
        &self,
        generation: Generation,
        run: RunId,
        report: &Report<'_>,
        id: &str,
    ) -> Result<Response, Fault> {
        let (has, had) = self
            .endpoint
            .with(generation, |session| {
                let given = session.given.get(&run);
                let has = given.is_some_and(|given| given.context.attempt == report.attempt);
                (has, session.ended.contains(&(run, report.attempt)))
            })
            .unwrap_or_default();
        if !has && !had {
            return Err(lease_lost(id));
        }
        if has {
            self.endpoint
                .series
                .take(report.metrics.as_deref().unwrap_or_default());
            self.finish(generation, Work::Run(run), report).await;
        }
        let version = super::state::head(&self.api, &self.endpoint.namespace()).await;
        Ok(answer(
            &json!({"version": version, "events": [], "duplicate": !has}),
        ))
    }

    /// A run that the agent does not have can only be one that it has reported before: anything
    /// else is refused before it changes something.
    fn with_fence(&self, generation: Generation, run: RunId, done: Done) -> Done {
        let has = self.endpoint.with(generation, |session| {
            let given = session.given.get(&run);
            given.is_some_and(|given| given.context.attempt == done.attempt)
        });
        let settle = (has != Some(true)).then_some((NOBODY, Settle::Ack));
        Done { settle, ..done }
    }

    async fn finish(&self, generation: Generation, work: Work, report: &Report<'_>) {
        match work {
            Work::Event(lease) => self.endpoint.settled(generation, lease),
            Work::Run(run) => {
                let finished = (self.endpoint)
                    .with(generation, |session| session.finished(run, report.attempt));
                if finished == Some(true) {
                    let outcome = if report.ok {
                        WorkOutcome::Succeeded
                    } else {
                        let (message, retryable) = report.failure();
                        WorkOutcome::Failed { message, retryable }
                    };
                    let fact = Fact::RunFinished {
                        instance: self.endpoint.instance(generation),
                        run,
                        attempt: report.attempt,
                        outcome,
                    };
                    self.api.tell(fact).await;
                }
                self.endpoint.wake();
            }
        }
        checkpoint(&self.api, &self.endpoint);
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

/// Whether the end of a run was reported and committed, although the core does not know of it.
pub(super) async fn was_reported(
    api: &AgentApi,
    endpoint: &Endpoint,
    run: RunId,
    attempt: u32,
) -> bool {
    let question = Done {
        member: endpoint.member(),
        work: format!("{}/{run}", endpoint.agent),
        attempt,
        settle: Some((NOBODY, Settle::Ack)),
        commits: Vec::new(),
        events: Vec::new(),
    };
    let answer = api.shared.store.transact(question).await;
    answer.is_ok_and(|completed| completed.repeated == Repeated::Again)
}

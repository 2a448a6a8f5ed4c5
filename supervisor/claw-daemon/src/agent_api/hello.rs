//! `POST /v1/hello`, `/v1/ready` and `/v1/status`: how an agent introduces itself.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use claw_core::run::WorkOutcome;
use claw_core::{Fact, Generation, RunId, SelfCheck};
use claw_store::bus::{Held, LeaseId, Readiness, Start};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::admission::{Caller, Context, WholeBody, json as answer};
use super::api::{AgentApi, SelfReport};
use super::declared::{Declared, DeclaredSchedule, DeclaredSubscription};
use super::endpoint::Endpoint;
use super::fault::{Code, Fault};
use super::limits;
use super::origin::{Leases, in_hand};
use super::session::{Flow, Handshake, OwnCheck, Resumption, Session, Taken};
use super::{done, token, wire};
use crate::config::Scheduled;

/// Pieces of work that an agent may say it still does.
const RUNNING: usize = 1024;

/// The longest status line.
const STATUS: usize = 200;

#[derive(Deserialize)]
pub(super) struct Hello {
    protocols: Vec<u32>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    schedule: Option<DeclaredSchedule>,
    #[serde(default)]
    subscriptions: Option<Vec<DeclaredSubscription>>,
    /// What it answers from code of its own.
    #[serde(default)]
    probes: Option<Vec<String>>,
    #[serde(default)]
    resume: Option<Resume>,
}

#[derive(Deserialize)]
struct Resume {
    #[serde(default)]
    running: Vec<Running>,
}

/// A piece of work that the agent still does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Running {
    work: String,
    attempt: u32,
}

/// What becomes of work that was under way.
#[derive(Default)]
struct Resumed {
    goes_on: Vec<Running>,
    abandoned: Vec<Running>,
}

pub(super) async fn hello(
    State(context): State<Context>,
    Caller(generation): Caller,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let hello: Hello = wire::read(&body)?;
    let declared = check(&context.endpoint, generation, &hello)?;
    declare(&context, generation, declared).await?;
    let probes = hello.probes.unwrap_or_default();
    let own_check = if probes.iter().any(|probe| probe == "readiness") {
        OwnCheck::Declared
    } else {
        OwnCheck::Absent
    };
    let running = hello.resume.map(|resume| resume.running);
    if running
        .as_ref()
        .is_some_and(|running| running.len() > RUNNING)
    {
        return Err(Fault::bad(
            "too_many",
            "too much work is said to be under way",
        ));
    }
    let api = context.api.clone();
    api.complete_task(async move { introduce(&context, generation, running, own_check).await })
        .await
}

/// The old session ends first, so that nothing is given to it while the new one is made.
async fn introduce(
    context: &Context,
    generation: Generation,
    running: Option<Vec<Running>>,
    own_check: OwnCheck,
) -> Result<Response, Fault> {
    let endpoint = &context.endpoint;
    endpoint.with(generation, |session| {
        session.declare_check(own_check);
        session.id = None;
        session.handshake = Handshake::Expected;
        session.control = None;
        session.poll += 1;
    });
    endpoint.wake();
    // A report that is under way ends first: it must not settle what is taken for held meanwhile.
    let between = endpoint.reporting.write().await;
    let resumed = resume(context, generation, running).await?;
    drop(between);
    let id = token::random("s_", 12)?;
    let introduced = endpoint.with(generation, |session| {
        session.id = Some(id.clone());
        session.handshake = Handshake::Greeted;
        session.poll += 1;
    });
    if introduced.is_none() {
        return Err(Fault::new(Code::Fenced, "this life of the agent is over"));
    }
    endpoint.wake();
    Ok(answer(&welcome(endpoint, &id, &resumed)))
}

fn check(endpoint: &Endpoint, generation: Generation, hello: &Hello) -> Result<Declared, Fault> {
    if !hello.protocols.contains(&1) {
        let fault = Fault::new(Code::Unsupported, "this supervisor speaks protocol 1");
        return Err(fault.detail(json!({"protocols": [1]})));
    }
    let own = endpoint.instance(generation).to_string();
    if hello
        .instance
        .as_ref()
        .is_some_and(|instance| *instance != own)
    {
        let message = format!("the token is that of {own}; send $OPENCLAW_INSTANCE");
        return Err(Fault::new(Code::Forbidden, message));
    }
    let identity = endpoint.identity();
    if hello
        .name
        .as_ref()
        .is_some_and(|name| name != identity.as_str())
    {
        let message = format!(
            "the program calls itself something else than `{}`, its name in the fleet file",
            identity
        );
        return Err(Fault::bad("name_conflict", message));
    }
    let declared = Declared {
        schedule: hello.schedule.clone(),
        subscriptions: hello.subscriptions.clone().unwrap_or_default(),
        greeted: None,
        joined: None,
    };
    declared.check()?;
    Ok(declared)
}

/// Keeps what the program says of itself, and puts it in force where it is new.
async fn declare(
    context: &Context,
    generation: Generation,
    mut declared: Declared,
) -> Result<(), Fault> {
    declared.greeted = Some(generation);
    let filters = declared.filters()?;
    let agent_dir = context.api.agent_dir(&context.endpoint.agent);
    let reading = tokio::task::spawn_blocking(move || agent_dir.declared());
    let before = reading.await.unwrap_or_default();
    let rescheduled = before.schedule != declared.schedule;
    let owed = context.endpoint.joined;
    let owed = owed.filter(|_| before.greeted.is_none() && takes_nothing(context));
    let scheduled = {
        let mut inside = context.endpoint.lock();
        inside.asked = filters;
        inside.worker.scheduled
    };
    if before.subscriptions != declared.subscriptions {
        context.api.subscribe(&context.endpoint).await?;
        if let Some(first) = owed {
            // Others may have published what it takes before it could say so.
            let group = context.endpoint.identity();
            let store = &context.api.shared.store;
            store.seek(group.as_str(), Start::At(first)).await?;
        }
    }
    if before != declared {
        // Last, so that a hello that fails half-way is not taken for known the next time.
        let agent_dir = context.api.agent_dir(&context.endpoint.agent);
        let keeping = tokio::task::spawn_blocking(move || agent_dir.declare(&declared));
        if let Ok(Err(error)) = keeping.await {
            tracing::warn!(%error, "what an agent declares cannot be kept");
        }
    }
    if let (true, Scheduled::ByProgram, Some(reloader)) =
        (rescheduled, scheduled, context.api.shared.reloader.get())
    {
        reloader.redeclare().await;
    }
    Ok(())
}

/// Whether neither the file nor a replica has said what its group takes.
fn takes_nothing(context: &Context) -> bool {
    let written = context.endpoint.lock().worker.subscribe.is_empty();
    written && context.api.asked(&context.endpoint.identity()).is_empty()
}

/// Settles what becomes of work that was under way: what is listed goes on, the rest comes again.
async fn resume(
    context: &Context,
    generation: Generation,
    running: Option<Vec<Running>>,
) -> Result<Resumed, Fault> {
    let endpoint = &context.endpoint;
    let listed = running.unwrap_or_default();
    let others = context.api.held_beside(endpoint);
    let mut leases = leases_of(context, &listed).await?;
    leases.extend(&others);
    let events = context
        .api
        .shared
        .store
        .resume(&endpoint.member(), leases)
        .await?;
    let kept = events.kept.iter().map(in_hand);
    let kept: Leases = kept.filter(|(lease, _)| !others.contains(lease)).collect();
    let mut resumed = Resumed::default();
    let mut runs: Vec<(RunId, u32)> = Vec::new();
    for one in &listed {
        let run = one.work.parse::<RunId>().ok();
        let known = match run {
            Some(run) => knows(endpoint, generation, run, one.attempt),
            None => named(one).is_some_and(|named| {
                let mut kept = kept.iter();
                kept.any(|(lease, held)| named == Held::One(*lease) || named == held.piece(*lease))
            }),
        };
        if known {
            runs.extend(run.map(|run| (run, one.attempt)));
            resumed.goes_on.push(one.clone());
        } else {
            resumed.abandoned.push(one.clone());
        }
    }
    endpoint.with(generation, |session| session.leases = kept);
    resume_runs(&context.api, endpoint, generation, runs).await;
    Ok(resumed)
}

/// The delivery or the batch that an agent lists.
fn named(one: &Running) -> Option<Held> {
    let (lease, batch) = (one.work.parse(), one.work.parse());
    lease.map(Held::One).ok().or(batch.map(Held::Batch).ok())
}

/// The leases of what an agent lists.
async fn leases_of(context: &Context, listed: &[Running]) -> Result<Vec<LeaseId>, Fault> {
    let listed: BTreeSet<Held> = listed.iter().filter_map(named).collect();
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let (store, member) = (&context.api.shared.store, context.endpoint.member());
    let held = store.held(&member).await?;
    let held = held.iter().filter(|one| {
        let batch = one.batch.map(Held::Batch);
        listed.contains(&Held::One(one.lease)) || batch.is_some_and(|batch| listed.contains(&batch))
    });
    Ok(held.map(|one| one.lease).collect())
}

fn knows(endpoint: &Endpoint, generation: Generation, run: RunId, attempt: u32) -> bool {
    let known = endpoint.with(generation, |session| {
        session.has(run, attempt) || session.ended.contains(&(run, attempt))
    });
    known.unwrap_or(false)
}

/// Tells the core which runs go on. A run that was reported, and whose end an earlier supervisor
/// did not write down, is reported again on the agent's behalf.
async fn resume_runs(
    api: &AgentApi,
    endpoint: &Endpoint,
    generation: Generation,
    mut listed: Vec<(RunId, u32)>,
) {
    let Some((awaited, lost)) = endpoint.with(generation, |session| lost(session, &listed)) else {
        return;
    };
    let mut ended = Vec::new();
    for (run, attempt) in lost {
        let reported = done::reported(api, endpoint, run, attempt).await;
        let outcome = if let Ok(Some(outcome)) = reported {
            listed.push((run, attempt));
            outcome
        } else if awaited == Resumption::Awaited {
            continue;
        } else {
            WorkOutcome::Failed {
                message: "the agent does not work on it any more".to_owned(),
                retryable: true,
            }
        };
        ended.push((run, attempt, outcome));
    }
    let instance = endpoint.instance(generation);
    if awaited == Resumption::Awaited {
        let fact = Fact::Resumed {
            instance: instance.clone(),
            running: listed,
        };
        api.tell(fact).await;
    }
    for (run, attempt, outcome) in ended {
        let fact = Fact::RunFinished {
            instance: instance.clone(),
            run,
            attempt,
            outcome,
        };
        api.tell(fact).await;
    }
}

/// Takes the runs that the agent does not list out of its hands.
fn lost(session: &mut Session, listed: &[(RunId, u32)]) -> (Resumption, Vec<(RunId, u32)>) {
    let awaited = std::mem::replace(&mut session.resumption, Resumption::NotAwaited);
    let taken = session
        .given
        .values()
        .filter(|given| given.taken == Taken::Yes);
    let taken = taken.map(|given| (given.context.run, given.context.attempt));
    let lost: Vec<_> = taken.filter(|one| !listed.contains(one)).collect();
    for (run, _) in &lost {
        session.given.remove(run);
    }
    (awaited, lost)
}

fn welcome(endpoint: &Endpoint, session: &str, resumed: &Resumed) -> Json {
    let inside = endpoint.lock();
    let (spec, replica) = (&inside.spec, &inside.replica);
    let ms = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let level = spec.launch.env.get("OPENCLAW_LOG_LEVEL");
    let config = &spec.launch.config;
    let config = if config.is_null() {
        json!({})
    } else {
        config.clone()
    };
    let lease_ms = ms(inside.worker.delivery.lease);
    let goes_on = resumed.goes_on.iter();
    let goes_on =
        goes_on.map(|one| json!({"work": one.work, "attempt": one.attempt, "lease_ms": lease_ms}));
    let abandoned = resumed.abandoned.iter();
    let abandoned = abandoned.map(|one| json!({"work": one.work, "attempt": one.attempt}));
    json!({
        "protocol": 1, "session": session, "agent": replica.group,
        "replica": replica.index, "replicas": replica.count,
        "heartbeat_ms": ms(limits::HEARTBEAT), "max_concurrency": spec.concurrency,
        "phase": "initializing",
        "config": config, "secrets": inside.worker.secret_paths, "notifiers": [],
        "limits": {
            "body_bytes": limits::BODY, "value_bytes": limits::VALUE,
            "state_bytes": inside.worker.max_state_size, "key_bytes": limits::KEY,
            "event_bytes": limits::EVENT, "result_bytes": limits::RESULT,
            "batch_ops": limits::BATCH, "wait_s": 30, "metric_series": limits::SERIES,
            "setup_ms": ms(limits::SETUP_TIME), "stop_ms": ms(spec.shutdown.timeout),
        },
        "log_level": level.map_or("info", String::as_str),
        "capabilities": ["shared", "read_from", "fleet", "logs", "sandboxes"],
        "continue": goes_on.collect::<Vec<_>>(), "abandon": abandoned.collect::<Vec<_>>(),
    })
}

#[derive(Default, Deserialize)]
struct Ready {
    #[serde(default)]
    ok: Option<bool>,
    #[serde(default)]
    error: Option<done::WorkError>,
}

pub(super) async fn ready(
    State(context): State<Context>,
    Caller(generation): Caller,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let ready: Ready = wire::read_or_default(&body)?;
    let instance = context.endpoint.instance(generation);
    if ready.ok == Some(false) {
        let why = ready
            .error
            .map_or_else(String::new, |error| error.sentence());
        tracing::warn!(%instance, "the agent's setup failed: {why}");
        let status = format!("setup failed: {why}")
            .chars()
            .take(STATUS)
            .collect();
        context
            .api
            .notify(instance, SelfReport::Status(status))
            .await;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    become_ready(&context, generation).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The agent is ready: the core hears of it, and polls are answered from here on.
pub(super) async fn become_ready(context: &Context, generation: Generation) {
    let (api, endpoint) = (&context.api, &context.endpoint);
    let instance = endpoint.instance(generation);
    let is_asked = endpoint.worker().readiness.is_some();
    let awaits = endpoint.with(generation, |session| is_asked && session.await_own_check());
    if awaits == Some(true) {
        // It is asked only from its being ready on, so that its answer comes after this.
        set_ready(context, Readiness::Unready).await;
        let check = SelfCheck::Awaited;
        let instance = instance.clone();
        api.tell(Fact::SelfChecked { instance, check }).await;
    }
    let flow = endpoint.with(generation, |session| {
        session.handshake = Handshake::Ready;
        session.flow
    });
    endpoint.wake();
    if flow != Some(Flow::Unwell) {
        // Known from now on, it gets its share from the first event on.
        set_ready(context, Readiness::Ready).await;
    }
    api.notify(instance, SelfReport::Ready).await;
}

async fn set_ready(context: &Context, readiness: Readiness) {
    let (store, member) = (&context.api.shared.store, context.endpoint.member());
    if let Err(error) = store.set_ready(&member, readiness).await {
        tracing::debug!(%member, %error, "the bus learns of the agent when it asks for work");
    }
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    progress: Option<f64>,
}

pub(super) async fn status(
    State(context): State<Context>,
    Caller(generation): Caller,
    WholeBody(body): WholeBody,
) -> Result<Response, Fault> {
    let said: Status = wire::read_or_default(&body)?;
    if said
        .progress
        .is_some_and(|progress| !(0.0..=1.0).contains(&progress))
    {
        return Err(Fault::bad("bad_progress", "`progress` is from 0 to 1"));
    }
    if said
        .status
        .as_ref()
        .is_some_and(|text| text.chars().count() > STATUS)
    {
        return Err(Fault::bad(
            "too_long",
            "`status` has at most 200 characters",
        ));
    }
    let percent = said
        .progress
        .map(|progress| format!("{:.0} %", progress * 100.0));
    let words: Vec<String> = said.status.into_iter().chain(percent).collect();
    let text = words.join(", ");
    let instance = context.endpoint.instance(generation);
    context.api.notify(instance, SelfReport::Status(text)).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests;

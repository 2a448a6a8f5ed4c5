//! Where the events that an agent publishes come from: who publishes them, and what they follow
//! from. What is published at once, in the middle of a handler, belongs to the chain of the event
//! that is handled just as what is reported with its end does.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use claw_core::{AgentName, Generation};
use claw_store::bus::{BatchId, Cause, Delivery, Held, LeaseId};
use http::HeaderMap;
use http::request::Parts;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::admission::{Caller, Context};
use super::endpoint::Endpoint;
use super::fault::{Code, Fault};
use super::outgoing;
use super::session::Session;
use super::token::hex;
use crate::config::WorkerConfig;

/// Where an event comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) source: String,
    /// The `traceparent` of the request.
    pub(super) trace: Option<String>,
    pub(super) cause: Option<Cause>,
    /// What the fleet file says of the agent at this moment.
    worker: Arc<WorkerConfig>,
    agent: AgentName,
}

impl Origin {
    /// Events that a request publishes at once.
    pub(super) fn of(endpoint: &Endpoint, generation: Generation, headers: &HeaderMap) -> Self {
        let trace = outgoing::trace(headers);
        let inside = endpoint.lock();
        let session = inside.sessions.get(&generation);
        let agent = &inside.replica.group;
        Self {
            source: agent.to_string(),
            cause: session.and_then(|session| session.at_hand(trace.as_deref())),
            trace,
            worker: Arc::clone(&inside.worker),
            agent: agent.clone(),
        }
    }

    /// Events that end a piece of work, which the store knows.
    pub(super) fn of_outcome(endpoint: &Endpoint) -> Self {
        Self {
            source: endpoint.identity().to_string(),
            trace: None,
            cause: None,
            worker: endpoint.worker(),
            agent: endpoint.identity(),
        }
    }

    /// Checks that the agent may publish an event of this name.
    pub(super) fn allows(&self, topic: &str) -> Result<(), Fault> {
        if self.worker.may_publish(topic) {
            return Ok(());
        }
        let filters = self.worker.publishes.iter().flatten();
        let names: Vec<String> = filters
            .map(|filter| filter.as_str())
            .chain([topic])
            .map(written)
            .collect();
        let (agent, names) = (&self.agent, names.join(", "));
        let line = format!("publishes: [{names}]");
        let message = format!(
            "`{agent}` may not publish `{topic}`; the fleet file allows it with `{line}` under `agents: {agent}:`"
        );
        let detail = json!({"event": topic, "line": line});
        Err(Fault::new(Code::TopicNotAllowed, message).detail(detail))
    }
}

impl FromRequestParts<Context> for Origin {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Fault> {
        let Caller(generation) = Caller::from_request_parts(parts, context).await?;
        Ok(Self::of(&context.endpoint, generation, &parts.headers))
    }
}

/// A filter as the fleet file has it, where `*` and `>` have a meaning of their own.
fn written(filter: &str) -> String {
    if filter.contains(['*', '>']) {
        format!("\"{filter}\"")
    } else {
        filter.to_owned()
    }
}

/// Events in an agent's hands.
pub(super) type Leases = BTreeMap<LeaseId, InHand>;

/// An event in an agent's hands.
#[derive(Debug, Clone)]
pub(super) struct InHand {
    /// What follows from it.
    cause: Cause,
    /// What it was given with.
    pub(super) batch: Option<BatchId>,
}

impl InHand {
    /// The piece of work that it is, or is part of.
    pub(super) fn piece(&self, lease: LeaseId) -> Held {
        self.batch.map_or(Held::One(lease), Held::Batch)
    }
}

/// An event that an agent gets.
pub(super) fn in_hand(delivery: &Delivery) -> (LeaseId, InHand) {
    let cause = Cause {
        trace_parent: Some(traceparent(delivery)),
        ..delivery.event.as_cause()
    };
    let batch = delivery.batch;
    (delivery.lease, InHand { cause, batch })
}

/// The trace of the work that an event is, the same for as long as the lease lasts: a span of the
/// event's trace, or of one that its chain has.
pub(super) fn traceparent(delivery: &Delivery) -> String {
    let event = &delivery.event;
    let given = event.attributes.further.get("traceparent");
    let trace = given.and_then(|given| part(given, TRACE));
    let trace = trace.filter(|trace| trace.len() == 32).map(str::to_owned);
    let trace = trace.unwrap_or_else(|| {
        let first = event.attributes.correlation_id.as_ref();
        digits(first.unwrap_or(&event.id), 16)
    });
    let span = digits(&delivery.lease.to_string(), 8);
    format!("00-{trace}-{span}-01")
}

fn digits(name: &str, bytes: usize) -> String {
    hex(&Sha256::digest(name.as_bytes())[..bytes])
}

/// The places of trace and span in a `traceparent`.
const TRACE: usize = 1;
const SPAN: usize = 2;

fn part(trace: &str, place: usize) -> Option<&str> {
    trace.split('-').nth(place)
}

impl Session {
    /// What something that is published now follows from: the event whose work the request names
    /// by span or trace, or else the only piece of work in the agent's hands. Of a batch it is the
    /// event with the longest chain.
    fn at_hand(&self, trace: Option<&str>) -> Option<Cause> {
        for place in [SPAN, TRACE] {
            let named = trace.and_then(|trace| part(trace, place));
            let same = |cause: &&Cause| {
                let known = cause.trace_parent.as_deref();
                named.is_some() && known.and_then(|known| part(known, place)) == named
            };
            let causes = self.leases.values().map(|held| &held.cause);
            let mut found = causes.filter(same);
            if let (Some(cause), None) = (found.next(), found.next()) {
                return Some(cause.clone());
            }
        }
        let causes = self.leases.values().map(|held| &held.cause);
        let only = causes.max_by_key(|cause| cause.hop);
        only.filter(|_| self.busy() == 1).cloned()
    }
}

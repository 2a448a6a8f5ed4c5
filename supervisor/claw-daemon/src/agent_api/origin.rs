//! Where the events that an agent publishes come from: who publishes them, and what they follow
//! from. What is published at once, in the middle of a handler, belongs to the chain of the event
//! that is handled just as what is reported with its end does.

use std::collections::BTreeMap;

use claw_core::Generation;
use claw_store::bus::{Cause, Delivery, LeaseId};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::endpoint::Endpoint;
use super::outgoing;
use super::session::Session;
use super::token::hex;

/// Where an event comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) source: String,
    /// The `traceparent` of the request.
    pub(super) trace: Option<String>,
    pub(super) cause: Option<Cause>,
}

impl Origin {
    /// Events that a request publishes at once.
    pub(super) fn of(endpoint: &Endpoint, generation: Generation, headers: &HeaderMap) -> Self {
        let trace = outgoing::trace(headers);
        let held = endpoint.with(generation, |session| session.at_hand(trace.as_deref()));
        Self {
            source: endpoint.identity().to_string(),
            trace,
            cause: held.flatten(),
        }
    }

    /// Events that end a piece of work, which the store knows.
    pub(super) fn of_outcome(endpoint: &Endpoint) -> Self {
        Self {
            source: endpoint.identity().to_string(),
            trace: None,
            cause: None,
        }
    }
}

/// Events in an agent's hands, and what follows from each.
pub(super) type Leases = BTreeMap<LeaseId, Cause>;

/// What follows from an event in an agent's hands.
pub(super) fn follows(delivery: &Delivery) -> (LeaseId, Cause) {
    let cause = Cause {
        trace_parent: Some(traceparent(delivery)),
        ..delivery.event.as_cause()
    };
    (delivery.lease, cause)
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
    /// by span or trace, or else the only piece of work in the agent's hands.
    fn at_hand(&self, trace: Option<&str>) -> Option<Cause> {
        for place in [SPAN, TRACE] {
            let named = trace.and_then(|trace| part(trace, place));
            let same = |cause: &&Cause| {
                let known = cause.trace_parent.as_deref();
                named.is_some() && known.and_then(|known| part(known, place)) == named
            };
            let mut found = self.leases.values().filter(same);
            if let (Some(cause), None) = (found.next(), found.next()) {
                return Some(cause.clone());
            }
        }
        let only = self.leases.values().next().filter(|_| self.busy() == 1);
        only.cloned()
    }
}

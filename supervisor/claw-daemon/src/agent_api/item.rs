//! A piece of work as the agent gets it.

use claw_core::run::Trigger;
use claw_store::bus::Delivery;
use serde::Serialize;
use serde_json::value::RawValue;

use super::session::Given;
use super::{limits, origin, token, topics, wire};

/// A piece of work; the author's own JSON is in it byte by byte.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    work: String,
    attempt: u32,
    kind: &'static str,
    run: String,
    trigger: Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventTold>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    deadline: Option<String>,
    timeout_ms: Option<u64>,
    lease_ms: u64,
    traceparent: String,
}

/// What caused it.
#[derive(Debug, Serialize)]
struct Told {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    payload: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct EventTold {
    id: String,
    name: String,
    source: String,
    time: String,
    data: Option<Box<RawValue>>,
    key: Option<String>,
    chain: String,
    hops: u32,
}

impl Item {
    pub(super) fn of_run(given: &Given) -> Self {
        let context = &given.context;
        let slot = match &context.trigger {
            Trigger::Schedule { slot } => Some(wire::time(*slot)),
            Trigger::Manual | Trigger::Start => None,
        };
        let left = given.deadline.map(|deadline| {
            let left = deadline.duration_since(jiff::Timestamp::now());
            u64::try_from(left.as_millis()).unwrap_or(0)
        });
        let work = context.run.to_string();
        Self {
            run: work.clone(),
            work,
            attempt: context.attempt,
            kind: "run",
            trigger: Told {
                kind: context.trigger.code(),
                slot,
                payload: context.payload.as_deref().and_then(raw),
            },
            event: None,
            batch: None,
            deadline: given.deadline.map(wire::time),
            timeout_ms: left,
            lease_ms: lease_ms(),
            traceparent: new_trace(),
        }
    }

    pub(super) fn of_event(delivery: &Delivery) -> Self {
        let event = &delivery.event;
        let first = event.attributes.correlation_id.as_ref();
        let at = jiff::Timestamp::from_millisecond(event.at.0).unwrap_or_default();
        let work = delivery.lease.to_string();
        Self {
            run: work.clone(),
            work,
            attempt: delivery.attempt,
            kind: "event",
            trigger: Told {
                kind: "event",
                slot: None,
                payload: None,
            },
            event: Some(EventTold {
                id: event.id.clone(),
                name: topics::outside(&event.topic).to_owned(),
                source: event.source.clone(),
                time: wire::time(at),
                data: std::str::from_utf8(&event.data).ok().and_then(raw),
                key: event.key.clone(),
                chain: first.unwrap_or(&event.id).clone(),
                hops: event.attributes.hop,
            }),
            batch: delivery.batch.map(|batch| batch.to_string()),
            deadline: None,
            timeout_ms: None,
            lease_ms: lease_ms(),
            traceparent: origin::traceparent(delivery),
        }
    }
}

fn lease_ms() -> u64 {
    u64::try_from(limits::LEASE.as_millis()).unwrap_or(u64::MAX)
}

/// JSON as it was given; `null` where it is none.
fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

/// A span of a new trace.
fn new_trace() -> String {
    let (trace, span) = (token::correlation("", 16), token::correlation("", 8));
    format!("00-{trace}-{span}-01")
}

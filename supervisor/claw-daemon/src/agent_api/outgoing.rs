//! State changes and events on their way in: checked, and put into the words of the store.

use std::time::Duration;

use claw_store::bus::NewEvent;
use claw_store::state::{Commit, CommitCause, Expect, Namespace, StateOp, WriterId};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::endpoint::Endpoint;
use super::fault::{Code, Fault};
use super::origin::Origin;
use super::{limits, token, topics, wire};
use crate::config::WorkerConfig;

/// The longest key of an event.
const EVENT_KEY: usize = 256;

/// One step of a batch or of an outcome.
#[derive(Debug, Deserialize)]
pub(super) struct Op<'a> {
    pub(super) op: Verb,
    pub(super) key: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    ttl_ms: Option<u64>,
    #[serde(default)]
    if_version: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Get,
    Set,
    Delete,
}

/// Which map of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// The agent's own.
    Own,
    /// The fleet's.
    Shared,
}

impl Space {
    pub(super) fn namespace(self, endpoint: &Endpoint) -> Namespace {
        match self {
            Self::Own => endpoint.namespace(),
            Self::Shared => Namespace::shared(),
        }
    }

    pub(super) fn may_read(self, worker: &WorkerConfig, key: &str) -> Result<(), Fault> {
        match self {
            Self::Own => Ok(()),
            Self::Shared if worker.may_read(key) => Ok(()),
            Self::Shared => Err(forbidden(key, "read")),
        }
    }

    pub(super) fn may_write(self, worker: &WorkerConfig, key: &str) -> Result<(), Fault> {
        match self {
            Self::Own => Ok(()),
            Self::Shared if worker.may_write(key) => Ok(()),
            Self::Shared => Err(forbidden(key, "write")),
        }
    }
}

fn forbidden(key: &str, verb: &str) -> Fault {
    let key: String = key.chars().take(80).collect();
    let message = format!(
        "the agent may not {verb} `{key}` of the shared state; see `shared_state` in the fleet file"
    );
    Fault::new(Code::Forbidden, message)
}

impl Op<'_> {
    /// Checks the step; a `get` changes nothing.
    pub(super) fn change(
        &self,
        space: Space,
        worker: &WorkerConfig,
    ) -> Result<Option<StateOp>, Fault> {
        wire::check_key(&self.key)?;
        let key = self.key.clone();
        let expect = match self.if_version {
            None => Expect::Anything,
            Some(0) => Expect::Absent,
            Some(version) => Expect::Version(version),
        };
        match self.op {
            Verb::Get => {
                space.may_read(worker, &key)?;
                Ok(None)
            }
            Verb::Delete => {
                space.may_write(worker, &key)?;
                Ok(Some(StateOp::Delete { key, expect }))
            }
            Verb::Set => {
                space.may_write(worker, &key)?;
                let value = self.value.map_or("null", RawValue::get).as_bytes().to_vec();
                if value.len() > limits::VALUE {
                    return Err(Fault::too_large("a value", limits::VALUE));
                }
                let ttl = self.ttl_ms.map(Duration::from_millis);
                Ok(Some(StateOp::Set {
                    key,
                    value,
                    ttl,
                    expect,
                }))
            }
        }
    }
}

/// The changes of some steps.
pub(super) fn changes(
    ops: &[Op<'_>],
    space: Space,
    worker: &WorkerConfig,
) -> Result<Vec<StateOp>, Fault> {
    if ops.len() > limits::BATCH {
        return Err(Fault::bad(
            "too_many",
            format!("more than {} operations", limits::BATCH),
        ));
    }
    let changes = ops.iter().map(|op| op.change(space, worker));
    let changes: Result<Vec<_>, _> = changes.collect();
    Ok(changes?.into_iter().flatten().collect())
}

/// One version of a map.
pub(super) fn commit(
    endpoint: &Endpoint,
    space: Space,
    ops: Vec<StateOp>,
    run: Option<&str>,
) -> Commit {
    Commit {
        namespace: space.namespace(endpoint),
        writer: WriterId {
            name: endpoint.member().to_string(),
            epoch: 0,
        },
        ops,
        cause: CommitCause {
            run_id: run.map(str::to_owned),
            label: None,
        },
    }
}

/// An event on its way in.
#[derive(Debug, Deserialize)]
pub(super) struct Emitted<'a> {
    #[serde(default)]
    id: Option<String>,
    name: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    delay_ms: Option<u64>,
    #[serde(default)]
    expires_ms: Option<u64>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl Emitted<'_> {
    /// Checks the event, and puts it into the words of the bus.
    pub(super) fn event(&self, origin: &Origin) -> Result<NewEvent, Fault> {
        topics::check(&self.name)?;
        origin.allows(&self.name)?;
        let data = self.data.map_or("null", RawValue::get).as_bytes().to_vec();
        if data.len() > limits::EVENT {
            return Err(Fault::too_large("the data of an event", limits::EVENT));
        }
        if self
            .key
            .as_ref()
            .is_some_and(|key| key.is_empty() || key.len() > EVENT_KEY)
        {
            let message = format!("the key of an event has 1 to {EVENT_KEY} bytes");
            return Err(Fault::bad("bad_key", message));
        }
        let delay = self
            .delay_ms
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis);
        if delay.is_some_and(|delay| delay > limits::DELAY) {
            return Err(Fault::bad(
                "bad_delay",
                "an event is delayed by 30 days at most",
            ));
        }
        let trace = origin.trace.clone();
        let trace = trace.map(|trace| ("traceparent".to_owned(), trace));
        Ok(NewEvent {
            id: self.identity()?,
            source: origin.source.clone(),
            topic: self.name.clone(),
            key: self.key.clone(),
            data,
            attributes: trace.into_iter().collect(),
            delay,
            expires: self.expires_ms.map(expiry),
            cause: origin.cause.clone(),
        })
    }

    /// Events of one idempotency key are one event, so the key makes their id.
    fn identity(&self) -> Result<String, Fault> {
        if let Some(key) = &self.idempotency_key {
            if key.is_empty() || key.len() > 512 {
                return Err(Fault::bad(
                    "bad_id",
                    "an idempotency key has 1 to 512 bytes",
                ));
            }
            let digest = Sha256::digest(key.as_bytes());
            return Ok(format!("ik_{}", token::hex(&digest[..16])));
        }
        if let Some(id) = &self.id {
            wire::check_id(id, "the id of an event")?;
            return Ok(id.clone());
        }
        Ok(event_id()?)
    }
}

/// An id for an event whose publisher gives none.
///
/// # Errors
///
/// The system gives no random numbers: an event without an id of its own would be taken for a
/// repeat of another.
pub(crate) fn event_id() -> Result<String, token::NoRandomness> {
    token::random("e_", 12)
}

fn expiry(after_ms: u64) -> claw_store::store::UnixMs {
    let now = jiff::Timestamp::now().as_millisecond();
    let after = i64::try_from(after_ms).unwrap_or(i64::MAX);
    claw_store::store::UnixMs(now.saturating_add(after))
}

/// Many events.
pub(super) fn events(emitted: &[Emitted<'_>], origin: &Origin) -> Result<Vec<NewEvent>, Fault> {
    if emitted.len() > limits::BATCH {
        return Err(Fault::bad(
            "too_many",
            format!("more than {} events", limits::BATCH),
        ));
    }
    emitted.iter().map(|one| one.event(origin)).collect()
}

/// The trace that a request belongs to.
pub(super) fn trace(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let usable = value.len() <= 64 && value.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-');
    usable.then(|| value.to_owned())
}

/// The key under which the first answer to a request is kept, if it has one.
pub(super) fn idempotency(
    headers: &HeaderMap,
    endpoint: &Endpoint,
) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    wire::check_id(key, "an `Idempotency-Key`")?;
    Ok(Some(format!("idem/{}/{key}", endpoint.agent)))
}

//! Events, with the attributes of CloudEvents 1.0 and its published extensions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::store::UnixMs;

/// Where an event stands in the order of the store; the first is 1.
pub type Seq = u64;

/// An event as a publisher hands it in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique together with the source; a second one within the window is a duplicate.
    pub id: String,
    /// Who publishes: the name of an agent, of a hook.
    pub source: String,
    /// CloudEvents `type`: dot-separated tokens.
    pub topic: String,
    /// `partitionkey`: what order and sharding go by.
    pub key: Option<String>,
    /// JSON, kept byte by byte.
    pub data: Vec<u8>,
    /// Every other attribute by its CloudEvents name: `subject`, `dataref`, `traceparent`, …
    pub attributes: BTreeMap<String, String>,
    /// When it is to appear; at once without.
    pub delay: Option<Duration>,
    /// `expirytime`: past it nobody gets it.
    pub expires: Option<UnixMs>,
    /// What it follows from; in [`Done`](crate::bus::Done) the handled event, by itself.
    pub cause: Option<Cause>,
}

/// The place of an event in its chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `causationid`: the id of the event that was handled.
    pub causation_id: String,
    /// `correlationid`: the id of the first event of the chain.
    pub correlation_id: String,
    /// How many events lie between the first one and the one that follows.
    pub hop: u32,
    /// `traceparent` of the handled event.
    pub trace_parent: Option<String>,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `sequence`.
    pub seq: Seq,
    /// `id`.
    pub id: String,
    /// `source`.
    pub source: String,
    /// `type`.
    pub topic: String,
    /// `partitionkey`.
    pub key: Option<String>,
    /// `recordedtime`: when the store took it.
    pub at: UnixMs,
    /// `expirytime`.
    pub expires: Option<UnixMs>,
    /// The data, byte by byte.
    pub data: Vec<u8>,
    /// The chain and all further attributes.
    pub attributes: Attributes,
}

/// What else an event carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// `causationid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// `correlationid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// How many events of the chain lie before this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hop: u32,
    /// By CloudEvents name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub further: BTreeMap<String, String>,
}

impl Event {
    /// The cause of an event that follows from this one.
    #[must_use]
    pub fn as_cause(&self) -> Cause {
        let first = self.attributes.correlation_id.as_ref();
        Cause {
            causation_id: self.id.clone(),
            correlation_id: first.unwrap_or(&self.id).clone(),
            hop: self.attributes.hop + 1,
            trace_parent: self.attributes.further.get("traceparent").cloned(),
        }
    }

    /// A field of its data as a text: a text itself, a number or a truth value as it is written.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let data: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&self.data).ok()?;
        let written = data.get(name)?.get();
        match written.as_bytes().first()? {
            b'"' => serde_json::from_str(written).ok(),
            b'{' | b'[' | b'n' => None,
            _ => Some(written.to_owned()),
        }
    }

    /// About the memory it holds, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.data.len() + self.topic.len() + self.source.len() + self.id.len()
    }
}

/// What a publisher gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Where the event stands; a delayed one has no place before its time.
    pub seq: Option<Seq>,
    /// Whether it was there already.
    pub stored: Stored,
}

/// Whether an event is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is.
    New,
    /// One with the same source and id was published within the window.
    Duplicate,
}

/// How much a request survives before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// A power cut: it is synced to the disk.
    #[default]
    Disk,
    /// The death of the supervisor.
    Os,
}

/// Who publishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Publisher {
    /// An agent or a hook; `openclaw.>` is refused.
    #[default]
    Outside,
    /// The supervisor itself.
    Supervisor,
    /// The supervisor itself, under an id that it never uses again: nobody looks for a duplicate.
    SupervisorOnce,
}

pub(crate) type SharedEvent = Arc<Event>;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to it"
)]
fn is_zero(hop: &u32) -> bool {
    *hop == 0
}

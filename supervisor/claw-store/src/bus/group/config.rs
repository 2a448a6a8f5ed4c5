//! What a group takes and how it treats it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bus::event::{Event, Seq};
use crate::bus::slot::Sharding;
use crate::bus::topic::TopicFilter;
use crate::store::UnixMs;

/// A group: the consumers of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// An event that any of them takes is delivered, once.
    pub subscriptions: Vec<Subscription>,
    /// Whether events of one key wait for each other.
    pub ordering: Ordering,
    /// How events are divided among the replicas.
    pub sharding: Sharding,
    /// The field of an event's data that is its key here, in place of the key of its publisher,
    /// which still counts for events without the field.
    pub key: Option<String>,
    /// When and how often a failed event is tried again.
    pub retry: RetryPolicy,
    /// How long a replica may hold an event without a sign of life.
    pub lease: Duration,
    /// Events that one replica handles at a time.
    pub concurrency: u32,
    /// How many events may wait, and what happens with more.
    pub bound: Option<Bound>,
    /// How long it is quiet after an event before that is delivered: another one of the same topic
    /// and key within this time takes its place.
    pub debounce: Option<Duration>,
    /// How events are collected before they are delivered.
    pub batch: Option<Batch>,
}

impl GroupConfig {
    /// A group with one subscription and the usual values.
    #[must_use]
    pub fn new(filter: TopicFilter) -> Self {
        Self {
            subscriptions: vec![Subscription::to(filter)],
            ordering: Ordering::None,
            sharding: Sharding::None,
            key: None,
            retry: RetryPolicy::default(),
            lease: Duration::from_secs(60),
            concurrency: 1,
            bound: None,
            debounce: None,
            batch: None,
        }
    }

    /// Whether events wait for others before they are delivered.
    pub(crate) fn gathers(&self) -> bool {
        self.debounce.is_some() || self.batch.is_some()
    }

    /// Whether the group takes an event.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        self.subscriptions.iter().any(|one| one.takes(event))
    }

    /// What order and sharding go by; it needs the data of the event where a field of it is named.
    pub(crate) fn key_of<'e>(&self, event: &'e Event) -> Option<Cow<'e, str>> {
        let field = self.key.as_ref().and_then(|name| event.field(name));
        field
            .map(Cow::Owned)
            .or_else(|| event.key.as_deref().map(Cow::Borrowed))
    }
}

/// A filter of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The topics.
    pub topic: TopicFilter,
    /// The only sources, if any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Attributes that must have these values.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Subscription {
    /// Every event of these topics.
    #[must_use]
    pub fn to(topic: TopicFilter) -> Self {
        Self {
            topic,
            from: Vec::new(),
            attributes: BTreeMap::new(),
        }
    }

    /// Whether it takes an event.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        let further = &event.attributes.further;
        self.topic.matches(&event.topic)
            && (self.from.is_empty() || self.from.contains(&event.source))
            && (self.attributes.iter()).all(|(name, value)| further.get(name) == Some(value))
    }
}

/// Whether events of one topic and key wait for each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordering {
    /// Any free replica takes the next event.
    #[default]
    None,
    /// The next event of a topic and key starts when the one before it is settled. Events without
    /// a key wait for nothing.
    Key,
}

/// When and how often a failed event is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Deliveries after which an event is given up.
    pub max_attempts: u32,
    /// The delay after the first failure.
    pub base: Duration,
    /// It doubles with each failure up to this.
    pub max: Duration,
    /// Each delay is longer or shorter by up to this many percent.
    pub jitter_percent: u8,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            base: Duration::from_secs(1),
            max: Duration::from_secs(300),
            jitter_percent: 20,
        }
    }
}

/// When the events that wait are enough to be delivered, all at once to one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// When so many wait, at least 1; no more than these are in one batch.
    pub size: u32,
    /// When the oldest of them has waited so long.
    pub wait: Duration,
}

/// How many events may wait for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Events that are neither settled nor in flight.
    pub max_pending: u64,
    /// What happens with one more.
    pub policy: Overflow,
}

/// What happens with an event for a full group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// Its publisher is told to try again.
    Reject,
    /// Its publisher waits, at most this long.
    Block(Duration),
    /// The oldest one that waits is dropped and counted.
    DropOldest,
}

/// Where a group begins to read, or is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    #[default]
    Now,
    /// With the oldest event that is kept.
    Beginning,
    /// With the event of this number.
    At(Seq),
    /// With the first event recorded at this time or later.
    Time(UnixMs),
}

impl Serialize for TopicFilter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TopicFilter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_new(&text).map_err(serde::de::Error::custom)
    }
}

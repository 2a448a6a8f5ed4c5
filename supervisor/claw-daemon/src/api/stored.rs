//! State and dead letters, as they travel.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Time;

/// The keys of an agent's state, at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateKeyList {
    /// Whose; nobody's where it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The newest version; 0 when nothing was ever written.
    pub version: u64,
    /// The keys, in the order of their bytes.
    pub keys: Vec<StateKey>,
    /// The next `after`, if there are more.
    #[serde(default)]
    pub next: Option<String>,
}

/// A key of an agent's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateKey {
    /// The key.
    pub key: String,
    /// The version in which it was written last.
    pub version: u64,
    /// The size of its value.
    pub bytes: u64,
    /// When it disappears.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Time>,
}

/// The kept versions of an agent's state, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateVersionList {
    /// Whose; nobody's where it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The versions.
    pub versions: Vec<StateVersion>,
    /// The next `before`, if there are more.
    #[serde(default)]
    pub next: Option<u64>,
}

/// A version of an agent's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateVersion {
    /// Its number.
    pub version: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// How: `commit`, `ttl`, `rollback` or `import`.
    pub kind: String,
    /// Whether it is kept on purpose: `none`, `checkpoint` or `pinned`.
    pub mark: String,
    /// Who wrote it.
    pub writer: String,
    /// The work in which it was written.
    pub work: Option<String>,
    /// How many keys it changed.
    pub keys: u64,
    /// The size of the whole state.
    pub bytes: u64,
}

/// What differs between two versions of an agent's state.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StateDiff {
    /// Whose; nobody's where it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The keys that differ.
    pub changes: Vec<StateChange>,
    /// The next `after`, if there are more.
    #[serde(default)]
    pub next: Option<String>,
}

/// A key that differs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StateChange {
    /// The key.
    pub key: String,
    /// Its value before; none where it did not exist.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Box<RawValue>>,
    /// Its value after; none where it does not exist.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Box<RawValue>>,
}

/// The version that a change of state has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateWritten {
    /// The newest version.
    pub version: u64,
}

/// Which version to go back to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The version whose content is put back, as a new version.
    pub to: u64,
}

/// An event to publish.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Its name, such as `data_collected`.
    pub name: String,
    /// Any JSON, up to 1 MiB.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// Its id; a second event of the same id within ten minutes is not stored.
    #[serde(default)]
    pub id: Option<String>,
    /// What order and sharding go by.
    #[serde(default)]
    pub key: Option<String>,
    /// After so many milliseconds, up to 30 days.
    #[serde(default)]
    pub delay_ms: Option<u64>,
}

/// An event that is stored for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// Its id.
    pub id: String,
    /// Whether it was there already.
    pub duplicate: bool,
}

/// An event of the bus.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BusEvent {
    /// Where it stands in the order of the bus.
    pub sequence: u64,
    /// Its id, unique together with its source.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who published it.
    pub source: String,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What order and sharding go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The id of the event that its chain began with; its own where it began one.
    pub chain: String,
    /// How many events of its chain lie before it.
    pub hops: u32,
    /// Its data.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// From where on an agent gets events again; from the oldest that is kept without a point.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Which agent.
    pub agent: String,
    /// From the event of this number on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// From events of this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
}

/// What an agent has before it after a replay was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// Events that it gets.
    pub pending: u64,
}

/// What a call of a webhook has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookTaken {
    /// The event that was published.
    pub event: Option<String>,
    /// The run that was accepted.
    pub run: Option<String>,
    /// Whether this very call was taken before; nothing was done again then.
    pub duplicate: bool,
}

/// The events that an agent has given up, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterList {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// The next `before`, if there are more.
    #[serde(default)]
    pub next: Option<i64>,
}

/// An event that an agent has given up.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// Who gave it up.
    pub agent: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Deliveries before that.
    pub attempts: u32,
    /// Why: `max_attempts`, `crashed`, `terminated` or `hop_limit`.
    pub reason: String,
    /// What the last attempt said.
    pub error: Option<String>,
    /// The id of the event.
    pub event: String,
    /// Its name.
    pub name: String,
    /// Who published it.
    pub source: String,
    /// Its data.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterChoice {
    /// Of which agent.
    pub agent: String,
    /// Which one; all without.
    #[serde(default)]
    pub id: Option<i64>,
}

/// How many dead letters it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterCount {
    /// So many.
    pub count: u64,
}

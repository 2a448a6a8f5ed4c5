//! What is in a namespace and how it is changed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::UnixMs;

/// A version of a namespace; the first is 1.
pub type Version = u64;

/// A namespace: `agent:<name>` or `shared`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(String);

impl Namespace {
    /// The state of an agent.
    #[must_use]
    pub fn agent(name: &str) -> Self {
        Self(format!("agent:{name}"))
    }

    /// The state that agents share.
    #[must_use]
    pub fn shared() -> Self {
        Self("shared".to_owned())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_column(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value as it is at a version. The bytes are JSON; the store does not look into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// JSON, byte by byte as it was set.
    pub bytes: std::sync::Arc<[u8]>,
    /// The version that set it, for `if_version`.
    pub version: Version,
    /// When it disappears.
    pub expires: Option<UnixMs>,
}

/// What is read of a namespace in the transaction that changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Where.
    pub namespace: Namespace,
    /// Which keys, and what of each.
    pub keys: Vec<(String, What)>,
}

/// What is read of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its version: whether it is there.
    Version,
    /// Its value too.
    Value,
}

/// A key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The version that set it.
    pub version: Version,
    /// Its JSON, if it was asked for.
    pub value: Option<std::sync::Arc<[u8]>>,
}

/// A key and what is known of it without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key.
    pub key: String,
    /// The version that set it.
    pub version: Version,
    /// The size of its JSON.
    pub size: u64,
    /// When it disappears.
    pub expires: Option<UnixMs>,
}

/// A change to a namespace: one new version with all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Where.
    pub namespace: Namespace,
    /// Who.
    pub writer: WriterId,
    /// What, in order; a key may be in it more than once.
    pub ops: Vec<StateOp>,
    /// Why, for `state list` and `why`.
    pub cause: CommitCause,
}

/// Who changes a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterId {
    /// The agent and replica, or the user.
    pub name: String,
    /// Its epoch; lower than the namespace's it is refused.
    pub epoch: u64,
}

/// Why a namespace is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitCause {
    /// The run or handler.
    pub run_id: Option<String>,
    /// Words for people.
    pub label: Option<String>,
}

/// One step of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateOp {
    /// Sets a key.
    Set {
        /// The key.
        key: String,
        /// JSON.
        value: Vec<u8>,
        /// How long it stays; for good without.
        ttl: Option<Duration>,
        /// What must be there.
        expect: Expect,
    },
    /// Deletes a key; one that is not there is fine.
    Delete {
        /// The key.
        key: String,
        /// What must be there.
        expect: Expect,
    },
}

/// What must be at a key for a change to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    #[default]
    Anything,
    /// No value.
    Absent,
    /// The value that this version set.
    Version(Version),
}

/// What kind of change made a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionKind {
    /// An agent or a user set and deleted keys.
    Commit,
    /// Keys were removed because their time had passed.
    Ttl,
    /// The content of an older version was put back.
    Rollback,
    /// The content came from an export.
    Import,
}

/// A kept version of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number.
    pub version: Version,
    /// When it was made.
    pub at: UnixMs,
    /// How.
    pub kind: VersionKind,
    /// Whether it is a checkpoint.
    pub mark: Mark,
    /// Who made it.
    pub writer: WriterId,
    /// Why.
    pub cause: CommitCause,
    /// Keys that it changed.
    pub keys: u64,
    /// What the namespace held after it.
    pub live_bytes: u64,
}

/// What a version is kept for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing special.
    #[default]
    None,
    /// It is a checkpoint.
    Checkpoint,
    /// It is a checkpoint that pruning never removes.
    Pinned,
}

/// Which versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Every kept one.
    All,
    /// Checkpoints.
    Checkpoints,
}

/// Which content of a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum At {
    /// The newest.
    #[default]
    Head,
    /// That of a version.
    Version(Version),
    /// As it was at a time.
    Time(UnixMs),
}

/// How a key differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// The first version's value.
    pub before: Option<KeyInfo>,
    /// The second version's value.
    pub after: Option<KeyInfo>,
}

/// What is known of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Its name.
    pub name: Namespace,
    /// Its newest version.
    pub version: Version,
    /// Uncompressed JSON of its newest version.
    pub live_bytes: u64,
    /// What it may hold.
    pub max_bytes: u64,
    /// The epoch that its writers need.
    pub epoch: u64,
}

/// The content of a namespace at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose.
    pub namespace: Namespace,
    /// Which version; 0 where nothing was ever set.
    pub version: Version,
    /// In the order of the keys.
    pub entries: std::collections::BTreeMap<String, Value>,
}

/// What one round of pruning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Versions removed.
    pub versions: u64,
    /// Revisions of keys removed.
    pub revisions: u64,
    /// Chunks removed.
    pub chunks: u64,
    /// The longest time that the writer was busy with it.
    pub longest_pause: Duration,
}

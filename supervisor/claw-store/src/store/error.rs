//! What can go wrong, in words that name the object and what to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::bus::{LeaseId, TopicError};
use crate::state::Version;

/// Why a store could not be opened. Nothing on disk was changed or replaced.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another supervisor works with it.
    #[error("{} is in use by another supervisor; stop it, or give this one a data directory of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer supervisor has written it.
    #[error("{} was written by a newer version (schema {found}, this one knows {known}); install that version again, or restore the backup made before the upgrade", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The file is something else.
    #[error("{} is not a store of state and events; move it aside, or point the data directory somewhere else", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is broken.
    #[error("{} is damaged: {detail}; stop the supervisor, keep a copy, then restore a backup of it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The system or the database refused a step.
    #[error("could not {doing} {}", path.display())]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a store did not close cleanly. What was answered as done is done in any case.
#[derive(Debug, thiserror::Error)]
pub enum StoreCloseError {
    /// It did not end in time.
    #[error("the store did not end in time")]
    TimedOut,
    /// The disk refused what was left.
    #[error("the store could not write what was left: {0}")]
    Failed(String),
}

/// Why the store refused or could not do something; nothing of the request was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// More waits for the writer than may wait.
    #[error("too many requests wait for the store")]
    Busy,
    /// The disk is full. What needs no room goes on; nothing has to be restarted.
    #[error("no space left on the disk of the store")]
    NoSpace,
    /// The disk or the file failed.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// A stored value is not what was written.
    #[error("chunk or value {hash} of key {key:?} in {namespace} is damaged: {detail}")]
    Damaged {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
        /// Which stored piece.
        hash: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The writer was replaced by one with a higher epoch.
    #[error("{namespace} is written by epoch {current} now, not {given}")]
    Fenced {
        /// The namespace.
        namespace: String,
        /// The epoch in force.
        current: u64,
        /// The epoch of the writer.
        given: u64,
    },
    /// A key is not at the version that the writer expected.
    #[error("{key:?} is at version {actual:?}, not {expected:?}")]
    VersionConflict {
        /// The key.
        key: String,
        /// What was expected; nothing means that the key must not exist.
        expected: Option<Version>,
        /// What is there.
        actual: Option<Version>,
    },
    /// The namespace would hold more than it may.
    #[error("{namespace} would hold {needed} bytes and may hold {limit}")]
    QuotaExceeded {
        /// The namespace.
        namespace: String,
        /// What it would hold.
        needed: u64,
        /// What it may hold.
        limit: u64,
    },
    /// There is no such object.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// What kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A version is not kept any more, or does not exist yet.
    #[error("version {version} of {namespace} is not kept")]
    VersionGone {
        /// The namespace.
        namespace: String,
        /// The version.
        version: Version,
    },
    /// The request contradicts itself or a rule.
    #[error("{0}")]
    Invalid(String),
    /// A topic or filter is not well formed.
    #[error("the topic or filter is refused")]
    Topic(#[from] TopicError),
    /// An event or value is bigger than it may be.
    #[error("{what} of {size} bytes is larger than {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A group cannot take more.
    #[error("group {group} holds as many events as it may")]
    Backpressure {
        /// The group.
        group: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// A source published more than it may.
    #[error("{source_name} publishes more than it may")]
    RateLimited {
        /// The source.
        source_name: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The lease has ended, or was never the caller's.
    #[error("lease {0} is not held")]
    StaleLease(LeaseId),
}

impl StoreError {
    /// A word for programs that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed | Self::Unavailable(_) => "unavailable",
            Self::Busy => "busy",
            Self::NoSpace => "no_space",
            Self::Damaged { .. } => "damaged",
            Self::Fenced { .. } => "fenced",
            Self::VersionConflict { .. } => "version_conflict",
            Self::QuotaExceeded { .. } => "state_too_large",
            Self::NotFound { .. } => "not_found",
            Self::VersionGone { .. } => "version_gone",
            Self::Invalid(_) => "invalid",
            Self::Topic(error) => error.code(),
            Self::TooLarge { .. } => "too_large",
            Self::Backpressure { .. } => "backpressure",
            Self::RateLimited { .. } => "rate_limited",
            Self::StaleLease(_) => "stale_lease",
        }
    }
}

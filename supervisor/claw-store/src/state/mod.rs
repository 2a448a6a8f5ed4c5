//! State: namespaces of keys with JSON values, every change a version that can be gone back to.
//!
//! ```text
//!  ns ──► commit_log   one row per version: who, why, checkpoint or pinned
//!   └──► rev          one row per key and version that changed it ──► val ──► chunk, chunk, …
//!   └──► head         the newest of them                               content-addressed, zstd
//! ```
//!
//! A rollback copies pointers, never values. Values of 64 KiB and more are cut by content into
//! chunks, so a rewrite of a long list stores the few that changed.

mod api;
mod cache;
mod commit;
mod content;
mod look;
mod model;
mod policy;
mod prune;
mod read;
mod spaces;
mod transfer;
mod ttl;
mod value;

pub use model::{
    At, Commit, CommitCause, Difference, Expect, Found, KeyInfo, Look, Mark, Namespace,
    NamespaceInfo, Pruned, Snapshot, StateOp, Value, Version, VersionInfo, VersionKind, Versions,
    What, WriterId,
};
pub use policy::{Candidate, KeepPolicy};
pub use transfer::{Export, ExportedKey};

pub(crate) use cache::Cache;
pub(crate) use commit::{PreparedCommit, commit};
pub(crate) use look::{look, version};
pub(crate) use spaces::{SpaceState, Spaces};

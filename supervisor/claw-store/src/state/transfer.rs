//! Content in a form that outlives the file: JSON, one object.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cache::Cache;
use super::commit::check_key;
use super::model::{CommitCause, Namespace, Snapshot, Version, VersionKind, WriterId};
use super::read::{Content, Revision};
use super::value::Prepared;
use crate::store::{Core, StoreError, UnixMs};

/// The exported content of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Whose content it was.
    pub namespace: Namespace,
    /// Which version.
    pub version: Version,
    /// In the order of the keys.
    pub keys: Vec<ExportedKey>,
}

/// A key of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedKey {
    /// The key.
    pub key: String,
    /// JSON, byte by byte.
    pub value: Vec<u8>,
    /// When it disappears.
    pub expires: Option<UnixMs>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    namespace: Namespace,
    version: Version,
    keys: Vec<WrittenKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    key: String,
    value: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<UnixMs>,
}

impl Export {
    /// As JSON; the values are in it as they were set.
    ///
    /// # Errors
    ///
    /// A value is no JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut keys = Vec::with_capacity(self.keys.len());
        for one in &self.keys {
            keys.push(WrittenKey {
                key: one.key.clone(),
                value: serde_json::from_slice(&one.value)?,
                expires: one.expires,
            });
        }
        serde_json::to_vec(&Written {
            namespace: self.namespace.clone(),
            version: self.version,
            keys,
        })
    }

    /// Reads what [`Export::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        let written: Written = serde_json::from_slice(json)?;
        let keys = written.keys.into_iter().map(|one| ExportedKey {
            key: one.key,
            value: one.value.get().as_bytes().to_vec(),
            expires: one.expires,
        });
        Ok(Self {
            namespace: written.namespace,
            version: written.version,
            keys: keys.collect(),
        })
    }
}

impl From<Snapshot> for Export {
    fn from(snapshot: Snapshot) -> Self {
        let keys = snapshot
            .entries
            .into_iter()
            .map(|(key, value)| ExportedKey {
                key,
                value: value.bytes.to_vec(),
                expires: value.expires,
            });
        Self {
            namespace: snapshot.namespace,
            version: snapshot.version,
            keys: keys.collect(),
        }
    }
}

/// An export with its values hashed, cut and compressed.
pub(super) struct PreparedExport(Vec<(String, Prepared, Option<UnixMs>)>);

impl PreparedExport {
    pub(super) fn weight(&self) -> usize {
        self.0.iter().map(|(_, value, _)| value.weight()).sum()
    }
}

pub(super) fn prepare(export: Export, known: &Cache) -> Result<PreparedExport, StoreError> {
    let mut keys = Vec::with_capacity(export.keys.len());
    for one in export.keys {
        check_key(&one.key)?;
        keys.push((one.key, Prepared::new(one.value, known)?, one.expires));
    }
    Ok(PreparedExport(keys))
}

pub(super) fn import(
    core: &mut Core,
    namespace: &Namespace,
    export: &PreparedExport,
    writer: &WriterId,
    cause: &CommitCause,
) -> Result<Version, StoreError> {
    let mut draft = core.draft(namespace, writer)?;
    let mut wanted = Content::new();
    let mut lent = Vec::new();
    for (key, value, expires) in &export.0 {
        if expires.is_some_and(|at| at <= core.now) {
            continue;
        }
        let revision = Revision {
            version: draft.version,
            val: core.put_value(value)?,
            size: value.size(),
            expires: *expires,
        };
        lent.push(revision.val);
        wanted.insert(key.clone(), revision);
    }
    core.replace(&mut draft, &wanted)?;
    // What is pointed at counts for itself now.
    for val in lent {
        core.release_value(val)?;
    }
    core.finish(draft, VersionKind::Import, writer, cause)
}

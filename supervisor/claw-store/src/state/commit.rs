//! How a namespace gets a new version.

use rusqlite::{OptionalExtension, params};

use super::cache::{Cache, CachedKey, Change};
use super::model::{
    Commit, CommitCause, Expect, Mark, Namespace, StateOp, Value, Version, VersionKind, WriterId,
};
use super::spaces::SpaceState;
use super::value::Prepared;
use crate::bus::{column, number};
use crate::store::limits::KEY_BYTES;
use crate::store::{Core, StoreError, Undo, UnixMs};

/// A change with its values hashed, cut and compressed.
pub(crate) struct PreparedCommit {
    namespace: Namespace,
    writer: WriterId,
    cause: CommitCause,
    ops: Vec<PreparedOp>,
}

enum PreparedOp {
    Set {
        key: String,
        value: Prepared,
        ttl: Option<std::time::Duration>,
        expect: Expect,
    },
    Delete {
        key: String,
        expect: Expect,
    },
}

pub(super) fn size_of(op: &StateOp) -> usize {
    match op {
        StateOp::Set { value, .. } => value.len(),
        StateOp::Delete { .. } => 0,
    }
}

impl PreparedCommit {
    pub(super) fn new(commit: Commit, known: &Cache) -> Result<Self, StoreError> {
        let mut ops = Vec::with_capacity(commit.ops.len());
        for op in commit.ops {
            ops.push(match op {
                StateOp::Set {
                    key,
                    value,
                    ttl,
                    expect,
                } => {
                    check_key(&key)?;
                    PreparedOp::Set {
                        key,
                        value: Prepared::new(value, known)?,
                        ttl,
                        expect,
                    }
                }
                StateOp::Delete { key, expect } => PreparedOp::Delete { key, expect },
            });
        }
        Ok(Self {
            namespace: commit.namespace,
            writer: commit.writer,
            cause: commit.cause,
            ops,
        })
    }

    pub(crate) fn weight(&self) -> usize {
        let weights = self.ops.iter().map(|op| match op {
            PreparedOp::Set { value, .. } => value.weight(),
            PreparedOp::Delete { .. } => 64,
        });
        weights.sum()
    }
}

pub(super) fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES {
        let text = format!("a key has 1 to {KEY_BYTES} bytes");
        return Err(StoreError::Invalid(text));
    }
    Ok(())
}

/// A new version under way.
pub(super) struct Draft {
    pub(super) id: i64,
    pub(super) namespace: Namespace,
    pub(super) before: SpaceState,
    pub(super) version: Version,
    pub(super) live_bytes: u64,
    pub(super) keys: u64,
    pub(super) changes: Vec<Change>,
}

/// What is at a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadRow {
    pub(super) version: Version,
    pub(super) val: i64,
    pub(super) size: u64,
    pub(super) expires: Option<UnixMs>,
}

pub(crate) fn commit(core: &mut Core, commit: PreparedCommit) -> Result<Version, StoreError> {
    let mut draft = core.draft(&commit.namespace, &commit.writer)?;
    for op in commit.ops {
        match op {
            PreparedOp::Set {
                key,
                value,
                ttl,
                expect,
            } => {
                let head = core.expected(&draft, &key, expect)?;
                let expires = ttl.map(|ttl| core.now.after(ttl));
                let val = core.put_value(&value)?;
                let now = HeadRow {
                    version: draft.version,
                    val,
                    size: value.size(),
                    expires,
                };
                core.point(&mut draft, &key, head, now)?;
                let value = Value {
                    bytes: value.bytes,
                    version: draft.version,
                    expires,
                };
                let key = CachedKey::new(&draft.namespace, &key);
                draft.changes.push(Change::Set(key, value));
            }
            PreparedOp::Delete { key, expect } => {
                if let Some(head) = core.expected(&draft, &key, expect)? {
                    core.unpoint(&mut draft, &key, head)?;
                }
            }
        }
    }
    core.finish(draft, VersionKind::Commit, &commit.writer, &commit.cause)
}

impl Core {
    /// Begins a version, if the writer may.
    pub(super) fn draft(
        &mut self,
        namespace: &Namespace,
        writer: &WriterId,
    ) -> Result<Draft, StoreError> {
        let (id, mut before) = self.space(namespace)?;
        if writer.epoch < before.epoch {
            return Err(StoreError::Fenced {
                namespace: namespace.to_string(),
                current: before.epoch,
                given: writer.epoch,
            });
        }
        if writer.epoch > before.epoch {
            before.epoch = writer.epoch;
            self.spaces.set(id, before, &mut self.undo);
        }
        Ok(Draft {
            id,
            namespace: namespace.clone(),
            before,
            version: before.version + 1,
            live_bytes: before.live_bytes,
            keys: 0,
            changes: Vec::new(),
        })
    }

    /// What is at a key, if it is what the writer expects.
    fn expected(
        &self,
        draft: &Draft,
        key: &str,
        expect: Expect,
    ) -> Result<Option<HeadRow>, StoreError> {
        let head = self.head_row(draft.id, key)?;
        let live = head.filter(|head| head.expires.is_none_or(|at| at > self.now));
        let actual = live.map(|head| head.version);
        let wanted = match expect {
            Expect::Anything => return Ok(head),
            Expect::Absent => None,
            Expect::Version(version) => Some(version),
        };
        if actual != wanted {
            return Err(StoreError::VersionConflict {
                key: key.to_owned(),
                expected: wanted,
                actual,
            });
        }
        Ok(head)
    }

    pub(super) fn head_row(&self, id: i64, key: &str) -> Result<Option<HeadRow>, StoreError> {
        let sql = "SELECT ver, val, size, expires FROM head WHERE ns = ?1 AND key = ?2";
        let found = self
            .conn
            .prepare_cached(sql)?
            .query_row(params![id, key], |row| {
                Ok(HeadRow {
                    version: number(row.get(0)?),
                    val: row.get(1)?,
                    size: number(row.get(2)?),
                    expires: row.get::<_, Option<i64>>(3)?.map(UnixMs),
                })
            })
            .optional()?;
        Ok(found)
    }

    /// Points a key at a value that counts the revision already.
    pub(super) fn point(
        &mut self,
        draft: &mut Draft,
        key: &str,
        head: Option<HeadRow>,
        now: HeadRow,
    ) -> Result<(), StoreError> {
        self.revise(draft, key, head, Some(now.val), now.size, now.expires)?;
        let sql = "INSERT OR REPLACE INTO head (ns, key, ver, val, size, expires)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.conn.prepare_cached(sql)?.execute(params![
            draft.id,
            key,
            column(now.version),
            now.val,
            column(now.size),
            now.expires.map(|at| at.0),
        ])?;
        draft.live_bytes += now.size;
        if let Some(at) = now.expires {
            self.spaces.expires(at);
        }
        Ok(())
    }

    /// Deletes a key.
    pub(super) fn unpoint(
        &mut self,
        draft: &mut Draft,
        key: &str,
        head: HeadRow,
    ) -> Result<(), StoreError> {
        self.revise(draft, key, Some(head), None, 0, None)?;
        self.conn
            .prepare_cached("DELETE FROM head WHERE ns = ?1 AND key = ?2")?
            .execute(params![draft.id, key])?;
        let key = CachedKey::new(&draft.namespace, key);
        draft.changes.push(Change::Gone(key));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    fn revise(
        &mut self,
        draft: &mut Draft,
        key: &str,
        head: Option<HeadRow>,
        val: Option<i64>,
        size: u64,
        expires: Option<UnixMs>,
    ) -> Result<(), StoreError> {
        draft.live_bytes -= head.map_or(0, |head| head.size);
        // A key that is changed twice in one version has one revision of it.
        if let Some(head) = head
            && head.version == draft.version
        {
            self.release_value(head.val)?;
        } else {
            draft.keys += 1;
        }
        let sql = "INSERT OR REPLACE INTO rev (ns, key, ver, val, size, expires)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.conn.prepare_cached(sql)?.execute(params![
            draft.id,
            key,
            column(draft.version),
            val,
            column(size),
            expires.map(|at| at.0),
        ])?;
        Ok(())
    }

    /// Writes the version, unless nothing changed or it would hold too much.
    pub(super) fn finish(
        &mut self,
        draft: Draft,
        kind: VersionKind,
        writer: &WriterId,
        cause: &CommitCause,
    ) -> Result<Version, StoreError> {
        if draft.keys == 0 {
            return Ok(draft.before.version);
        }
        let grows = draft.live_bytes > draft.before.live_bytes;
        if grows && draft.live_bytes > draft.before.max_bytes {
            return Err(StoreError::QuotaExceeded {
                namespace: draft.namespace.to_string(),
                needed: draft.live_bytes,
                limit: draft.before.max_bytes,
            });
        }
        let sql = "INSERT INTO commit_log
            (ns, ver, at, kind, label, run_id, writer, epoch, keys, live_bytes)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.conn.prepare_cached(sql)?.execute(params![
            draft.id,
            column(draft.version),
            self.now.0,
            kind_column(kind),
            cause.label,
            cause.run_id,
            writer.name,
            column(writer.epoch),
            column(draft.keys),
            column(draft.live_bytes),
        ])?;
        let after = SpaceState {
            version: draft.version,
            live_bytes: draft.live_bytes,
            ..draft.before
        };
        self.spaces.set(draft.id, after, &mut self.undo);
        self.undo.push(Undo::Changes(self.spaces.changes.len()));
        self.spaces.changes.extend(draft.changes);
        Ok(draft.version)
    }
}

pub(super) fn checkpoint(
    core: &mut Core,
    namespace: &Namespace,
    mark: Mark,
    label: Option<&str>,
) -> Result<Option<Version>, StoreError> {
    let (id, state) = core.space(namespace)?;
    if state.version == 0 {
        return Ok(None);
    }
    let sql = "UPDATE commit_log SET mark = max(mark, ?3), label = coalesce(?4, label)
        WHERE ns = ?1 AND ver = ?2";
    let values = params![id, column(state.version), mark_column(mark), label];
    core.conn.prepare_cached(sql)?.execute(values)?;
    Ok(Some(state.version))
}

pub(super) fn set_quota(
    core: &mut Core,
    namespace: &Namespace,
    max_bytes: u64,
) -> Result<(), StoreError> {
    // A namespace that nobody has used yet begins with the default.
    if core.spaces.quota(namespace) == max_bytes {
        return Ok(());
    }
    let (id, state) = core.space(namespace)?;
    let after = SpaceState { max_bytes, ..state };
    core.spaces.set(id, after, &mut core.undo);
    Ok(())
}

pub(super) fn fence(core: &mut Core, namespace: &Namespace, epoch: u64) -> Result<(), StoreError> {
    let (id, state) = core.space(namespace)?;
    let epoch = epoch.max(state.epoch);
    let after = SpaceState { epoch, ..state };
    core.spaces.set(id, after, &mut core.undo);
    Ok(())
}

fn kind_column(kind: VersionKind) -> i64 {
    match kind {
        VersionKind::Commit => 0,
        VersionKind::Ttl => 1,
        VersionKind::Rollback => 2,
        VersionKind::Import => 3,
    }
}

pub(super) fn mark_column(mark: Mark) -> i64 {
    match mark {
        Mark::None => 0,
        Mark::Checkpoint => 1,
        Mark::Pinned => 2,
    }
}

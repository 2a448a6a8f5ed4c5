//! How the whole content of a namespace is replaced, by pointers.

use super::cache::Change;
use super::commit;
use super::commit::{Draft, HeadRow};
use super::model::{At, CommitCause, Mark, Namespace, Version, VersionKind, WriterId};
use super::read::{self, Content, Place};
use crate::store::{Core, StoreError};

/// Puts the content of an older version back.
pub(super) fn rollback(
    core: &mut Core,
    namespace: &Namespace,
    to: At,
    writer: &WriterId,
    cause: &CommitCause,
) -> Result<Version, StoreError> {
    // Readers' tables are behind memory within a transaction.
    core.flush_spaces()?;
    let Some(place) = Place::find(&core.conn, namespace, to)? else {
        return Err(StoreError::NotFound {
            kind: "namespace",
            name: namespace.to_string(),
        });
    };
    let mut wanted = read::content(&core.conn, place.id, place.version)?;
    wanted.retain(|_key, revision| revision.lives(core.now));
    let mut draft = core.draft(namespace, writer)?;
    core.replace(&mut draft, &wanted)?;
    if draft.keys > 0 {
        commit::checkpoint(core, namespace, Mark::Pinned, None)?;
    }
    core.finish(draft, VersionKind::Rollback, writer, cause)
}

impl Core {
    /// Makes the content of a namespace another one, key by key where they differ.
    pub(super) fn replace(
        &mut self,
        draft: &mut Draft,
        wanted: &Content,
    ) -> Result<(), StoreError> {
        let present = read::content(&self.conn, draft.id, draft.before.version)?;
        draft.changes.push(Change::All(draft.namespace.clone()));
        for (key, revision) in &present {
            if !wanted.contains_key(key) {
                let head = HeadRow {
                    version: revision.version,
                    val: revision.val,
                    size: revision.size,
                    expires: revision.expires,
                };
                self.unpoint(draft, key, head)?;
            }
        }
        for (key, revision) in wanted {
            let before = present.get(key);
            let same =
                |one: &read::Revision| one.val == revision.val && one.expires == revision.expires;
            if before.is_some_and(same) {
                continue;
            }
            self.share_value(revision.val)?;
            let head = self.head_row(draft.id, key)?;
            let now = HeadRow {
                version: draft.version,
                val: revision.val,
                size: revision.size,
                expires: revision.expires,
            };
            self.point(draft, key, head, now)?;
        }
        Ok(())
    }
}

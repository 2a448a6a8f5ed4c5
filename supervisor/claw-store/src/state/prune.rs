//! How versions that nobody needs go, in steps that hold up nobody.
//!
//! ```text
//!  reader: which versions does the policy keep? ──► writer: delete the others   (500 at a time)
//!  reader: which revisions lie between none?    ──► writer: delete them         (500 at a time)
//!  reader: which chunks are in no list?         ──► writer: delete them, except those that were
//!                                                    used again meanwhile       (500 at a time)
//! ```

use std::collections::HashSet;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use super::model::{Mark, Namespace, Pruned, Version};
use super::policy::Candidate;
use super::value::read_list;
use super::{KeepPolicy, read};
use crate::bus::{Level, column, number};
use crate::store::{Core, Kind, Store, StoreError, UnixMs};

/// Rows of one transaction.
const STEP: usize = 200;

/// A revision to delete.
type Superfluous = (String, Version, Option<i64>);

impl Store {
    /// Removes versions that the policy does not keep, and what only they needed.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; what was removed before stays removed.
    pub async fn prune(&self) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        for space in self.namespaces().await? {
            self.prune_versions(&space.name, &mut pruned).await?;
            self.prune_revisions(&space.name, &mut pruned).await?;
        }
        self.sweep_chunks(&mut pruned).await?;
        Ok(pruned)
    }

    async fn prune_versions(
        &self,
        namespace: &Namespace,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let (name, now) = (namespace.clone(), self.now());
        let keep = self.step(pruned, |core| Ok(core.keep.clone())).await?;
        let (id, versions) = self
            .read(move |conn| superfluous(conn, &name, &keep, now))
            .await?;
        for some in versions.chunks(STEP) {
            let some = some.to_vec();
            pruned.versions += self
                .step(pruned, move |core| drop_versions(core, id, &some))
                .await?;
        }
        Ok(())
    }

    async fn prune_revisions(
        &self,
        namespace: &Namespace,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let name = namespace.clone();
        let (id, revisions) = self.read(move |conn| unneeded(conn, &name)).await?;
        for some in revisions.chunks(STEP) {
            let some = some.to_vec();
            pruned.revisions += self
                .step(pruned, move |core| drop_revisions(core, id, &some))
                .await?;
        }
        Ok(())
    }

    async fn sweep_chunks(&self, pruned: &mut Pruned) -> Result<(), StoreError> {
        let begin = |core: &mut Core| {
            core.spaces.begin_sweep();
            Ok(())
        };
        self.step(pruned, begin).await?;
        let unused = self.read(unused_chunks).await?;
        for some in unused.chunks(STEP) {
            let some = some.to_vec();
            pruned.chunks += self
                .step(pruned, move |core| drop_chunks(core, &some))
                .await?;
        }
        let end = |core: &mut Core| {
            core.spaces.end_sweep();
            Ok(())
        };
        self.step(pruned, end).await
    }

    /// One step of the writer, timed.
    async fn step<T: Send + 'static>(
        &self,
        pruned: &mut Pruned,
        work: impl FnOnce(&mut Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let timed = move |core: &mut Core| {
            let began = Instant::now();
            work(core).map(|answer| (answer, began.elapsed()))
        };
        let (answer, busy) = self.write(Level::Os, Kind::Guarded, 0, timed).await?;
        pruned.longest_pause = pruned.longest_pause.max(busy);
        Ok(answer)
    }
}

fn superfluous(
    conn: &Connection,
    namespace: &Namespace,
    keep: &KeepPolicy,
    now: UnixMs,
) -> Result<(i64, Vec<Version>), StoreError> {
    let id = id_of(conn, namespace)?;
    let sql = "SELECT ver, at, mark FROM commit_log WHERE ns = ?1 ORDER BY ver";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([id], |row| {
        Ok(Candidate {
            version: number(row.get(0)?),
            at: UnixMs(row.get(1)?),
            mark: read::mark(row.get(2)?),
        })
    })?;
    let versions: Result<Vec<_>, _> = rows.collect();
    let versions = versions?;
    let mut drop = keep.superfluous(&versions, now);
    if let Some(first) = first_within(conn, id, keep.history)? {
        let known: HashSet<Version> = drop.iter().copied().collect();
        let head = versions.last().map(|one| one.version);
        let too_old = versions.iter().filter(|one| {
            one.version < first && one.mark != Mark::Pinned && Some(one.version) != head
        });
        drop.extend((too_old.map(|one| one.version)).filter(|version| !known.contains(version)));
    }
    Ok((id, drop))
}

/// The first version that is kept when a namespace has more history than it may; nothing if it
/// has less. A revision is needed by the versions before the next one of its key, so revisions
/// are counted by their successors, the newest first.
fn first_within(conn: &Connection, id: i64, times: u64) -> Result<Option<Version>, StoreError> {
    let sql = "SELECT max_bytes FROM ns WHERE id = ?1";
    let quota: i64 = conn
        .prepare_cached(sql)?
        .query_row([id], |row| row.get(0))?;
    let mut left = number(quota).saturating_mul(times);
    let sql = "SELECT val, next FROM (SELECT val, lead(ver) OVER (PARTITION BY key ORDER BY ver)
        AS next FROM rev WHERE ns = ?1) WHERE val IS NOT NULL ORDER BY next DESC NULLS FIRST";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([id])?;
    let mut seen = Stored::default();
    while let Some(row) = rows.next()? {
        let next: Option<i64> = row.get(1)?;
        let bytes = seen.add(conn, row.get(0)?)?;
        match (left.checked_sub(bytes), next) {
            (Some(rest), _) => left = rest,
            (None, Some(next)) => return Ok(Some(number(next))),
            // What is in force now is the business of the quota.
            (None, None) => left = 0,
        }
    }
    Ok(None)
}

/// Values and chunks that are counted already.
#[derive(Default)]
struct Stored {
    values: HashSet<i64>,
    chunks: HashSet<i64>,
}

impl Stored {
    /// The bytes that a value takes beside those counted before.
    fn add(&mut self, conn: &Connection, value: i64) -> Result<u64, StoreError> {
        if !self.values.insert(value) {
            return Ok(0);
        }
        let sql = "SELECT length(data), CASE enc WHEN 2 THEN data END FROM val WHERE id = ?1";
        let (mut bytes, list): (i64, Option<Vec<u8>>) = conn
            .prepare_cached(sql)?
            .query_row([value], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let chunks = list.as_deref().and_then(read_list).unwrap_or_default();
        for chunk in chunks {
            if self.chunks.insert(chunk) {
                let sql = "SELECT length(data) FROM chunk WHERE id = ?1";
                let size: Option<i64> = conn
                    .prepare_cached(sql)?
                    .query_row([chunk], |row| row.get(0))
                    .optional()?;
                bytes += size.unwrap_or(0);
            }
        }
        Ok(number(bytes))
    }
}

/// One that was marked meanwhile is kept.
fn drop_versions(core: &mut Core, id: i64, versions: &[Version]) -> Result<u64, StoreError> {
    let sql = "DELETE FROM commit_log WHERE ns = ?1 AND ver = ?2 AND mark < 2";
    let mut query = core.conn.prepare_cached(sql)?;
    let mut count = 0;
    for version in versions {
        count += query.execute([id, column(*version)])?;
    }
    Ok(count as u64)
}

/// Revisions that are in force at no version that is kept: another one follows, and no kept
/// version lies between. A deletion of which nothing before is kept says nothing either.
fn unneeded(
    conn: &Connection,
    namespace: &Namespace,
) -> Result<(i64, Vec<Superfluous>), StoreError> {
    let id = id_of(conn, namespace)?;
    let mut query = conn.prepare_cached("SELECT ver FROM commit_log WHERE ns = ?1 ORDER BY ver")?;
    let kept = query.query_map([id], |row| row.get(0).map(number))?;
    let kept: Result<Vec<Version>, _> = kept.collect();
    let kept = kept?;

    let sql = "SELECT key, ver, val FROM rev WHERE ns = ?1 ORDER BY key, ver";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([id])?;
    let mut found = Vec::new();
    let mut last: Option<(Superfluous, bool)> = None;
    while let Some(row) = rows.next()? {
        let next: Superfluous = (row.get(0)?, number(row.get(1)?), row.get(2)?);
        let mut has_past = false;
        if let Some((before, past)) = last.take() {
            let follows = before.0 == next.0;
            let between = kept.partition_point(|version| *version < before.1);
            let needed = !follows || kept.get(between).is_some_and(|version| *version < next.1);
            let says = needed && (before.2.is_some() || past);
            has_past = follows && (says || past);
            if !says {
                found.push(before);
            }
        }
        last = Some((next, has_past));
    }
    if let Some((before, past)) = last
        && before.2.is_none()
        && !past
    {
        found.push(before);
    }
    Ok((id, found))
}

fn drop_revisions(core: &mut Core, id: i64, revisions: &[Superfluous]) -> Result<u64, StoreError> {
    let sql = "DELETE FROM rev WHERE ns = ?1 AND key = ?2 AND ver = ?3";
    let mut count = 0;
    for (key, version, val) in revisions {
        let values = params![id, key, column(*version)];
        if core.conn.prepare_cached(sql)?.execute(values)? == 0 {
            continue;
        }
        count += 1;
        if let Some(val) = val {
            core.release_value(*val)?;
        }
    }
    Ok(count)
}

fn unused_chunks(conn: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut used = HashSet::new();
    let mut query = conn.prepare_cached("SELECT data FROM val WHERE enc = 2")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let list = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let ids = read_list(list);
        let ids =
            ids.ok_or_else(|| StoreError::Unavailable("a list of chunks is damaged".into()))?;
        used.extend(ids);
    }
    let mut query = conn.prepare_cached("SELECT id FROM chunk")?;
    let ids = query.query_map([], |row| row.get::<_, i64>(0))?;
    let mut unused = Vec::new();
    for id in ids {
        let id = id?;
        if !used.contains(&id) {
            unused.push(id);
        }
    }
    Ok(unused)
}

fn drop_chunks(core: &mut Core, chunks: &[i64]) -> Result<u64, StoreError> {
    let mut count = 0;
    for id in chunks {
        if !core.spaces.was_touched(*id) {
            count += core
                .conn
                .prepare_cached("DELETE FROM chunk WHERE id = ?1")?
                .execute([id])?;
        }
    }
    Ok(count as u64)
}

fn id_of(conn: &Connection, namespace: &Namespace) -> Result<i64, StoreError> {
    let sql = "SELECT id FROM ns WHERE name = ?1";
    let id = conn.prepare_cached(sql)?;
    let mut id = id;
    Ok(id.query_row([namespace.as_str()], |row| row.get(0))?)
}

//! Questions to namespaces, on a reader's connection or the writer's.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::model::{
    At, CommitCause, Difference, KeyInfo, Mark, Namespace, NamespaceInfo, Snapshot, Value, Version,
    VersionInfo, VersionKind, Versions, WriterId,
};
use super::value;
use crate::bus::{column, number};
use crate::store::{StoreError, UnixMs};

/// Versions that one answer holds at most.
pub(super) const VERSIONS: usize = 10_000;

/// A revision that is in force at some version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) version: Version,
    pub(super) val: i64,
    pub(super) size: u64,
    pub(super) expires: Option<UnixMs>,
}

pub(super) type Content = BTreeMap<String, Revision>;

impl Revision {
    fn info(self, key: String) -> KeyInfo {
        KeyInfo {
            key,
            version: self.version,
            size: self.size,
            expires: self.expires,
        }
    }

    pub(super) fn lives(self, now: UnixMs) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

pub(super) fn get(
    conn: &Connection,
    namespace: &Namespace,
    key: &str,
    at: At,
    now: UnixMs,
) -> Result<Option<Value>, StoreError> {
    let Some(place) = Place::find(conn, namespace, at)? else {
        return Ok(None);
    };
    let found = match at {
        At::Head => {
            let sql = "SELECT ver, val, size, expires FROM head WHERE ns = ?1 AND key = ?2";
            conn.prepare_cached(sql)?
                .query_row(params![place.id, key], |row| revision(row, 0))
                .optional()?
                .flatten()
                .filter(|revision| revision.lives(now))
        }
        At::Version(_) | At::Time(_) => {
            let sql = "SELECT ver, val, size, expires FROM rev
                WHERE ns = ?1 AND key = ?2 AND ver <= ?3 ORDER BY ver DESC LIMIT 1";
            conn.prepare_cached(sql)?
                .query_row(params![place.id, key, column(place.version)], |row| {
                    revision(row, 0)
                })
                .optional()?
                .flatten()
        }
    };
    match found {
        Some(revision) => load(conn, namespace, key, revision).map(Some),
        None => Ok(None),
    }
}

fn load(
    conn: &Connection,
    namespace: &Namespace,
    key: &str,
    revision: Revision,
) -> Result<Value, StoreError> {
    let bytes = value::load(conn, revision.val)?.map_err(|damage| StoreError::Damaged {
        namespace: namespace.to_string(),
        key: key.to_owned(),
        hash: damage.hash,
        detail: damage.detail,
    })?;
    Ok(Value {
        bytes,
        version: revision.version,
        expires: revision.expires,
    })
}

pub(super) fn list(
    conn: &Connection,
    namespace: &Namespace,
    prefix: &str,
    at: At,
    now: UnixMs,
) -> Result<Vec<KeyInfo>, StoreError> {
    let Some(place) = Place::find(conn, namespace, at)? else {
        return Ok(Vec::new());
    };
    let keys = match at {
        At::Head => {
            let sql = "SELECT key, ver, val, size, expires FROM head
                WHERE ns = ?1 AND key >= ?2 AND substr(key, 1, length(?2)) = ?2 ORDER BY key";
            let mut query = conn.prepare_cached(sql)?;
            let rows = query.query_map(params![place.id, prefix], |row| {
                Ok((row.get::<_, String>(0)?, revision(row, 1)?))
            })?;
            let keys: Result<Vec<_>, _> = rows.collect();
            let live = |revision: &Revision| revision.lives(now);
            (keys?.into_iter())
                .filter_map(|(key, revision)| Some(revision.filter(live)?.info(key)))
                .collect()
        }
        At::Version(_) | At::Time(_) => {
            let content = content(conn, place.id, place.version)?.into_iter();
            let content = content.filter(|(key, _)| key.starts_with(prefix));
            content.map(|(key, revision)| revision.info(key)).collect()
        }
    };
    Ok(keys)
}

pub(super) fn snapshot(
    conn: &Connection,
    namespace: &Namespace,
    at: At,
    now: UnixMs,
) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot {
        namespace: namespace.clone(),
        version: 0,
        entries: BTreeMap::new(),
    };
    let Some(place) = Place::find(conn, namespace, at)? else {
        return Ok(snapshot);
    };
    snapshot.version = place.version;
    for (key, revision) in content(conn, place.id, place.version)? {
        if at == At::Head && !revision.lives(now) {
            continue;
        }
        let value = load(conn, namespace, &key, revision)?;
        snapshot.entries.insert(key, value);
    }
    Ok(snapshot)
}

pub(super) fn diff(
    conn: &Connection,
    namespace: &Namespace,
    before: At,
    after: At,
) -> Result<Vec<Difference>, StoreError> {
    let side = |at| match Place::find(conn, namespace, at)? {
        Some(place) => content(conn, place.id, place.version),
        None => Ok(Content::new()),
    };
    let (mut before, after) = (side(before)?, side(after)?);
    let mut differences = Vec::new();
    for (key, after) in after {
        let before = before.remove(&key);
        let same = |one: Revision| one.val == after.val && one.expires == after.expires;
        if !before.is_some_and(same) {
            differences.push(Difference {
                before: before.map(|one| one.info(key.clone())),
                after: Some(after.info(key.clone())),
                key,
            });
        }
    }
    differences.extend(before.into_iter().map(|(key, one)| Difference {
        before: Some(one.info(key.clone())),
        after: None,
        key,
    }));
    differences.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(differences)
}

/// Everything in force at a version.
pub(super) fn content(conn: &Connection, id: i64, version: Version) -> Result<Content, StoreError> {
    // Next to max(), SQLite takes the other columns from the row that has the maximum.
    let sql = "SELECT key, max(ver), val, size, expires FROM rev
        WHERE ns = ?1 AND ver <= ?2 GROUP BY key";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(params![id, column(version)])?;
    let mut content = Content::new();
    while let Some(row) = rows.next()? {
        if let Some(revision) = revision(row, 1)? {
            content.insert(row.get(0)?, revision);
        }
    }
    Ok(content)
}

fn revision(row: &Row<'_>, first: usize) -> Result<Option<Revision>, rusqlite::Error> {
    let Some(val) = row.get(first + 1)? else {
        return Ok(None);
    };
    Ok(Some(Revision {
        version: number(row.get(first)?),
        val,
        size: number(row.get(first + 2)?),
        expires: row.get::<_, Option<i64>>(first + 3)?.map(UnixMs),
    }))
}

/// A version of a namespace that exists.
pub(super) struct Place {
    pub(super) id: i64,
    pub(super) version: Version,
}

impl Place {
    /// Nothing where the namespace was never written.
    pub(super) fn find(
        conn: &Connection,
        namespace: &Namespace,
        at: At,
    ) -> Result<Option<Self>, StoreError> {
        let sql = "SELECT id, ver FROM ns WHERE name = ?1";
        let found: Option<(i64, i64)> = conn
            .prepare_cached(sql)?
            .query_row([namespace.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, head)) = found else {
            return Ok(None);
        };
        let version = match at {
            At::Head => number(head),
            At::Version(version) => kept(conn, namespace, id, version)?,
            At::Time(time) => at_time(conn, namespace, id, time)?,
        };
        Ok(Some(Self { id, version }))
    }
}

fn kept(
    conn: &Connection,
    namespace: &Namespace,
    id: i64,
    version: Version,
) -> Result<Version, StoreError> {
    let sql = "SELECT 1 FROM commit_log WHERE ns = ?1 AND ver = ?2";
    let found = conn
        .prepare_cached(sql)?
        .exists(params![id, column(version)])?;
    if found || version == 0 {
        return Ok(version);
    }
    Err(StoreError::VersionGone {
        namespace: namespace.to_string(),
        version,
    })
}

/// The version in force at a time. Before the first one that is kept nothing is known, unless that
/// is the first of all.
fn at_time(
    conn: &Connection,
    namespace: &Namespace,
    id: i64,
    time: UnixMs,
) -> Result<Version, StoreError> {
    let sql = "SELECT ver FROM commit_log WHERE ns = ?1 AND at <= ?2 ORDER BY ver DESC LIMIT 1";
    let found: Option<i64> = conn
        .prepare_cached(sql)?
        .query_row([id, time.0], |row| row.get(0))
        .optional()?;
    if let Some(found) = found {
        return Ok(number(found));
    }
    let sql = "SELECT min(ver) FROM commit_log WHERE ns = ?1";
    let first: Option<i64> = conn
        .prepare_cached(sql)?
        .query_row([id], |row| row.get(0))?;
    match first {
        Some(first) if first > 1 => Err(StoreError::VersionGone {
            namespace: namespace.to_string(),
            version: number(first - 1),
        }),
        Some(_) | None => Ok(0),
    }
}

pub(super) fn versions(
    conn: &Connection,
    namespace: &Namespace,
    which: Versions,
    (before, limit): (Option<Version>, usize),
) -> Result<Vec<VersionInfo>, StoreError> {
    let least = match which {
        Versions::All => 0,
        Versions::Checkpoints => 1,
    };
    let sql = "SELECT ver, at, kind, mark, label, run_id, writer, epoch, keys, live_bytes
        FROM commit_log WHERE ns = (SELECT id FROM ns WHERE name = ?1) AND mark >= ?2
        AND ver < ?3 ORDER BY ver DESC LIMIT ?4";
    let mut query = conn.prepare_cached(sql)?;
    let before = before.map_or(i64::MAX, column);
    let limit = column(limit.min(VERSIONS) as u64);
    let values = params![namespace.as_str(), least, before, limit];
    let rows = query.query_map(values, |row| {
        Ok(VersionInfo {
            version: number(row.get(0)?),
            at: UnixMs(row.get(1)?),
            kind: kind(row.get(2)?),
            mark: mark(row.get(3)?),
            writer: WriterId {
                name: row.get(6)?,
                epoch: number(row.get(7)?),
            },
            cause: CommitCause {
                label: row.get(4)?,
                run_id: row.get(5)?,
            },
            keys: number(row.get(8)?),
            live_bytes: number(row.get(9)?),
        })
    })?;
    let versions: Result<Vec<_>, _> = rows.collect();
    Ok(versions?)
}

pub(super) fn namespaces(conn: &Connection) -> Result<Vec<NamespaceInfo>, StoreError> {
    let sql = "SELECT name, ver, live_bytes, max_bytes, epoch FROM ns ORDER BY name";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], |row| {
        Ok(NamespaceInfo {
            name: Namespace::from_column(row.get(0)?),
            version: number(row.get(1)?),
            live_bytes: number(row.get(2)?),
            max_bytes: number(row.get(3)?),
            epoch: number(row.get(4)?),
        })
    })?;
    let namespaces: Result<Vec<_>, _> = rows.collect();
    Ok(namespaces?)
}

fn kind(column: i64) -> VersionKind {
    match column {
        1 => VersionKind::Ttl,
        2 => VersionKind::Rollback,
        3 => VersionKind::Import,
        _ => VersionKind::Commit,
    }
}

pub(super) fn mark(column: i64) -> Mark {
    match column {
        1 => Mark::Checkpoint,
        2 => Mark::Pinned,
        _ => Mark::None,
    }
}

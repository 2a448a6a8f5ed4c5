//! Deleting old segments.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::lane::{self, FILE_MODE};
use super::policy::LogPolicy;
use super::segment;

/// What a pruning deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of segments deleted.
    pub segments: u64,
    /// The bytes of output they held.
    pub bytes: u64,
}

/// A lane could not be pruned.
#[derive(Debug, Error)]
#[error("cannot prune the log lane {}", lane.display())]
pub struct PruneError {
    lane: PathBuf,
    #[source]
    source: io::Error,
}

/// Deletes what `policy` no longer keeps in all lanes of an agent; `now` decides about age.
/// Safe beside running writers: the segment being written is never deleted. A lane that has no
/// writer and has expired altogether goes on at the same offset, empty.
///
/// # Errors
/// Fails at the first lane whose files cannot be listed or deleted.
pub fn prune(log_dir: &Path, policy: &LogPolicy, now: SystemTime) -> Result<Pruned, PruneError> {
    let failed = |lane: &Path| {
        let lane = lane.to_owned();
        move |source| PruneError { lane, source }
    };
    let mut total = Pruned::default();
    for number in lane::list(log_dir).map_err(failed(log_dir))? {
        let dir = lane::path(log_dir, number);
        if let Some(_lock) = lane::try_lock(log_dir, number).map_err(failed(&dir))? {
            retire_newest(&dir, policy.retention, now).map_err(failed(&dir))?;
        }
        let pruned = prune_lane(&dir, policy.kept_segments(), policy.retention, now)
            .map_err(failed(&dir))?;
        total.segments += pruned.segments;
        total.bytes += pruned.bytes;
    }
    Ok(total)
}

/// Deletes the oldest segments of a lane until at most `keep` are left, and those older than
/// `retention`, but never the newest.
pub(crate) fn prune_lane(
    dir: &Path,
    keep: usize,
    retention: Duration,
    now: SystemTime,
) -> io::Result<Pruned> {
    let starts = segment::list(dir)?;
    let Some((newest, older)) = starts.split_last() else {
        return Ok(Pruned::default());
    };
    let surplus = starts.len().saturating_sub(keep);
    let mut pruned = Pruned::default();
    for (i, start) in older.iter().enumerate() {
        let log = segment::log_path(dir, *start);
        if i >= surplus && !has_expired(&log, retention, now)? {
            break;
        }
        pruned.bytes += older.get(i + 1).unwrap_or(newest) - start;
        pruned.segments += 1;
        remove_if_present(&log)?;
    }
    remove_orphaned_indexes(dir, *newest)?;
    Ok(pruned)
}

/// An index whose segment is gone is left by a crash between the two deletions, or just now.
fn remove_orphaned_indexes(dir: &Path, newest: u64) -> io::Result<()> {
    for start in segment::list_with_extension(dir, "idx")? {
        if start < newest && !segment::log_path(dir, start).exists() {
            remove_if_present(&segment::index_path(dir, start))?;
        }
    }
    Ok(())
}

/// Starts an empty segment after an expired newest one, so that the latter may be deleted
/// without losing the offset the lane has reached.
fn retire_newest(dir: &Path, retention: Duration, now: SystemTime) -> io::Result<()> {
    let Some(start) = segment::list(dir)?.pop() else {
        return Ok(());
    };
    let log = segment::log_path(dir, start);
    let len = std::fs::metadata(&log)?.len();
    if len == 0 || !has_expired(&log, retention, now)? {
        return Ok(());
    }
    let next = segment::log_path(dir, start + len);
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(FILE_MODE)
        .open(next)?;
    Ok(())
}

fn has_expired(log: &Path, retention: Duration, now: SystemTime) -> io::Result<bool> {
    if retention.is_zero() {
        return Ok(false);
    }
    let modified = match std::fs::metadata(log) {
        Ok(metadata) => metadata.modified()?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    // A segment from the future (the clock was set back) has no age yet.
    Ok(now
        .duration_since(modified)
        .is_ok_and(|age| age > retention))
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

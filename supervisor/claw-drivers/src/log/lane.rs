//! Lanes: sequences of segments with one writer at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most lanes of an agent, hence the most writers at once. A bound against a directory that
/// fills up should locks ever leak; far above any sensible number of parallel runs.
pub const MAX_LANES: u32 = 256;

/// Logs may hold secrets the agent printed: readable by the owner only.
pub(crate) const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Returns the directory of lane `number`.
pub(crate) fn path(log_dir: &Path, number: u32) -> PathBuf {
    log_dir.join(format!("lane-{number}"))
}

/// Lists the lanes below a log directory in ascending order. A missing directory has none.
pub(crate) fn list(log_dir: &Path) -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(log_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(parse_name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn parse_name(name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix("lane-")?.parse().ok()?;
    (number < MAX_LANES && name == format!("lane-{number}")).then_some(number)
}

/// The right to write a lane; given up when dropped, also by the end of the process.
#[derive(Debug)]
pub(crate) struct LaneLock {
    pub(crate) number: u32,
    pub(crate) dir: PathBuf,
    _file: File,
}

/// Takes the first lane nobody writes, creating it if need be.
pub(crate) fn acquire(log_dir: &Path) -> io::Result<LaneLock> {
    for number in 0..MAX_LANES {
        if let Some(lock) = try_lock(log_dir, number)? {
            return Ok(lock);
        }
    }
    Err(io::Error::from_raw_os_error(nix::libc::EUSERS))
}

/// Takes lane `number`; `None` when another writer has it.
pub(crate) fn try_lock(log_dir: &Path, number: u32) -> io::Result<Option<LaneLock>> {
    let dir = path(log_dir, number);
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(&dir)?;
    // The lock file is opened close-on-exec, so the agent does not inherit the lock.
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(LaneLock {
            number,
            dir,
            _file: file,
        })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_at_the_same_time_get_different_lanes_and_free_lanes_are_reused() {
        let dir = tempfile::tempdir().unwrap();
        let first = acquire(dir.path()).unwrap();
        let second = acquire(dir.path()).unwrap();
        assert_eq!((first.number, second.number), (0, 1));
        drop(first);
        crate::log::tests::eventually(|| try_lock(dir.path(), 0).unwrap());
        assert_eq!(list(dir.path()).unwrap(), vec![0, 1]);
    }

    #[test]
    fn only_canonical_names_are_lanes() {
        assert_eq!(parse_name("lane-7"), Some(7));
        assert_eq!(parse_name("lane-07"), None);
        assert_eq!(parse_name("lane-256"), None);
        assert_eq!(parse_name("lane-"), None);
    }
}

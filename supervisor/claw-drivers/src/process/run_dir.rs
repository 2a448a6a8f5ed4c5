//! Where run directories lie: in memory where that can be had.
//!
//! What stands in them must outlive the supervisor, and means nothing after a reboot, which ends
//! every process they tell of. On a disk each start would make half a dozen files, and a restart
//! would wait for whatever else keeps the file system busy.
//!
//! `<data_dir>/run` leads to them: a link into memory, or a directory. It is settled once and
//! followed ever after, so that no supervisor looks elsewhere than the one before it wrote.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// The name below the data directory.
pub(crate) const RUN_DIR: &str = "run";

/// File systems in memory. Not `$XDG_RUNTIME_DIR`, which goes when its user logs out.
const PLACES: [&str; 2] = ["/run", "/dev/shm"];

/// What we make there.
const OURS: &str = "openclaw";

/// `TMPFS_MAGIC` of `statfs(2)`.
const TMPFS: i64 = 0x0102_1994;

/// Passable, not readable: the agent's user reaches its sockets by name.
const MODE: u32 = 0o711;

/// Finds or makes the directory of run directories of a project.
///
/// # Errors
///
/// Neither memory nor the data directory can be written to.
pub(super) fn settle(data_dir: &Path, project: &str) -> io::Result<PathBuf> {
    let link = data_dir.join(RUN_DIR);
    if let Ok(target) = link.canonicalize()
        && target.symlink_metadata().is_ok_and(|found| is_ours(&found))
    {
        return Ok(target);
    }
    // Led nowhere: the machine was booted since, or somebody else's directory is in the place.
    if link.is_symlink() {
        fs::remove_file(&link)?;
    }
    let memory = memory(project).filter(|dir| symlink(dir, &link).is_ok());
    match memory {
        Some(dir) => Ok(dir),
        None => make(&link).map(|()| link),
    }
}

/// Removes what is empty; what is not belongs to instances that live on.
pub(super) fn remove_if_empty(data_dir: &Path, dir: &Path) {
    for agent in fs::read_dir(dir).into_iter().flatten().flatten() {
        fs::remove_dir(agent.path()).ok();
    }
    if fs::remove_dir(dir).is_ok() {
        fs::remove_file(data_dir.join(RUN_DIR)).ok();
    }
}

/// A directory in memory. For root only: what other users have in `/dev/shm` is removed with
/// their last session on many machines (`RemoveIPC` of `logind.conf(5)`).
fn memory(project: &str) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    PLACES.iter().find_map(|place| {
        let place = Path::new(place);
        if rustix::fs::statfs(place).ok()?.f_type != TMPFS {
            return None;
        }
        let shared = place.join(OURS);
        let own = shared.join(project);
        make(&shared).and_then(|()| make(&own)).ok()?;
        Some(own)
    })
}

/// Makes the directory, or takes one that only we can write to: anybody may make one in
/// `/dev/shm` before us.
fn make(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if is_ours(&dir.symlink_metadata()?) {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

fn is_ours(found: &Metadata) -> bool {
    found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_once_settled_is_found_again() {
        let data = tempfile::tempdir().unwrap();
        let first = settle(data.path(), "test-settled").unwrap();
        fs::create_dir(first.join("agent")).unwrap();
        assert_eq!(settle(data.path(), "another").unwrap(), first);
        remove_if_empty(data.path(), &first);
        assert!(!first.exists());
        assert!(!data.path().join(RUN_DIR).is_symlink());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_made_anew() {
        let data = tempfile::tempdir().unwrap();
        symlink("/nonexistent/openclaw", data.path().join(RUN_DIR)).unwrap();
        let dir = settle(data.path(), "test-anew").unwrap();
        assert!(dir.is_dir());
        remove_if_empty(data.path(), &dir);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;

        let data = tempfile::tempdir().unwrap();
        let open = data.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&open, data.path().join(RUN_DIR)).unwrap();
        let dir = settle(data.path(), "test-open").unwrap();
        assert_ne!(dir, open);
        remove_if_empty(data.path(), &dir);
    }

    #[test]
    fn what_is_in_use_stays() {
        let data = tempfile::tempdir().unwrap();
        let dir = settle(data.path(), "test-used").unwrap();
        fs::create_dir_all(dir.join("agent/7")).unwrap();
        remove_if_empty(data.path(), &dir);
        assert!(dir.join("agent/7").is_dir());
        fs::remove_dir(dir.join("agent/7")).unwrap();
        remove_if_empty(data.path(), &dir);
        assert!(!dir.exists());
    }
}

//! The data directory and its single owner.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// How often a lock is looked at that a process had which is no more, and how long it is in between:
/// some seconds, on a machine where a fork takes its time.
const LOOKS: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);

/// The journal's database.
pub(crate) const JOURNAL: &str = "journal.db";

/// The database of state and events.
pub(crate) const STORE: &str = "store.db";

/// The database of calls to models.
pub(crate) const CALLS: &str = "llm/calls.db";

/// The copies of the journal.
pub(crate) const BACKUPS: &str = "backups";

/// The control API's socket.
pub(crate) const CONTROL_SOCKET: &str = crate::api::routes::SOCKET_NAME;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or opened.
    #[error("cannot use the data directory {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another supervisor owns it.
    #[error("another supervisor ({holder}) runs on the data directory {}", path.display())]
    Held {
        /// Which.
        path: PathBuf,
        /// By whom, such as `process 4711`.
        holder: String,
    },
}

/// A data directory that this process owns; let go of when dropped, also by death.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory (mode 0700) where it is missing, and becomes its owner.
    ///
    /// # Errors
    ///
    /// It cannot be made, or another supervisor owns it.
    pub fn own(path: &Path) -> Result<Self, DataDirError> {
        let at = |source| DataDirError::Io {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(at)?;
        let path = fs::canonicalize(path).map_err(at)?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(at)?;
        match take(&mut lock, pause) {
            Ok(()) => {}
            Err(Taken::Held(holder)) => return Err(DataDirError::Held { holder, path }),
            Err(Taken::Io(error)) => return Err(at(error)),
        }
        lock.rewind()
            .and_then(|()| lock.set_len(0))
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(at)?;
        Ok(Self { path, _lock: lock })
    }

    /// Lets users pass through, if this is root: agents may be users of their own, and have their
    /// sockets below. The databases are there by now, and become root's alone.
    ///
    /// # Errors
    ///
    /// A mode cannot be set.
    pub fn let_pass(&self) -> Result<(), DataDirError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        self.open_to_users().map_err(|source| DataDirError::Io {
            path: self.path.clone(),
            source,
        })
    }

    fn open_to_users(&self) -> io::Result<()> {
        for database in [self.journal(), self.store()] {
            // What SQLite puts beside a database later has its mode. Whoever can open a lock can hold
            // it.
            for beside in ["", "-wal", "-shm", ".lock"] {
                let mut path = database.clone().into_os_string();
                path.push(beside);
                match fs::set_permissions(&path, Permissions::from_mode(0o600)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        fs::set_permissions(&self.path, Permissions::from_mode(0o711))
    }

    /// Where it is, absolute and without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal's database.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// The database of state and events.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }

    /// Where copies of the journal go.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.path.join(BACKUPS)
    }

    /// The control API's socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.path.join(CONTROL_SOCKET)
    }

    /// The last fleet file that was in force.
    #[must_use]
    pub fn last_good(&self) -> PathBuf {
        self.path.join("last-good.yaml")
    }
}

/// Why a lock is not ours.
#[derive(Debug)]
enum Taken {
    /// Somebody has it; by whom it was written last.
    Held(String),
    Io(io::Error),
}

/// Takes the lock. A supervisor that was killed in the middle of a fork has left its copy of the
/// lock to a child, which lets go of it with the program it executes: whoever is named and is no
/// more is waited for, with `pause` between two looks.
fn take(lock: &mut File, mut pause: impl FnMut()) -> Result<(), Taken> {
    let mut looks = 0;
    loop {
        match flock(&*lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(Taken::Io(errno.into())),
        }
        match holder(lock) {
            Some(pid) if looks < LOOKS && test_kill_process(pid) == Err(Errno::SRCH) => pause(),
            Some(pid) => {
                return Err(Taken::Held(format!("process {}", pid.as_raw_nonzero())));
            }
            None => return Err(Taken::Held("of unknown process id".to_owned())),
        }
        looks += 1;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing runs yet that could wait for anything, and nobody tells of a lock that is let go"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn holder(lock: &mut File) -> Option<Pid> {
    let mut text = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
    read.ok()
        .and_then(|_| Pid::from_raw(text.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let _first = DataDir::own(&dir.path().join("data")).unwrap();
        let second = DataDir::own(&dir.path().join("data")).unwrap_err();
        assert!(
            second
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{second}"
        );
    }

    #[test]
    fn a_dropped_owner_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::own(dir.path()).unwrap());
        DataDir::own(dir.path()).unwrap();
    }

    /// A lock in the hands of somebody, named for a process that is no more.
    fn left_behind(path: &Path) -> (File, File) {
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        let pid = dead.id();
        dead.wait().unwrap();
        fs::write(path, format!("{pid}\n")).unwrap();
        let held = File::open(path).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        (
            held,
            File::options().read(true).write(true).open(path).unwrap(),
        )
    }

    #[test]
    fn what_a_dead_owner_left_to_a_child_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (held, mut lock) = left_behind(&dir.path().join("lock"));
        let mut held = Some(held);
        take(&mut lock, || drop(held.take())).unwrap();
        assert!(held.is_none());
    }

    #[test]
    fn what_is_never_let_go_of_is_refused_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (_held, mut lock) = left_behind(&dir.path().join("lock"));
        let mut pauses = 0;
        let taken = take(&mut lock, || pauses += 1);
        assert!(matches!(taken, Err(Taken::Held(_))), "{taken:?}");
        assert_eq!(pauses, LOOKS);
    }
}

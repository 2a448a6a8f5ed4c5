//! The data directory and its single owner.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

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
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DataDirError::Held {
                    holder: holder(&mut lock),
                    path,
                });
            }
            Err(errno) => return Err(at(errno.into())),
        }
        lock.set_len(0)
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

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), pid) if !pid.is_empty() => format!("process {pid}"),
        _ => "of unknown process id".to_owned(),
    }
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
}

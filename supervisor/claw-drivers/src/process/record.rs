//! The files of an instance directory, which outlive the processes that wrote them.
//!
//! ```text
//!  lock         held by the shim as long as it lives (flock, closed on exec)
//!  run.json     written by the child as its last act before it becomes the agent
//!  exit.json    written by the shim once nothing of the instance is left
//!  shim.sock    where a new supervisor finds the shim
//!  notify.sock  where the agent sends notifications
//! ```
//!
//! A record is written beside its name and renamed, so it is there whole or not at all. It is not
//! synced: it must survive our death, and a power cut ends what it speaks of anyway.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use claw_core::sandbox::Plan;
use claw_core::{ExitReport, InstanceId, Wall};
use claw_failpoint::Step;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::procfs::ProcessIdentity;
use super::protocol::{Gap, Protocol};

/// The name of the lock file.
pub(crate) const LOCK: &str = "lock";
/// The name of the run record.
pub(crate) const RUN: &str = "run.json";
/// The name of the exit record.
pub(crate) const EXIT: &str = "exit.json";
/// The name of the shim's socket.
pub(crate) const SHIM_SOCKET: &str = "shim.sock";
/// The name of the notification socket.
pub(crate) const NOTIFY_SOCKET: &str = "notify.sock";

/// The longest record accepted; ours have a few hundred bytes.
const RECORD_LIMIT: u64 = 64 * 1024;

/// That an instance was started, as what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// What its shim speaks.
    #[serde(default = "Protocol::first")]
    pub(crate) protocol: Protocol,
    pub(crate) instance: InstanceId,
    pub(crate) shim: ProcessIdentity,
    pub(crate) main: ProcessIdentity,
    pub(crate) boot_id: String,
    pub(crate) at: Wall,
    pub(crate) group: Group,
    /// How it is confined, if it is.
    #[serde(default)]
    pub(crate) plan: Option<Plan>,
    /// The first process of its namespaces, if it has its own.
    #[serde(default)]
    pub(crate) keeper: Option<ProcessIdentity>,
}

/// What every version of a run record says alike, and so all that may be read of one that is not
/// understood otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct RecordHead {
    #[serde(default = "Protocol::first")]
    pub(crate) protocol: Protocol,
    pub(crate) main: ProcessIdentity,
    pub(crate) at: Wall,
}

/// A run record, as far as it is understood.
#[derive(Debug)]
pub(crate) enum Written {
    Whole(Box<RunRecord>),
    /// Its shim speaks what this supervisor does not.
    Foreign(RecordHead, Gap),
}

impl Written {
    /// The main process.
    pub(crate) fn main(&self) -> ProcessIdentity {
        match self {
            Self::Whole(record) => record.main,
            Self::Foreign(head, _) => head.main,
        }
    }
}

/// An open instance directory.
#[derive(Debug)]
pub(crate) struct InstanceDir(OwnedFd);

/// Who holds an instance's lock.
#[derive(Debug)]
pub(crate) enum Lock {
    /// We do, as long as this lives.
    Ours(OwnedFd),
    /// A live shim does.
    Held,
}

impl InstanceDir {
    /// Opens a directory that exists.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NOFOLLOW;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The path of a file in the directory that is short however long the directory's own is:
    /// socket addresses hold 108 bytes.
    pub(crate) fn short_path(&self, name: &str) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd())
    }

    /// Tries to take the lock.
    pub(crate) fn lock(&self) -> io::Result<Lock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.0, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock::Ours(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Lock::Held),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file of that name is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        rustix::fs::accessat(&self.0, name, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Removes a file; a missing one is no error.
    pub(crate) fn remove(&self, name: &str) {
        // What cannot be removed is overwritten by the next record or removed with the directory.
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty()).ok();
    }

    /// Writes a record, whole or not at all.
    pub(crate) fn write<T: Serialize>(&self, name: &str, record: &T) -> io::Result<()> {
        let temporary = format!(".{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(self.0.as_fd(), &temporary, flags, mode)?;
        File::from(file).write_all(&serde_json::to_vec(record)?)?;
        let step = if name == RUN {
            Step::RunRecord
        } else {
            Step::ExitRecord
        };
        claw_failpoint::before(step);
        rustix::fs::renameat(&self.0, &temporary, &self.0, name)?;
        claw_failpoint::after(step);
        Ok(())
    }

    /// Reads a record; `None` when there is none.
    ///
    /// # Errors
    ///
    /// A record that is there and cannot be read or understood is an error, not `None`.
    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let bytes = self.bytes(name)?;
        let record = bytes.map(|bytes| serde_json::from_slice(&bytes));
        Ok(record.transpose()?)
    }

    fn bytes(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => File::from(other?),
        };
        let mut bytes = Vec::new();
        file.take(RECORD_LIMIT).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The run record, whoever has written it.
    pub(crate) fn written(&self) -> io::Result<Option<Written>> {
        let Some(bytes) = self.bytes(RUN)? else {
            return Ok(None);
        };
        let head: RecordHead = serde_json::from_slice(&bytes)?;
        Ok(Some(match head.protocol.gap() {
            Some(gap) => Written::Foreign(head, gap),
            None => Written::Whole(serde_json::from_slice(&bytes)?),
        }))
    }

    /// The run record.
    pub(crate) fn run_record(&self) -> io::Result<Option<RunRecord>> {
        self.read(RUN)
    }

    /// The exit record.
    pub(crate) fn exit_record(&self) -> io::Result<Option<ExitReport>> {
        self.read(EXIT)
    }
}

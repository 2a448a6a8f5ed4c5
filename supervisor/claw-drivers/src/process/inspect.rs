//! What became of an instance that nobody is connected to.
//!
//! ```text
//!  exit record ─────────────────────────────► ended
//!  else lock held ──► shim's socket ────────► alive
//!          └───────── no language in common ─► foreign
//!  else run record, or a populated cgroup ──► kill the tree: lost
//!  else ────────────────────────────────────► never started
//! ```

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use claw_core::{ExitReport, InstanceId};
use rustix::process::{Pid, PidfdFlags};

use super::cgroup::Group;
use super::driver::Inner;
use super::procfs::ProcessIdentity;
use super::protocol::Gap;
use super::record::{InstanceDir, Lock, RecordHead, RunRecord, SHIM_SOCKET, Written};
use super::signal;

/// A shim that holds its lock listens a moment later, or is about to end.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Between looks at a shim that is not listening yet; there is nothing to wait on.
const CONNECT_STEP: Duration = Duration::from_millis(5);

/// How long a tree may take to die; beyond it a process sleeps in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Between looks at a tree that is being killed.
const KILL_STEP: Duration = Duration::from_millis(5);

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// Its shim lives and was connected to.
    Alive {
        stream: UnixStream,
        record: Option<Box<RunRecord>>,
    },
    /// Its shim lives, and cannot be talked to.
    Foreign {
        head: RecordHead,
        gap: Gap,
    },
    Ended(ExitReport),
    Lost,
    NeverStarted,
}

/// Finds out, and ends what nobody watches. Blocks.
pub(super) fn inspect(inner: &Inner, instance: &InstanceId) -> Found {
    match try_inspect(inner, instance) {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%instance, %error, "the records of an instance are unreadable; it counts as lost");
            end_tree(&inner.cgroups.every(&group_name(instance)), None);
            Found::Lost
        }
    }
}

fn try_inspect(inner: &Inner, instance: &InstanceId) -> io::Result<Found> {
    let group = inner.cgroups.every(&group_name(instance));
    let dir = match InstanceDir::open(&inner.paths.instance(instance)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(without_shim(&group, None));
        }
        other => other?,
    };
    let deadline = Instant::now() + CONNECT_PATIENCE;
    loop {
        if let Some(report) = dir.exit_record()? {
            return Ok(Found::Ended(report));
        }
        if let Lock::Ours(_lock) = dir.lock()? {
            // It may have ended between the two looks.
            return Ok(match dir.exit_record()? {
                Some(report) => Found::Ended(report),
                None => without_shim(&group, dir.written()?.map(|record| record.main())),
            });
        }
        let record = match dir.written()? {
            Some(Written::Foreign(head, gap)) => return Ok(Found::Foreign { head, gap }),
            Some(Written::Whole(record)) => Some(record),
            None => None,
        };
        if let Ok(stream) = UnixStream::connect(dir.short_path(SHIM_SOCKET)) {
            return Ok(Found::Alive { stream, record });
        }
        if Instant::now() >= deadline {
            tracing::error!(%instance, "a shim holds its lock and does not listen; its tree is ended");
            end_tree(&group, record.map(|record| record.main));
            return Ok(Found::Lost);
        }
        signal::pause(CONNECT_STEP);
    }
}

fn without_shim(group: &Group, main: Option<ProcessIdentity>) -> Found {
    if main.is_none() && !group.is_populated() {
        remove_group(group);
        return Found::NeverStarted;
    }
    end_tree(group, main);
    Found::Lost
}

/// Kills a whole tree and removes its groups. Signals go to members of our own cgroup, and to a
/// `main` process, if its start time says that it is the one in the record.
pub(super) fn end_tree(group: &Group, main: Option<ProcessIdentity>) {
    let deadline = Instant::now() + KILL_PATIENCE;
    if let Some(main) = main {
        signal_verified(main, signal::KILL);
    }
    while group.is_populated() && Instant::now() < deadline {
        if let Err(error) = group.kill() {
            tracing::warn!(%error, source = %error.io(), "a cgroup could not be killed");
        }
        signal::pause(KILL_STEP);
    }
    remove_group(group);
}

fn remove_group(group: &Group) {
    let deadline = Instant::now() + KILL_PATIENCE;
    let mut step = Duration::from_millis(1);
    while let Err(error) = group.remove() {
        if Instant::now() >= deadline {
            tracing::warn!(%error, "a cgroup could not be removed; the next start tries again");
            return;
        }
        signal::pause(step);
        step *= 2;
    }
}

/// Signals a process if it still is the one that is meant. The descriptor is opened first: from
/// then on the number cannot pass to another process unseen.
pub(super) fn signal_verified(identity: ProcessIdentity, number: i32) {
    let Some(pid) = Pid::from_raw(identity.pid) else {
        return;
    };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if identity.is_there() {
        signal::send_by_fd(pidfd.as_fd(), number);
    }
}

/// Whether a live shim holds the instance's lock.
pub(super) fn is_locked(inner: &Inner, instance: &InstanceId) -> bool {
    let dir = InstanceDir::open(&inner.paths.instance(instance));
    dir.and_then(|dir| dir.lock())
        .is_ok_and(|lock| matches!(lock, Lock::Held))
}

/// Whether no shim holds the instance's lock, for certain.
pub(super) fn is_released(inner: &Inner, instance: &InstanceId) -> bool {
    match InstanceDir::open(&inner.paths.instance(instance)) {
        Ok(dir) => dir.lock().is_ok_and(|lock| matches!(lock, Lock::Ours(_))),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The name of an instance's groups.
pub(super) fn group_name(instance: &InstanceId) -> String {
    format!("{}-{}", instance.agent, instance.generation)
}

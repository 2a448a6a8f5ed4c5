//! The agent's main process: usually the child we made, sometimes one it named (`MAINPID=`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use claw_core::ExitStatus;
use nix::libc;
use rustix::process::{Pid, PidfdFlags};

use crate::process::{procfs, signal};

/// The size of `struct pidfd_info` in its first version.
const INFO_SIZE: u64 = 64;
/// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: u64 = (3 << 30) | (INFO_SIZE << 16) | (0xff << 8) | 11;
/// The exit code is wanted, or is there.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` of `linux/pidfd.h`, 6.15.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The main process.
#[derive(Debug)]
pub(super) struct MainProcess {
    pub(super) pid: i32,
    kind: Kind,
}

/// Who tells how it ends.
#[derive(Debug)]
enum Kind {
    /// `waitpid`: it is our own child.
    Child,
    /// The keeper of its namespaces.
    Kept(OwnedFd),
    /// Nobody; its pidfd says when.
    Named(OwnedFd),
}

impl MainProcess {
    /// Our own child.
    pub(super) const fn child(pid: i32) -> Self {
        let kind = Kind::Child;
        Self { pid, kind }
    }

    /// The child of a keeper.
    pub(super) const fn kept(pid: i32, pidfd: OwnedFd) -> Self {
        let kind = Kind::Kept(pidfd);
        Self { pid, kind }
    }

    /// Whether its keeper says how it ends.
    pub(super) const fn is_kept(&self) -> bool {
        matches!(self.kind, Kind::Kept(_))
    }

    /// A process of the tree that the agent named; `None` when it is none.
    pub(super) fn named(pid: i32) -> Option<Self> {
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let own = rustix::process::getpid().as_raw_nonzero().get();
        // Asked after the descriptor is open: from here on it is that process and no other.
        let ours = pid != own && procfs::descends_from(pid, own);
        ours.then_some(Self {
            pid,
            kind: Kind::Named(pidfd),
        })
    }

    /// What to poll, if nobody tells.
    pub(super) fn interest(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Named(pidfd) => Some(pidfd.as_fd()),
            Kind::Child | Kind::Kept(_) => None,
        }
    }

    /// Signals it. Our own child keeps its number until we wait for it, so the number is safe.
    pub(super) fn signal(&self, number: i32) {
        match &self.kind {
            Kind::Kept(pidfd) | Kind::Named(pidfd) => signal::send_by_fd(pidfd.as_fd(), number),
            Kind::Child => signal::send(self.pid, number),
        }
    }

    /// How a process that is not our child ended, asked when its pidfd says that it has.
    ///
    /// Kernels before 6.15 tell nobody but the parent once the parent has waited; the answer is
    /// then code 0, because the agent chose to be supervised this way and there is no sign of a
    /// failure.
    pub(super) fn foreign_exit(&self) -> ExitStatus {
        self.zombie_status()
            .or_else(|| self.pidfd_status())
            .unwrap_or(ExitStatus::Code(0))
    }

    /// Not yet waited for: `/proc/<pid>/stat` holds the wait status as its last field.
    fn zombie_status(&self) -> Option<ExitStatus> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let (_, rest) = text.rsplit_once(") ")?;
        rest.starts_with('Z').then_some(())?;
        decode(rest.split_ascii_whitespace().nth(49)?.parse().ok()?)
    }

    fn pidfd_status(&self) -> Option<ExitStatus> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        let fd = self.interest()?.as_raw_fd();
        // SAFETY: the request carries the size of the structure, which is that of `PidfdInfo`;
        // the kernel writes no more than that, into memory that lives across the call.
        let result = unsafe { libc::ioctl(fd, PIDFD_GET_INFO, &raw mut info) };
        (result == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(())?;
        decode(info.exit_code)
    }
}

/// A raw wait status.
pub(super) fn decode(status: i32) -> Option<ExitStatus> {
    if libc::WIFEXITED(status) {
        return u8::try_from(libc::WEXITSTATUS(status))
            .ok()
            .map(ExitStatus::Code);
    }
    libc::WIFSIGNALED(status).then(|| ExitStatus::Signal(libc::WTERMSIG(status)))
}

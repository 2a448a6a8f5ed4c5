//! Descriptors: those that came from whoever started us, and how many there may be.

use std::process::Child;
use std::sync::OnceLock;

use nix::libc;
use rustix::process::{Pid, Resource, Rlimit};

/// What this process was limited to when it was started.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many descriptors as this process may have at most: each agent with a network of its own
/// has up to six listeners here, and some dozens of connections. What we start keeps the limit that we
/// were started with, see [`restore_limit`]: programs that use `select(2)` break beyond 1024.
pub(super) fn raise_limit() {
    let inherited = INHERITED.get_or_init(|| rustix::process::getrlimit(Resource::Nofile));
    let raised = Rlimit {
        current: inherited.maximum,
        maximum: inherited.maximum,
    };
    if let Err(errno) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%errno, "the limit of open files stays at its soft value");
    }
}

/// Limits a process that we started as we were limited ourselves.
pub(super) fn restore_limit(process: &Child) {
    let pid = Pid::from_raw(process.id().cast_signed());
    if let (Some(pid), Some(inherited)) = (pid, INHERITED.get())
        && let Err(errno) = rustix::process::prlimit(Some(pid), Resource::Nofile, *inherited)
    {
        tracing::warn!(%errno, "agents may open as many files as the supervisor");
    }
}

/// Sets close-on-exec on every descriptor but the standard ones, so that a program started after
/// this has none that was not meant for it. Until then they stay open.
pub fn close_on_exec() {
    // SAFETY: only flags of this process's own descriptors change; none is closed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        return;
    }
    // Kernels before 5.11; all our own descriptors have the flag already, this is for inherited ones.
    let listed = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers: Vec<i32> = listed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in numbers {
        // SAFETY: F_SETFD takes an integer and touches no memory; a closed number is an error.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

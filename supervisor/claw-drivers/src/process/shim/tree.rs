//! The agent's tree: reaping it, counting it, ending it.

use claw_core::ExitStatus;
use rustix::process::WaitOptions;

use crate::process::cgroup::Group;
use crate::process::{procfs, signal};

/// Whether this process still has children. As a subreaper it has some as long as anything of
/// the tree lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    Left,
    None,
}

/// Waits for every dead child; calls `ended` for each.
pub(super) fn reap(mut ended: impl FnMut(i32, ExitStatus)) -> Children {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                if let Some(status) = exit_status(status) {
                    ended(pid.as_raw_nonzero().get(), status);
                }
            }
            Ok(None) => return Children::Left,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Children::None,
        }
    }
}

fn exit_status(status: rustix::process::WaitStatus) -> Option<ExitStatus> {
    let code = status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok());
    code.map(ExitStatus::Code)
        .or_else(|| status.terminating_signal().map(ExitStatus::Signal))
}

/// The living processes of the tree.
pub(super) fn members(group: &Group) -> Vec<i32> {
    if group.tree.is_some() {
        group.members()
    } else {
        procfs::descendants(own_pid())
    }
}

/// Sends a signal to every process of the tree.
pub(super) fn signal_all(group: &Group, number: i32) {
    for pid in members(group) {
        signal::send(pid, number);
    }
}

/// Kills every process of the tree. With a group it is done when this returns; without one, a
/// process may fork while its parent is being killed, so callers repeat it until none is left.
pub(super) fn kill(group: &Group) {
    if group.tree.is_some() && group.kill().is_ok() {
        return;
    }
    kill_descendants();
}

/// Kills every descendant of this process.
pub(super) fn kill_descendants() {
    for pid in procfs::descendants(own_pid()) {
        signal::send(pid, signal::KILL);
    }
}

/// Stops scheduling the tree.
pub(super) fn freeze(group: &Group) {
    if group.tree.is_none() || group.freeze().is_err() {
        signal_all(group, signal::STOP);
    }
}

/// Undoes [`freeze`].
pub(super) fn thaw(group: &Group) {
    if group.tree.is_none() || group.thaw().is_err() {
        signal_all(group, signal::CONT);
    }
}

/// User plus system time of everything waited for, in microseconds, and the largest resident
/// size of any one process, in bytes.
pub(super) fn reaped_usage() -> (u64, u64) {
    use nix::sys::resource::{UsageWho, getrusage};
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return (0, 0);
    };
    let micros = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000
            + u64::try_from(time.tv_usec()).unwrap_or(0)
    };
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    (cpu, u64::try_from(usage.max_rss()).unwrap_or(0) * 1024)
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

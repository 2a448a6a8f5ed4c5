//! How a shim ends: its last words, its records, its cgroups.

use std::time::{Duration, Instant};

use claw_core::{ExitReport, SpawnError};
use rustix::event::{PollFd, PollFlags};

use super::deadline::until;
use super::peer::Peer;
use super::prepare::Holdings;
use super::tree::{self, Children};
use crate::process::cgroup::Group;
use crate::process::record::{EXIT, InstanceDir, NOTIFY_SOCKET, RUN, SHIM_SOCKET};
use crate::process::signal;
use crate::process::wire::{Report, ShimTask};

/// How long a shim that is done tries to deliver its last words. The exit record says the same.
const DELIVERY: Duration = Duration::from_secs(1);

/// How long a shim that is done tries to remove its cgroups, in growing steps; the next
/// supervisor's sweep removes what stays.
const REMOVAL: Duration = Duration::from_secs(5);

/// The first of those steps.
const REMOVAL_STEP: Duration = Duration::from_millis(1);

/// Nothing of the instance is left: leaves the exit record and says so.
///
/// The log is closed first: what is told may be answered by a successor, which then goes on where
/// this one ended.
pub(super) fn finish(
    task: &ShimTask,
    holdings: Holdings,
    mut peer: Peer,
    report: &ExitReport,
) -> i32 {
    let Holdings { dir, output, .. } = holdings;
    drop(output);
    // A record that cannot be written is told to a living supervisor all the same; to a later
    // one the instance is lost, which is true.
    dir.write(EXIT, report).ok();
    // Before it is said that nothing is left: a supervisor that ends on that word removes the
    // directory above. A group that is still busy is removed after it, so that nobody waits.
    task.group.remove().ok();
    peer.tell(&Report::Gone(report.clone()));
    // The kernel puts whom a socket wakes behind the one that wrote to it, on the same processor,
    // and expects the writer to sleep soon. A successor may be waiting for this word.
    std::thread::yield_now();
    leave(task, &dir, peer)
}

/// The program could not be executed: takes everything back, as if it had never been tried.
pub(super) fn fail(task: &ShimTask, holdings: Holdings, mut peer: Peer, error: SpawnError) -> i32 {
    let Holdings { dir, output, .. } = holdings;
    drop(output);
    let deadline = Instant::now() + REMOVAL;
    while tree::reap(|_, _| {}) == Children::Left && Instant::now() < deadline {
        tree::kill(&task.group);
        signal::pause(REMOVAL_STEP);
    }
    dir.remove(RUN);
    peer.tell(&Report::SpawnFailed(error));
    leave(task, &dir, peer)
}

/// Reports a start that failed before there was a child.
pub(super) fn refuse(peer: &mut Peer, error: SpawnError) -> i32 {
    peer.tell(&Report::SpawnFailed(error));
    deliver(peer);
    0
}

fn leave(task: &ShimTask, dir: &InstanceDir, mut peer: Peer) -> i32 {
    dir.remove(SHIM_SOCKET);
    dir.remove(NOTIFY_SOCKET);
    deliver(&mut peer);
    remove_group(&task.group);
    0
}

/// Waits, a while, for a supervisor that is slow to read.
pub(super) fn deliver(peer: &mut Peer) {
    let deadline = Instant::now() + DELIVERY;
    while let Some((fd, flags)) = peer.interest()
        && flags.contains(PollFlags::OUT)
        && Instant::now() < deadline
    {
        let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        // Interrupted or not, what can be sent is sent and the deadline is looked at.
        rustix::event::poll(&mut polled, Some(&until(deadline))).ok();
        peer.flush();
    }
}

/// Removes the groups; one stays busy for a moment after its last process is gone.
pub(super) fn remove_group(group: &Group) {
    let deadline = Instant::now() + REMOVAL;
    let mut step = REMOVAL_STEP;
    while group.remove().is_err() && Instant::now() < deadline {
        signal::pause(step);
        step *= 2;
    }
}

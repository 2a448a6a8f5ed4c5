//! How a shim ends: its last words, its records, its cgroups.

use std::time::{Duration, Instant};

use claw_core::{ExitReport, SpawnError};
use claw_failpoint::Step;
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

/// How much earlier than its predecessor's shim is taken down a successor may begin.
const HEAD_START: Duration = Duration::from_millis(5);

/// Whether the supervisor wanted the instance to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    Asked,
    Unasked,
}

/// Nothing of the instance is left: leaves the exit record and says so.
///
/// The log is closed first: what is told may be answered by a successor, which then goes on where
/// this one ended.
pub(super) fn finish(
    task: &ShimTask,
    holdings: Holdings,
    mut peer: Peer,
    (report, departure): (&ExitReport, Departure),
) -> i32 {
    let Holdings { dir, output, .. } = holdings;
    drop(output);
    // A record that cannot be written is told to a living supervisor all the same; to a later
    // one the instance is lost, which is true.
    dir.write(EXIT, report).ok();
    match departure {
        // A supervisor that ends on this word removes the directory above the groups. One that is
        // still busy is removed after it, so that nobody waits.
        Departure::Asked => {
            claw_failpoint::before(Step::GroupRemoval);
            task.group.remove().ok();
            claw_failpoint::after(Step::GroupRemoval);
            tell_end(&mut peer, report);
        }
        // A successor may be waiting for this word. To take down a process is work for the kernel,
        // which would do it on the processor where that one is started.
        Departure::Unasked => {
            tell_end(&mut peer, report);
            signal::pause(HEAD_START);
        }
    }
    leave(task, &dir, peer)
}

fn tell_end(peer: &mut Peer, report: &ExitReport) {
    claw_failpoint::before(Step::ExitReport);
    peer.tell(&Report::Gone(report.clone()));
    claw_failpoint::after(Step::ExitReport);
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

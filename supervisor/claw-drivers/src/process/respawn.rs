//! The process above the fork server: it starts another one when the first has died.
//!
//! ```text
//!  supervisor ──exec──► respawner ──fork──► spawner ──fork──► shims
//!      │                                      ▲
//!      └───────────── one socket ─────────────┘
//! ```
//!
//! A supervisor that has locked itself down cannot do it: whatever it starts is locked down as
//! well, and could make no sandbox. The socket stays, so the supervisor need not even know; what
//! the dead one had taken from it and not carried out is lost, and found out by whoever waits.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::fork::{Forked, fork_plainly};
use super::spawner::{self, Own};
use super::{procfs, signal};

/// Between two spawners: one that dies at once must not take a processor.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a spawner may take to see that its supervisor is gone. It takes microseconds, unless
/// it is stopped.
const FAREWELL: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Keeps a spawner until the supervisor is gone; the exit code. Returns in the spawner as well.
pub(super) fn run() -> u8 {
    spawner::warm();
    match Own::take().and_then(|own| keep(&own)) {
        Ok(code) => code,
        Err(error) => u8::try_from(error.raw_os_error().unwrap_or(1)).unwrap_or(1),
    }
}

fn keep(own: &Own) -> io::Result<u8> {
    nix::sys::prctl::set_name(c"claw-respawner")?;
    loop {
        match fork_plainly()? {
            Forked::Child => return Ok(spawner::run(own)),
            Forked::Parent(pid) => {
                if outlive(pid, own)? == Supervisor::Gone {
                    return Ok(0);
                }
                signal::pause(PAUSE);
            }
        }
    }
}

/// Whether there is somebody to start another spawner for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supervisor {
    There,
    Gone,
}

/// Waits for a spawner to end, or for its supervisor.
fn outlive(pid: i32, own: &Own) -> io::Result<Supervisor> {
    loop {
        let mut polled = [
            PollFd::from_borrowed_fd(own.socket.as_fd(), PollFlags::empty()),
            PollFd::from_borrowed_fd(own.signals.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let gone = polled[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR);
        if gone {
            end(pid, own);
            return Ok(Supervisor::Gone);
        }
        if has_ended(pid, own) {
            return Ok(Supervisor::There);
        }
    }
}

fn has_ended(pid: i32, own: &Own) -> bool {
    while matches!(own.signals.read_signal(), Ok(Some(_))) {}
    !matches!(waitpid(Pid::from_raw(pid), WaitOptions::NOHANG), Ok(None))
}

/// A spawner ends by itself when its supervisor is gone; a stopped one does not.
fn end(pid: i32, own: &Own) {
    let mut polled = [PollFd::from_borrowed_fd(own.signals.as_fd(), PollFlags::IN)];
    // However it comes out, the next line knows.
    rustix::event::poll(&mut polled, Some(&FAREWELL)).ok();
    if !has_ended(pid, own) {
        signal::send(pid, signal::KILL);
        waitpid(Pid::from_raw(pid), WaitOptions::empty()).ok();
    }
}

/// The spawner below a respawner, if it lives.
pub(super) fn spawner_of(respawner: u32) -> Option<u32> {
    let respawner = libc::pid_t::try_from(respawner).ok()?;
    let child = |pid: &i32| procfs::Stat::read(*pid).is_some_and(|stat| stat.parent == respawner);
    let spawner = procfs::descendants(respawner).into_iter().find(child)?;
    u32::try_from(spawner).ok()
}

//! Sending signals by number, real-time ones included, which the typed interfaces leave out.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// SIGKILL.
pub(crate) const KILL: i32 = libc::SIGKILL;
/// SIGCONT.
pub(crate) const CONT: i32 = libc::SIGCONT;
/// SIGSTOP.
pub(crate) const STOP: i32 = libc::SIGSTOP;

/// Signals one process. The caller knows that `pid` is the one it means: its own child that it
/// has not waited for, or a member of its own cgroup. A process that is gone is no error.
pub(crate) fn send(pid: i32, number: i32) {
    if pid <= 0 {
        return;
    }
    // SAFETY: kill takes two integers and touches no memory; `pid` is positive, so it names one
    // process and never a group or everybody.
    unsafe { libc::kill(pid, number) };
}

/// Signals the process behind a pidfd. A process that is gone is no error.
pub(crate) fn send_by_fd(pidfd: BorrowedFd<'_>, number: i32) {
    // SAFETY: the descriptor is borrowed for the call; the null pointer asks the kernel to fill in
    // the siginfo by itself, and flags must be 0.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
}

/// Ignores a signal.
pub(crate) fn ignore(which: Signal) -> nix::Result<()> {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: SIG_IGN installs no code, so none runs in signal context.
    unsafe { sigaction(which, &action) }.map(|_| ())
}

/// Gives a signal its default disposition. One that cannot be changed (SIGKILL, SIGSTOP, those of
/// the C library) needs no change.
pub(crate) fn restore(number: i32) {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// Gives all signals their default disposition: a `nohup` far above us is no wish of an agent.
pub(crate) fn restore_all() {
    for number in 1..=libc::SIGRTMAX() {
        restore(number);
    }
}

/// Waits for `span`, where the kernel offers nothing to wait on.
pub(crate) fn pause(span: Duration) {
    let timeout = rustix::event::Timespec::try_from(span).ok();
    // An interrupted pause is a shorter one, and every caller looks again.
    rustix::event::poll(&mut [], timeout.as_ref()).ok();
}

//! Forking a process with one thread, into a cgroup where the kernel can.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// `CLONE_INTO_CGROUP` of `clone3(2)`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The parent, with the child's number.
    Parent(i32),
    /// The child.
    Child,
}

/// Forks; with `born_in` the child is in that version 2 cgroup from its first instruction, and no
/// process has to be moved, for which the kernel would wait until all forks are through.
///
/// Callers have one thread: spawner and shims never start another.
pub(super) fn fork(born_in: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    fork_into(born_in, 0)
}

/// Forks a child that is in new namespaces of these kinds, `CLONE_NEW*`, from its first instruction.
pub(super) fn fork_into(
    born_in: Option<BorrowedFd<'_>>,
    namespaces: libc::c_int,
) -> io::Result<Forked> {
    // SAFETY: all fields are integers, for which zero is a value and means "unused".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    arguments.flags = u64::from(namespaces.unsigned_abs());
    if let Some(group) = born_in {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the child gets a copy of everything, stack included, and goes on
    // from here as after fork(2); there is no other thread whose locks it could miss. The
    // arguments live across the call and their size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    side(result)
}

fn side(result: libc::c_long) -> io::Result<Forked> {
    match i32::try_from(result) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) if pid > 0 => Ok(Forked::Parent(pid)),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// [`fork_into`] without `clone3(2)`.
pub(super) fn fork_plainly_into(namespaces: libc::c_int) -> io::Result<Forked> {
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack of its own the child goes on from here as after
    // fork(2), in a process with one thread; the pointers are null and no flag uses them.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    side(result)
}

/// Forks without `clone3(2)`, which old kernels lack and seccomp filters forbid.
pub(super) fn fork_plainly() -> io::Result<Forked> {
    // SAFETY: this process has one thread, so the child may do whatever the parent may.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
    }
}

/// Forks into new namespaces of these kinds, by whichever call there is.
pub(crate) fn fork_apart(namespaces: libc::c_int) -> io::Result<Forked> {
    match fork_into(None, namespaces) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => fork_plainly_into(namespaces),
        other => other,
    }
}

//! What the supervisor gives up once it runs: calls that it has no use for, and that somebody who
//! got in through its sockets would.
//!
//! Sandboxes are made by the spawner, which is another process by then and keeps what it needs.
//! Entering a network is left, for probes of containers and their way out.

use std::collections::BTreeMap;
use std::io;

use nix::libc::{self, sock_filter};
use nix::sys::resource::{Resource, setrlimit};

use super::filter::{self, Program};
use super::{calls, privileges};

/// Off the lists, and left: libraries of programs that the supervisor runs ask where memory is.
const LEFT: [libc::c_long; 3] = [
    libc::SYS_get_mempolicy,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
];

/// Locks this process down, all its threads and whatever it starts from here on.
///
/// A filter denies loading modules, BPF, tracing and reading other processes, another kernel,
/// mounts, namespaces, the clock, swap, performance counters and keys; nothing that is executed
/// gains privileges by its file; no other process of the user can look into this one, and it
/// leaves no core.
///
/// # Errors
///
/// The kernel has no filters, or a thread has one of its own. What was done before that stays.
pub fn lock_down() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    privileges::hide()?;
    privileges::forbid_gain().map_err(|fault| fault.source)?;
    match filter::load(&program(), libc::SECCOMP_FILTER_FLAG_TSYNC)? {
        0 => Ok(()),
        thread => Err(io::Error::other(format!(
            "thread {thread} has a filter of its own"
        ))),
    }
}

/// Whether a call is denied whatever its arguments.
fn is_denied(number: i64) -> bool {
    let lists = calls::REFUSED.iter().chain(calls::TRACING);
    let mut listed = lists.map(|(_, listed)| *listed);
    number != libc::SYS_setns && !LEFT.contains(&number) && listed.any(|it| it == number)
}

fn program() -> Vec<sock_filter> {
    let denied = filter::fail(libc::EPERM);
    let mut program = Program::begin(filter::fail(libc::ENOSYS));
    program.case(libc::SYS_clone, |body| {
        body.clone_without_namespaces(denied)
    });
    program.case(libc::SYS_clone3, Program::clone3);
    program.case(libc::SYS_setns, Program::enter_network);
    let numbers = (0..=calls::newest()).filter(|number| is_denied(*number));
    let answers: BTreeMap<i64, u32> = numbers.map(|number| (number, denied)).collect();
    program.ranges(&answers, filter::ALLOW);
    program.into_code()
}

#[cfg(test)]
mod tests {
    use super::super::filter::tests::run;
    use super::*;

    #[test]
    fn what_the_supervisor_has_no_use_for_is_denied_and_all_else_is_not() {
        let program = program();
        assert!(program.len() < 200, "{}", program.len());
        let answer = |number, arguments| run(&program, filter::OWN_ARCH, number, arguments);
        let denied = filter::fail(libc::EPERM);
        for name in [
            "init_module",
            "finit_module",
            "delete_module",
            "bpf",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kexec_load",
            "kexec_file_load",
            "reboot",
            "swapon",
            "swapoff",
            "adjtimex",
            "settimeofday",
            "clock_settime",
            "perf_event_open",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "mount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "fsopen",
            "fsmount",
            "fsconfig",
            "mount_setattr",
            "chroot",
            "unshare",
            "open_by_handle_at",
            "io_uring_setup",
        ] {
            let number = calls::number(name).unwrap();
            assert_eq!(answer(number, [0; 3]), denied, "{name}");
        }
        for (name, number) in calls::ALLOWED {
            assert_eq!(answer(*number, [0; 3]), filter::ALLOW, "{name}");
        }
        for name in ["socket", "ioctl", "personality", "mbind"] {
            let number = calls::number(name).unwrap();
            assert_eq!(answer(number, [0; 3]), filter::ALLOW, "{name}");
        }
        let newer = calls::newest() + 1;
        assert_eq!(answer(newer, [0; 3]), filter::ALLOW);
    }

    #[test]
    fn of_namespaces_only_a_network_can_be_entered() {
        let program = program();
        let answer = |number, arguments| run(&program, filter::OWN_ARCH, number, arguments);
        let denied = filter::fail(libc::EPERM);
        let network = libc::CLONE_NEWNET.unsigned_abs();
        assert_eq!(answer(libc::SYS_setns, [5, network, 0]), filter::ALLOW);
        for other in [0, libc::CLONE_NEWNS.unsigned_abs(), network | 1] {
            assert_eq!(answer(libc::SYS_setns, [5, other, 0]), denied);
        }
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD).unsigned_abs();
        assert_eq!(answer(libc::SYS_clone, [thread, 0, 0]), filter::ALLOW);
        let user = libc::CLONE_NEWUSER.unsigned_abs();
        assert_eq!(answer(libc::SYS_clone, [user, 0, 0]), denied);
        assert_eq!(answer(libc::SYS_clone3, [0; 3]), filter::fail(libc::ENOSYS));
    }
}

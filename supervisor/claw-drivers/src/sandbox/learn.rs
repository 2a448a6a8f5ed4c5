//! What an agent calls that the usual filter refuses, while its filter is being worked out.
//!
//! ```text
//!  agent ──a call off the list──► kernel ──► shim: counts it, then lets it go on or refuses it
//! ```
//!
//! The kernel stops the call and asks the shim (`seccomp_unotify(2)`). Its number is all that is
//! judged: what is in memory could be changed between question and answer. What would open a way
//! out of the sandbox is refused while learning as ever.

use std::collections::BTreeMap;

use claw_core::Wall;
use nix::libc;
use serde::{Deserialize, Serialize};

use super::calls;

/// Calls that may be made while learning: they are off the list because hardly any program needs
/// them, and lead nowhere that the other walls do not stand. Rings (`io_uring_setup`) are none of
/// them: they open sockets of every kind past the filter.
const SPARED: &[libc::c_long] = &[
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_get_mempolicy,
    libc::SYS_mbind,
    libc::SYS_memfd_secret,
    libc::SYS_migrate_pages,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_personality,
    libc::SYS_process_madvise,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
];

/// So many calls are told apart; what makes up numbers fills no memory.
const MOST: usize = 256;

/// What becomes of a call off the list while learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was made.
    Allowed,
    /// It was refused with this error: a way out of the sandbox is never learned.
    Denied,
}

/// A call off the list that was made, or tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedCall {
    /// The name of the system call; its number where it has no name here.
    pub name: String,
    /// How often.
    pub count: u64,
    /// When for the first time.
    pub first: Wall,
    /// What became of it.
    pub verdict: Verdict,
}

/// Calls of several lives as those of one, by name.
#[must_use]
pub fn merged(calls: impl IntoIterator<Item = LearnedCall>) -> Vec<LearnedCall> {
    let mut merged: BTreeMap<(String, Verdict), LearnedCall> = BTreeMap::new();
    for call in calls {
        let key = (call.name.clone(), call.verdict);
        merged
            .entry(key)
            .and_modify(|known| {
                known.count += call.count;
                known.first = known.first.min(call.first);
            })
            .or_insert(call);
    }
    merged.into_values().collect()
}

/// Judges a call off the list, by its number alone.
pub(super) fn judge(number: i64) -> Verdict {
    if SPARED.contains(&number) {
        Verdict::Allowed
    } else {
        Verdict::Denied
    }
}

/// The error of a call that is refused.
fn refusal(number: i64) -> i32 {
    match calls::name(number) {
        Some(_) => libc::EPERM,
        // As on a kernel that does not have it.
        None => libc::ENOSYS,
    }
}

/// What was called so far.
#[derive(Debug, Default)]
pub(crate) struct Lessons(BTreeMap<i64, (u64, Wall)>);

impl Lessons {
    /// Counts a call; the error that it gets, if it is not made.
    pub(crate) fn take(&mut self, number: i64) -> Option<i32> {
        let full = self.0.len() >= MOST;
        if !full || self.0.contains_key(&number) {
            let (count, _first) = self.0.entry(number).or_insert_with(|| (0, Wall::now()));
            *count += 1;
        }
        match judge(number) {
            Verdict::Allowed => None,
            Verdict::Denied => Some(refusal(number)),
        }
    }

    /// All of them.
    pub(crate) fn calls(&self) -> Vec<LearnedCall> {
        let call = |(number, (count, first)): (&i64, &(u64, Wall))| LearnedCall {
            name: calls::name(*number).map_or_else(|| format!("#{number}"), str::to_owned),
            count: *count,
            first: *first,
            verdict: judge(*number),
        };
        self.0.iter().map(call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out_are_never_learned() {
        for name in [
            "mount",
            "io_uring_setup",
            "umount2",
            "unshare",
            "setns",
            "pivot_root",
            "chroot",
            "move_mount",
            "fsopen",
            "open_tree",
            "bpf",
            "kexec_load",
            "init_module",
            "ptrace",
            "process_vm_readv",
            "pidfd_getfd",
            "userfaultfd",
            "perf_event_open",
            "keyctl",
            "add_key",
            "open_by_handle_at",
            "socket",
            "socketpair",
            "clone",
            "ioctl",
            "reboot",
            "quotactl",
        ] {
            let number = calls::number(name).unwrap();
            assert_eq!(judge(number), Verdict::Denied, "{name}");
        }
        for number in SPARED {
            assert_eq!(judge(*number), Verdict::Allowed);
            let name = calls::name(*number).unwrap();
            assert!(
                calls::number(name).is_some(),
                "{name} can be named in a file"
            );
        }
    }

    #[test]
    fn calls_are_counted_and_made_up_numbers_fill_no_memory() {
        let mut lessons = Lessons::default();
        assert_eq!(lessons.take(libc::SYS_mbind), None);
        assert_eq!(lessons.take(libc::SYS_mbind), None);
        assert_eq!(lessons.take(libc::SYS_mount), Some(libc::EPERM));
        for number in 0..10_000 {
            assert_eq!(lessons.take(1_000_000 + number), Some(libc::ENOSYS));
        }
        let calls = lessons.calls();
        assert_eq!(calls.len(), MOST);
        let of = |name: &str| calls.iter().find(|call| call.name == name).unwrap();
        assert_eq!(
            (of("mbind").count, of("mbind").verdict),
            (2, Verdict::Allowed)
        );
        assert_eq!(
            (of("mount").count, of("mount").verdict),
            (1, Verdict::Denied)
        );
        assert_eq!(of("#1000000").verdict, Verdict::Denied);
    }
}

//! Control files of cgroup version 2.

use std::io;
use std::path::Path;

use super::file::{self, CgroupError};
use crate::process::signal;

/// The period over which a CPU quota is dealt out, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// Limits memory, forbids swap where it is accounted, and makes a kill for memory end the whole
/// group, so that no agent lives on half dead.
pub(super) fn limit_memory(group: &Path, bytes: u64) -> Result<(), CgroupError> {
    file::write(group, "memory.max", &bytes.to_string())?;
    file::write(group, "memory.oom.group", "1")?;
    match file::write(group, "memory.swap.max", "0") {
        Err(CgroupError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// Limits the share of processor time, in thousandths of a core.
pub(super) fn limit_cpu(group: &Path, millis: u32) -> Result<(), CgroupError> {
    let quota = (u64::from(millis) * CPU_PERIOD_US / 1000).max(1000);
    file::write(group, "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))
}

/// Limits the number of processes and threads.
pub(super) fn limit_pids(group: &Path, count: u32) -> Result<(), CgroupError> {
    file::write(group, "pids.max", &count.to_string())
}

/// Kills for memory in the group and the groups below it; the kernel sums them up.
pub(super) fn oom_kills(group: &Path) -> u64 {
    // A group that is killed whole counts each of its processes, and the first of them twice; the
    // times that it happened have a counter of their own since Linux 5.17.
    let of = |counter| file::keyed(group, "memory.events", counter).unwrap_or(0);
    match of("oom_group_kill") {
        0 => of("oom_kill"),
        times => times,
    }
}

/// User plus system time of the group, in microseconds; there without any controller.
pub(super) fn cpu_us(group: &Path) -> Option<u64> {
    file::keyed(group, "cpu.stat", "usage_usec")
}

/// Processes and threads in the group itself, without the groups below it.
pub(super) fn threads(group: &Path) -> u64 {
    let text = std::fs::read(group.join("cgroup.threads")).unwrap_or_default();
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Whether any process lives in the group or below it.
pub(super) fn is_populated(group: &Path) -> bool {
    file::keyed(group, "cgroup.events", "populated").is_some_and(|populated| populated != 0)
}

/// Freezes the group.
pub(super) fn freeze(group: &Path) -> Result<(), CgroupError> {
    file::write(group, "cgroup.freeze", "1")
}

/// Lets the group run again.
pub(super) fn thaw(group: &Path) -> Result<(), CgroupError> {
    file::write(group, "cgroup.freeze", "0")
}

/// Kills every process of the group; kernels before 5.14 have no `cgroup.kill`, there the group
/// is frozen meanwhile, so that none escapes by forking.
pub(super) fn kill(group: &Path) -> Result<(), CgroupError> {
    match file::write(group, "cgroup.kill", "1") {
        Err(CgroupError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            freeze(group)?;
            for pid in file::all_members(group) {
                signal::send(pid, signal::KILL);
            }
            thaw(group)
        }
        other => other,
    }
}

//! Control files of cgroup version 1.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::file::{self, CgroupError};
use crate::process::signal;

/// The period over which a CPU quota is dealt out, in microseconds: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

/// Looks at a freezing group this often; freezing takes effect within a scheduler tick or two,
/// and version 1 tells nobody when it is done.
const FREEZE_STEP: Duration = Duration::from_millis(1);

/// Looks this often before the group counts as one that cannot be frozen now (a process in
/// uninterruptible sleep); its members are signalled all the same.
const FREEZE_STEPS: u32 = 50;

/// Limits memory, and memory with swap to the same, where swap is accounted.
pub(super) fn limit_memory(group: &Path, bytes: u64) -> Result<(), CgroupError> {
    file::write(group, "memory.limit_in_bytes", &bytes.to_string())?;
    match file::write(group, "memory.memsw.limit_in_bytes", &bytes.to_string()) {
        Err(CgroupError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// Limits the share of processor time, in thousandths of a core.
pub(super) fn limit_cpu(group: &Path, millis: u32) -> Result<(), CgroupError> {
    let quota = u64::from(millis) * CPU_PERIOD_US / 1000;
    file::write(group, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
    file::write(group, "cpu.cfs_quota_us", &quota.max(1000).to_string())
}

/// Limits the number of processes and threads.
pub(super) fn limit_pids(group: &Path, count: u32) -> Result<(), CgroupError> {
    file::write(group, "pids.max", &count.to_string())
}

/// Kills for memory in the group and the groups below it.
pub(super) fn oom_kills(group: &Path) -> u64 {
    file::subtree(group)
        .iter()
        .filter_map(|group| file::keyed(group, "memory.oom_control", "oom_kill"))
        .sum()
}

/// Freezes the group; returns once it is frozen or will not be soon.
pub(super) fn freeze(group: &Path) -> Result<(), CgroupError> {
    file::write(group, "freezer.state", "FROZEN")?;
    for _ in 0..FREEZE_STEPS {
        let state = std::fs::read_to_string(group.join("freezer.state")).unwrap_or_default();
        if state.trim() == "FROZEN" {
            return Ok(());
        }
        signal::pause(FREEZE_STEP);
    }
    Ok(())
}

/// Lets the group run again.
pub(super) fn thaw(group: &Path) -> Result<(), CgroupError> {
    file::write(group, "freezer.state", "THAWED")
}

/// Signals every process of the group; frozen meanwhile, so that none escapes by forking.
pub(super) fn kill(group: &Path) -> Result<(), CgroupError> {
    freeze(group)?;
    signal_all(group, signal::KILL);
    thaw(group)
}

/// Sends a signal to every process of the group and the groups below it.
pub(super) fn signal_all(group: &Path, number: i32) {
    for pid in file::all_members(group) {
        signal::send(pid, number);
    }
}

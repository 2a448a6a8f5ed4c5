//! Groups that somebody else made, by a process in them: read only.

use std::path::Path;

use super::file;
use super::mounts::Mounts;
use super::{v1, v2};

/// What the groups of a process count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ProcessUsage {
    /// User plus system time, in microseconds.
    pub(crate) cpu_us: u64,
    /// Memory in use, in bytes.
    pub(crate) memory: u64,
    /// The most memory ever in use, in bytes; 0 when that is not counted.
    pub(crate) memory_peak: u64,
    /// Processes and threads.
    pub(crate) pids: u64,
    /// Kills for memory.
    pub(crate) oom_kills: u64,
}

/// Reads the counters of a process's groups; `None` when they cannot be seen from here. Blocks.
pub(crate) fn usage_of_process(pid: u32) -> Option<ProcessUsage> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mounts = Mounts::read();
    if let Some(memory) = mounts.group_v1(&groups, "memory") {
        let nanoseconds = mounts
            .group_v1(&groups, "cpuacct")
            .and_then(|group| file::number(&group, "cpuacct.usage"));
        let pids = mounts
            .group_v1(&groups, "pids")
            .and_then(|group| file::number(&group, "pids.current"));
        return Some(ProcessUsage {
            cpu_us: nanoseconds.unwrap_or(0) / 1000,
            memory: file::number(&memory, "memory.usage_in_bytes")?,
            memory_peak: file::number(&memory, "memory.max_usage_in_bytes").unwrap_or(0),
            pids: pids.unwrap_or(0),
            oom_kills: v1::oom_kills(&memory),
        });
    }
    mounts.group_v2(&groups).and_then(|group| version2(&group))
}

fn version2(group: &Path) -> Option<ProcessUsage> {
    Some(ProcessUsage {
        cpu_us: v2::cpu_us(group)?,
        memory: file::number(group, "memory.current")?,
        memory_peak: file::number(group, "memory.peak").unwrap_or(0),
        pids: file::number(group, "pids.current").unwrap_or(0),
        oom_kills: v2::oom_kills(group),
    })
}

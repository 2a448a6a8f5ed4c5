//! What live instances use now.

use nix::unistd::{SysconfVar, sysconf};

use super::cgroup::Group;
use super::procfs::{self, Stat};
use crate::driver::Usage;

/// Reads the group's counters, and what it does not count from `/proc`. Blocks.
pub(super) fn of(group: &Group, shim: Option<i32>) -> Usage {
    let (cpu, memory) = (group.cpu_us(), group.memory_now());
    let pids = group.pids_now().or_else(|| group.threads_now());
    if let (Some(cpu_us), Some(memory), Some(pids)) = (cpu, memory, pids) {
        return Usage {
            cpu_us,
            memory,
            pids,
            oom_kills: group.oom_kills(),
        };
    }
    let members = if group.tree.is_some() {
        group.members()
    } else {
        shim.map(procfs::descendants).unwrap_or_default()
    };
    let stats: Vec<Stat> = members.into_iter().filter_map(Stat::read).collect();
    let tick_us = 1_000_000 / constant(SysconfVar::CLK_TCK, 100);
    let page = constant(SysconfVar::PAGE_SIZE, 4096);
    Usage {
        cpu_us: cpu.unwrap_or_else(|| stats.iter().map(|stat| stat.cpu_ticks * tick_us).sum()),
        memory: memory.unwrap_or_else(|| stats.iter().map(|stat| stat.resident_pages * page).sum()),
        pids: pids.unwrap_or_else(|| stats.iter().map(|stat| stat.threads).sum()),
        oom_kills: group.oom_kills(),
    }
}

fn constant(which: SysconfVar, usual: u64) -> u64 {
    let known = sysconf(which).ok().flatten();
    known
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| *value > 0)
        .unwrap_or(usual)
}

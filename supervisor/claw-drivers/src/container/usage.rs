//! What the containers use now, as the kernel counts it: the engine is not asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::InstanceId;

use super::driver::{Inner, RunningContainer};
use crate::driver::Usage;
use crate::process::usage_of_process;

/// Measures every container that runs on this machine. One whose groups cannot be read (an engine
/// in a machine of its own) is left out.
pub(super) async fn of(inner: &Arc<Inner>) -> BTreeMap<InstanceId, Usage> {
    let running = inner.all_running();
    if running.is_empty() {
        return BTreeMap::new();
    }
    let inner = Arc::clone(inner);
    let read = tokio::task::spawn_blocking(move || {
        let mut all = BTreeMap::new();
        for (instance, container) in running {
            let Some((usage, peak)) = measure(&container) else {
                continue;
            };
            inner.note_usage(&instance, usage, peak);
            all.insert(instance, usage);
        }
        all
    });
    // Fails only when the runtime ends.
    read.await.unwrap_or_default()
}

/// Whether the process of that number is the container's: the number may be another's by now, or
/// be of another machine.
pub(super) fn is_inside(pid: u32, container: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    !container.is_empty() && groups.is_ok_and(|groups| groups.contains(container))
}

fn measure(container: &RunningContainer) -> Option<(Usage, u64)> {
    if !is_inside(container.pid, &container.id) {
        return None;
    }
    let group = usage_of_process(container.pid)?;
    let usage = Usage {
        cpu_us: group.cpu_us,
        memory: group.memory,
        pids: group.pids,
        oom_kills: group.oom_kills,
    };
    Some((usage, group.memory_peak))
}

//! Whether a process belongs to an agent.

use std::path::Path;

use claw_core::InstanceId;

/// A process has at most so many ancestors before we give up.
const ANCESTORS: usize = 256;

/// Whether `pid` is a process of the instance: in its cgroup, or where there are none, below its
/// main process or its shim.
pub(super) fn belongs(pid: u32, instance: &InstanceId, main: Option<u32>) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let group = format!("{}-{}", instance.agent, instance.generation);
    if groups.lines().any(|line| is_below(line, &group)) {
        return true;
    }
    // The main process is not known yet in the moment after its start; the token stands alone then.
    // Nor is that of a container that its engine has not told of; its number is 0 then.
    let Some(main) = main.filter(|main| *main > 0) else {
        return true;
    };
    if confined(main, &group) {
        return false;
    }
    let shim = parent(main);
    let mut current = pid;
    for _ in 0..ANCESTORS {
        if current == main || Some(current) == shim {
            return true;
        }
        match parent(current) {
            Some(above) if above > 1 => current = above,
            Some(_) | None => return false,
        }
    }
    false
}

/// Whether a line of `/proc/<pid>/cgroup` leads through the group.
fn is_below(line: &str, group: &str) -> bool {
    line.rsplit(':').next().is_some_and(|path| {
        Path::new(path)
            .components()
            .any(|part| part.as_os_str() == group)
    })
}

/// Whether the main process itself is in the group, so that whatever is not is foreign.
fn confined(main: u32, group: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{main}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| is_below(line, group))
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields are counted from the last one.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> InstanceId {
        InstanceId {
            agent: "web".parse().unwrap(),
            generation: claw_core::Generation(7),
        }
    }

    #[test]
    fn a_group_is_known_by_its_whole_name() {
        assert!(is_below("0::/openclaw/ab/web-7/inner", "web-7"));
        assert!(!is_below("0::/openclaw/ab/web-71", "web-7"));
    }

    #[test]
    fn without_groups_a_process_belongs_to_its_ancestors() {
        let own = std::process::id();
        let above = parent(own).unwrap();
        assert!(belongs(own, &instance(), Some(own)));
        assert!(belongs(own, &instance(), Some(above)));
        assert!(!belongs(1, &instance(), Some(own)));
    }
}

//! Where the hierarchies are mounted, and where in them this process is.

use std::fs;
use std::path::{Path, PathBuf};

/// The hierarchies this process can see.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// `/proc/self/mountinfo`, the cgroup lines of it.
    hierarchies: Vec<Hierarchy>,
    /// `/proc/self/cgroup`.
    own: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    point: PathBuf,
    /// Which part of the hierarchy is mounted here; a container sees its own only.
    root: PathBuf,
    /// `None` for version 2.
    controllers: Option<Vec<String>>,
}

impl Mounts {
    /// Reads them from `/proc`.
    pub(super) fn read() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            hierarchies: mounts.lines().filter_map(parse).collect(),
            own: fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
        }
    }

    /// This process's own group of version 2, as a directory.
    pub(super) fn own_v2(&self) -> Option<PathBuf> {
        let hierarchy = self
            .hierarchies
            .iter()
            .find(|found| found.controllers.is_none())?;
        let own = self.own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let below = Path::new(own)
            .strip_prefix(&hierarchy.root)
            .unwrap_or_else(|_| Path::new(""));
        Some(hierarchy.point.join(below))
    }

    /// The group of version 2 that `groups`, the text of a process's `/proc/<pid>/cgroup`, names.
    pub(super) fn group_v2(&self, groups: &str) -> Option<PathBuf> {
        let hierarchy = self
            .hierarchies
            .iter()
            .find(|found| found.controllers.is_none())?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        hierarchy.directory(path)
    }

    /// The group of a version 1 controller that `groups` names.
    pub(super) fn group_v1(&self, groups: &str, controller: &str) -> Option<PathBuf> {
        let hierarchy = self
            .hierarchies
            .iter()
            .find(|found| found.has(controller))?;
        let path = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let named = controllers.split(',').any(|name| name == controller);
            named.then_some(path)
        })?;
        hierarchy.directory(path)
    }

    /// The top of what is mounted of a version 1 controller's hierarchy.
    ///
    /// Not our own group there: version 1 knows no delegation, and groups of ours must not
    /// depend on one that somebody else made and may want to remove.
    pub(super) fn top_v1(&self, controller: &str) -> Option<PathBuf> {
        self.hierarchies
            .iter()
            .find(|found| found.has(controller))
            .map(|found| found.point.clone())
    }
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        let list = self.controllers.as_ref();
        list.is_some_and(|list| list.iter().any(|name| name == controller))
    }

    /// Where a group is, if it lies in the part that is mounted.
    fn directory(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(&self.root).ok()?;
        Some(self.point.join(below))
    }
}

/// One line of `mountinfo`: `36 35 0:30 ROOT POINT OPTIONS [TAGS] - TYPE SOURCE SUPER`.
fn parse(line: &str) -> Option<Hierarchy> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (mount.next()?, mount.next()?);
    let mut system = system.split(' ');
    let controllers = match system.next()? {
        "cgroup2" => None,
        "cgroup" => Some(system.nth(1)?.split(',').map(str::to_owned).collect()),
        _ => return None,
    };
    Some(Hierarchy {
        point: PathBuf::from(point),
        root: PathBuf::from(root),
        controllers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_and_other_mounts_are_not() {
        let hybrid =
            "33 25 0:29 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        let memory = "34 25 0:30 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let found = Mounts {
            hierarchies: [hybrid, memory, "26 1 0:5 / /proc rw - proc proc rw"]
                .into_iter()
                .filter_map(parse)
                .collect(),
            own: "4:memory:/docker/ab\n0::/user.slice/x\n".to_owned(),
        };
        assert_eq!(found.hierarchies.len(), 2);
        assert_eq!(
            found.own_v2(),
            Some("/sys/fs/cgroup/unified/user.slice/x".into())
        );
        assert_eq!(found.top_v1("memory"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(found.top_v1("freezer"), None);
    }
}

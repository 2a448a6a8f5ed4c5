//! The cgroups of one instance.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use claw_core::spec::Resources;
use serde::{Deserialize, Serialize};

use super::file::{self, CgroupError};
use super::{Backend, v1, v2};
use crate::process::signal;

/// What a group is limited to; the wire form of [`Resources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) cpu_millis: Option<u32>,
    pub(crate) memory: Option<u64>,
    pub(crate) pids: Option<u32>,
}

impl From<&Resources> for Limits {
    fn from(resources: &Resources) -> Self {
        Self {
            cpu_millis: resources.cpu_millis,
            memory: resources.memory,
            pids: resources.pids,
        }
    }
}

/// The directories an instance lives in, by what each is for. With version 2 they are one and
/// the same; with `hybrid`, `tree` is of version 2 and the others of version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) backend: Backend,
    /// Holds every process: for killing, freezing and knowing that nothing is left.
    pub(crate) tree: Option<PathBuf>,
    pub(crate) memory: Option<PathBuf>,
    pub(crate) cpu: Option<PathBuf>,
    pub(crate) pids: Option<PathBuf>,
    pub(crate) limits: Limits,
}

/// What a child needs to enter its groups.
#[derive(Debug, Default)]
pub(crate) struct Entrances {
    /// A version 2 group to be born in.
    born_in: Option<File>,
    /// Files to write `0` to.
    written: Vec<File>,
}

impl Entrances {
    /// The version 2 group to be born in.
    pub(crate) fn born_in(&self) -> Option<BorrowedFd<'_>> {
        self.born_in.as_ref().map(AsFd::as_fd)
    }

    /// Moves the calling process, which must have one thread, into the other groups.
    pub(crate) fn enter(&self) -> std::io::Result<()> {
        for file in &self.written {
            rustix::io::write(file, b"0")?;
        }
        Ok(())
    }

    /// Gives up being born in a group (an old kernel, a seccomp filter); it is entered instead.
    pub(crate) fn enter_instead(&mut self, group: &Group) -> Result<(), CgroupError> {
        if self.born_in.take().is_some()
            && let Some(tree) = &group.tree
        {
            self.written.push(file::open(tree, "cgroup.procs")?);
        }
        Ok(())
    }
}

impl Group {
    /// Every directory once.
    pub(crate) fn directories(&self) -> Vec<&Path> {
        let mut found: Vec<&Path> = Vec::with_capacity(4);
        for path in [&self.tree, &self.memory, &self.cpu, &self.pids]
            .into_iter()
            .flatten()
        {
            if !found.contains(&path.as_path()) {
                found.push(path);
            }
        }
        found
    }

    /// Makes the directories and writes the limits.
    pub(crate) fn create(&self) -> Result<(), CgroupError> {
        for path in self.directories() {
            file::make(path)?;
        }
        let version2 = self.backend == Backend::V2;
        if let (Some(path), Some(bytes)) = (&self.memory, self.limits.memory) {
            let limit = if version2 {
                v2::limit_memory
            } else {
                v1::limit_memory
            };
            limit(path, bytes)?;
        }
        if let (Some(path), Some(millis)) = (&self.cpu, self.limits.cpu_millis) {
            let limit = if version2 {
                v2::limit_cpu
            } else {
                v1::limit_cpu
            };
            limit(path, millis)?;
        }
        if let (Some(path), Some(count)) = (&self.pids, self.limits.pids) {
            let limit = if version2 {
                v2::limit_pids
            } else {
                v1::limit_pids
            };
            limit(path, count)?;
        }
        Ok(())
    }

    /// Opens what a child needs to enter.
    ///
    /// Version 1 groups are entered through `tasks`: a thread that moves itself, unlike a whole
    /// process, does not make the kernel wait for a grace period.
    pub(crate) fn entrances(&self) -> Result<Entrances, CgroupError> {
        let mut entrances = Entrances::default();
        for path in self.directories() {
            let version2 = Some(path) == self.tree.as_deref() && self.backend.tree_is_v2();
            if version2 {
                let opened = File::open(path).map_err(|source| CgroupError::Open {
                    path: path.to_owned(),
                    source,
                })?;
                entrances.born_in = Some(opened);
            } else {
                entrances.written.push(file::open(path, "tasks")?);
            }
        }
        Ok(entrances)
    }

    /// Kills every process in the group at once; ones that fork meanwhile included.
    pub(crate) fn kill(&self) -> Result<(), CgroupError> {
        let killed = match (&self.tree, self.backend) {
            (None, _) | (Some(_), Backend::None) => Ok(()),
            (Some(tree), Backend::V2 | Backend::Hybrid) => v2::kill(tree),
            (Some(tree), Backend::V1) => v1::kill(tree),
        };
        // A process of root can leave one hierarchy of several; it is still ours by the others.
        if self.backend != Backend::V2 {
            for path in [&self.memory, &self.cpu, &self.pids].into_iter().flatten() {
                v1::signal_all(path, signal::KILL);
            }
        }
        killed
    }

    /// Stops scheduling every process in the group.
    pub(crate) fn freeze(&self) -> Result<(), CgroupError> {
        match (&self.tree, self.backend) {
            (None, _) | (Some(_), Backend::None) => Ok(()),
            (Some(tree), Backend::V2 | Backend::Hybrid) => v2::freeze(tree),
            (Some(tree), Backend::V1) => v1::freeze(tree),
        }
    }

    /// Undoes [`Group::freeze`].
    pub(crate) fn thaw(&self) -> Result<(), CgroupError> {
        match (&self.tree, self.backend) {
            (None, _) | (Some(_), Backend::None) => Ok(()),
            (Some(tree), Backend::V2 | Backend::Hybrid) => v2::thaw(tree),
            (Some(tree), Backend::V1) => v1::thaw(tree),
        }
    }

    /// Whether the group is there and a process lives in it.
    pub(crate) fn is_populated(&self) -> bool {
        let Some(tree) = &self.tree else {
            return false;
        };
        if self.backend.tree_is_v2() {
            v2::is_populated(tree)
        } else {
            !file::all_members(tree).is_empty()
        }
    }

    /// The processes in the group.
    pub(crate) fn members(&self) -> Vec<i32> {
        self.tree
            .as_deref()
            .map(file::all_members)
            .unwrap_or_default()
    }

    /// Removes the directories; fails with `EBUSY` as long as anything is in them.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        self.directories().into_iter().try_for_each(file::remove)
    }

    /// How many processes of the group were killed for memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        match (&self.memory, self.backend) {
            (None, _) => 0,
            (Some(path), Backend::V2) => v2::oom_kills(path),
            (Some(path), Backend::Hybrid | Backend::V1 | Backend::None) => v1::oom_kills(path),
        }
    }

    /// User plus system time, in microseconds, where the group counts it.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        let tree = self.tree.as_deref().filter(|_| self.backend.tree_is_v2())?;
        v2::cpu_us(tree)
    }

    /// Memory in use now, in bytes, where the group counts it.
    pub(crate) fn memory_now(&self) -> Option<u64> {
        let file = if self.backend == Backend::V2 {
            "memory.current"
        } else {
            "memory.usage_in_bytes"
        };
        file::number(self.memory.as_deref()?, file)
    }

    /// The most memory ever in use, in bytes, where the group counts it.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        let file = if self.backend == Backend::V2 {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        file::number(self.memory.as_deref()?, file)
    }

    /// Processes and threads now, where the group counts them.
    pub(crate) fn pids_now(&self) -> Option<u64> {
        file::number(self.pids.as_deref()?, "pids.current")
    }

    /// Processes and threads now, counted one by one, where the tree lists them.
    pub(crate) fn threads_now(&self) -> Option<u64> {
        let tree = self.tree.as_deref().filter(|_| self.backend.tree_is_v2())?;
        Some(
            file::subtree(tree)
                .iter()
                .map(|group| v2::threads(group))
                .sum(),
        )
    }
}

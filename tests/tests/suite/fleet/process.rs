//! Processes as `/proc` shows them.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process that cannot be taken for another one that got its number later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    start: u64,
    pub(crate) command: String,
}

impl Process {
    /// The process of that number, unless there is none or it is a zombie.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let name = name_of(pid);
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        Some(Self {
            pid,
            start: fields.get(19)?.parse().ok()?,
            command: format!("[{}] {}", name, words.trim()),
        })
    }

    /// Every process with that mark in the environment it was started with.
    pub(super) fn marked(mark: &str) -> Vec<Self> {
        let marked = all().filter(|pid| bears(*pid, mark));
        marked.filter_map(Self::of).collect()
    }

    /// Every shim that has a file below `folder` open.
    pub(super) fn shims_of(folder: &Path) -> Vec<Self> {
        let shims = all().filter(|pid| name_of(*pid) == "claw-shim");
        let holding = shims.filter(|pid| holds_below(*pid, folder));
        holding.filter_map(Self::of).collect()
    }

    /// The spawner of a supervisor, and the process that would start it again.
    pub(super) fn spawners_of(supervisor: i32) -> Vec<Self> {
        let above = |pid: i32| match &*name_of(pid) {
            "claw-respawner" => parent_of(pid),
            "claw-spawner" => parent_of(parent_of(pid)?),
            _ => None,
        };
        let own = all().filter(|pid| above(*pid) == Some(supervisor));
        own.filter_map(Self::of).collect()
    }

    /// Whether it is an agent's shim.
    pub(crate) fn is_shim(&self) -> bool {
        self.command.starts_with("[claw-shim]")
    }

    /// Whether it is the fork server of a supervisor, or the process above that.
    pub(crate) fn is_spawner(&self) -> bool {
        let names = ["[claw-spawner]", "[claw-respawner]"];
        names.iter().any(|name| self.command.starts_with(name))
    }

    /// Whether it still runs.
    pub(crate) fn lives(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.start == self.start)
    }

    /// Sends it a signal; one that is gone gets none, and nobody else does.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        if self.lives() {
            // It may have ended since; then it needs no signal.
            pidfd_send_signal(handle.as_fd(), signal).ok();
        }
    }

    /// The names of its control groups, below their hierarchies.
    pub(crate) fn groups(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid)).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
            })
            .collect()
    }
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn name_of(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

fn holds_below(pid: i32, folder: &Path) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut targets = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target.starts_with(folder))
}

fn bears(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

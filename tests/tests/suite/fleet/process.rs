//! Processes as `/proc` shows them.

use std::fs;
use std::os::fd::AsFd;

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
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        Some(Self {
            pid,
            start: fields.get(19)?.parse().ok()?,
            command: format!("[{}] {}", name.trim(), words.trim()),
        })
    }

    /// Every process with that mark in the environment it was started with.
    pub(crate) fn marked(mark: &str) -> Vec<Self> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut found: Vec<Self> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| bears(*pid, mark))
            .filter_map(Self::of)
            .collect();
        found.sort();
        found
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

fn bears(pid: i32, mark: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}

//! What the supervisor takes of the machine.

use std::fmt;
use std::fs;

/// No supervisor of a fleet of this size needs more, in KiB: it is the debug build as well.
const MEMORY: u64 = 200 * 1024;

/// No supervisor of a fleet of this size has more files open, apart from clients.
const DESCRIPTORS: usize = 400;

/// The most and the last that was seen.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    memory: (u64, u64),
    descriptors: (usize, usize),
    threads: (u64, u64),
}

impl Gauge {
    /// Looks, and checks that it is not too much.
    pub(super) fn look(&mut self, pid: i32) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let number = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let (Some(memory), Some(threads)) = (number("VmRSS:"), number("Threads:")) else {
            // It has not come to its first instruction, or has just been killed.
            return;
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        assert!(memory < MEMORY, "the supervisor takes {memory} KiB");
        assert!(
            descriptors < DESCRIPTORS,
            "the supervisor has {descriptors} files open"
        );
        self.memory = (self.memory.0.max(memory), memory);
        self.threads = (self.threads.0.max(threads), threads);
        self.descriptors = (self.descriptors.0.max(descriptors), descriptors);
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (most, last) = self.memory;
        write!(out, "{most} KiB at most, {last} at the end; ")?;
        let (most, last) = self.descriptors;
        write!(out, "descriptors {most} and {last}; ")?;
        let (most, last) = self.threads;
        write!(out, "threads {most} and {last}")
    }
}

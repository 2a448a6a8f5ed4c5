//! Processes as `/proc` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// A process that cannot be taken for another one that got its number later: within one boot,
/// the pair is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: i32,
    /// Clock ticks since boot, from `/proc/<pid>/stat`.
    pub(crate) start: u64,
}

impl ProcessIdentity {
    /// The process of that number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self {
            pid,
            start: stat.start,
        })
    }

    /// This process and the number of its parent, as `/proc` counts: whoever mounted it may be in
    /// another namespace.
    pub(crate) fn own() -> Option<(Self, i32)> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let stat = Stat::parse(&text)?;
        let own = Self {
            pid: text.split(' ').next()?.parse().ok()?,
            start: stat.start,
        };
        Some((own, stat.parent))
    }

    /// Whether the process still is (a zombie is, too).
    pub(crate) fn is_there(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

/// More than a line of some fifty numbers can have.
const STAT_LIMIT: usize = 2048;

/// The fields of `/proc/<pid>/stat` that are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    pub(crate) state: char,
    pub(crate) start: u64,
    /// User plus system time, its own and that of waited-for children, in clock ticks.
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u64,
    pub(crate) resident_pages: u64,
}

impl Stat {
    /// Reads it; `None` when there is no such process.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        // One read instead of the several with which a growing buffer feels its way.
        let mut buffer = [0_u8; STAT_LIMIT];
        let length = File::open(format!("/proc/{pid}/stat"))
            .ok()?
            .read(&mut buffer)
            .ok()?;
        Self::parse(&String::from_utf8_lossy(&buffer[..length]))
    }

    /// The name in parentheses may hold anything, so fields are counted from the last one.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            cpu_ticks: (11..=14).filter_map(number).sum(),
            threads: number(17)?,
            start: number(19)?,
            resident_pages: number(21)?,
        })
    }
}

/// What a process has taken upon itself for good: filters of system calls, and to gain nothing by
/// what it executes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Renounced {
    filters: u32,
    gains: u32,
}

impl Renounced {
    fn of(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let number = |key: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse().ok())
        };
        Self {
            // Kernels before 5.9 tell only that there are some.
            filters: number("Seccomp_filters")
                .or_else(|| number("Seccomp"))
                .unwrap_or(0),
            gains: number("NoNewPrivs").unwrap_or(0),
        }
    }
}

/// Whether a process belongs to a sandbox that this process is not in itself: it has renounced more
/// than a shim that it descends from. One that is gone counts as such, since nobody can tell.
///
/// What descends from a shim still does when its parents are gone, and an ancestor that merely
/// calls itself a shim excuses nobody.
#[must_use]
pub fn is_confined(pid: i32) -> bool {
    let Some(own) = Renounced::of(pid) else {
        return true;
    };
    let around = ProcessIdentity::own().map_or_else(Vec::new, |(me, _)| ancestors(me.pid));
    let between = ancestors(pid).into_iter();
    let mut shims = between
        .filter(|ancestor| !around.contains(ancestor))
        .filter(|ancestor| {
            let name = fs::read_to_string(format!("/proc/{ancestor}/comm"));
            name.is_ok_and(|name| name.trim_end() == "claw-shim")
        });
    shims.any(|shim| {
        let shim = Renounced::of(shim);
        shim.is_none_or(|shim| own.filters > shim.filters || own.gains > shim.gains)
    })
}

/// A process's parent, and the parent's, and so on.
fn ancestors(pid: i32) -> Vec<i32> {
    let above = |pid: i32| Stat::read(pid).map(|stat| stat.parent);
    std::iter::successors(above(pid), |pid| above(*pid))
        .take_while(|pid| *pid > 0)
        .collect()
}

/// All descendants of a process, zombies left out.
pub(crate) fn descendants(of: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut dead = BTreeSet::new();
    for pid in all_processes() {
        let Some(stat) = Stat::read(pid) else {
            continue;
        };
        if matches!(stat.state, 'Z' | 'X') {
            dead.insert(pid);
        }
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut open = vec![of];
    while let Some(parent) = open.pop() {
        let below = children.remove(&parent).unwrap_or_default();
        open.extend(&below);
        found.extend(below);
    }
    found.retain(|pid| !dead.contains(pid));
    found
}

/// The process of these that has the number `inside` in its own, innermost namespace.
pub(crate) fn by_inner_number(candidates: &[i32], inside: i32) -> Option<i32> {
    candidates.iter().copied().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let innermost = numbers.and_then(|numbers| numbers.split_ascii_whitespace().last());
        innermost.and_then(|number| number.parse().ok()) == Some(inside)
    })
}

/// Whether `pid` is `ancestor` or one of its descendants.
///
/// A parent may die between two steps; its children then have a new parent, so a broken chain
/// is followed once more from the start.
pub(crate) fn descends_from(pid: i32, ancestor: i32) -> bool {
    climb(pid, ancestor)
        .or_else(|| climb(pid, ancestor))
        .unwrap_or(false)
}

fn climb(pid: i32, ancestor: i32) -> Option<bool> {
    let mut current = pid;
    while current > 1 {
        if current == ancestor {
            return Some(true);
        }
        current = Stat::read(current)?.parent;
    }
    Some(false)
}

fn all_processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The id of this boot: processes of another one are gone, whatever the numbers say. Where the
/// kernel has none, all boots are one.
///
/// # Errors
///
/// It cannot be read. To guess would be to start a second copy of whatever lives.
pub fn boot_id() -> io::Result<String> {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("unknown".to_owned()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let text = "7 (a) S 1 (b) R 42 7 7 0 -1 0 1 0 0 0 10 20 3 4 20 0 5 0 777 99 12 0";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                parent: 42,
                state: 'R',
                start: 777,
                cpu_ticks: 37,
                threads: 5,
                resident_pages: 12,
            })
        );
    }

    #[test]
    fn this_process_descends_from_its_parent_and_not_the_other_way_round() {
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        let parent = Stat::read(own).expect("we are").parent;
        assert!(descends_from(own, parent));
        assert!(!descends_from(parent, own));
        assert!(descendants(parent).contains(&own));
    }
}

//! What the cgroups of this machine can do for us, in words and as data.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How groups are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// Version 2 for everything.
    V2,
    /// Version 1 for limits, version 2 for killing, freezing and emptiness.
    Hybrid,
    /// Version 1 for everything.
    V1,
    /// No groups.
    None,
}

impl Backend {
    /// Whether the directory that holds the whole tree is of version 2.
    #[must_use]
    pub const fn tree_is_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::V1 => "v1",
            Self::None => "none",
        })
    }
}

/// Whether a limit can be enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "enforced", rename_all = "snake_case")]
pub enum Enforcement {
    /// It holds, from the first instruction.
    Yes,
    /// It cannot be enforced; an agent that asks for it is refused.
    No {
        /// Why, for people.
        why: String,
    },
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("enforced"),
            Self::No { why } => write!(f, "not enforced: {why}"),
        }
    }
}

/// How a whole tree is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KillMethod {
    /// One write to `cgroup.kill`.
    CgroupKill,
    /// Freeze, signal each process, thaw.
    FreezeAndSignal,
    /// The shim, as subreaper, signals its descendants until none is left.
    WalkDescendants,
}

impl fmt::Display for KillMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupKill => "the whole group at once (cgroup.kill)",
            Self::FreezeAndSignal => "freeze the group, signal each process, thaw it",
            Self::WalkDescendants => {
                "signal the descendants of the shim until none is left; \
                 if the shim itself is killed, escaped daemons may survive"
            }
        })
    }
}

/// What the process driver can promise on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// How groups are used.
    pub backend: Backend,
    /// Where our groups are; empty with `none`.
    pub roots: Vec<PathBuf>,
    /// `resources.memory`.
    pub memory: Enforcement,
    /// `resources.cpu`.
    pub cpu: Enforcement,
    /// `resources.pids`.
    pub pids: Enforcement,
    /// How a whole tree is ended.
    pub kill: KillMethod,
    /// Whether `pause --freeze` stops a tree in a way it can neither see nor undo.
    pub freeze: Enforcement,
    /// Whether kills for memory are counted per agent.
    pub oom_counter: Enforcement,
    /// Why a better backend was not taken, one sentence each.
    pub notes: Vec<String>,
}

impl Capabilities {
    /// Whether anything that could be had from a kernel of today is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        [
            &self.memory,
            &self.cpu,
            &self.pids,
            &self.freeze,
            &self.oom_counter,
        ]
        .into_iter()
        .all(|limit| *limit == Enforcement::Yes)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cgroups      {}", self.backend)?;
        for root in &self.roots {
            writeln!(f, "  below      {}", root.display())?;
        }
        writeln!(f, "  memory     {}", self.memory)?;
        writeln!(f, "  cpu        {}", self.cpu)?;
        writeln!(f, "  pids       {}", self.pids)?;
        writeln!(f, "  kill       {}", self.kill)?;
        writeln!(f, "  freeze     {}", self.freeze)?;
        write!(f, "  oom count  {}", self.oom_counter)?;
        for note in &self.notes {
            write!(f, "\n  note       {note}")?;
        }
        Ok(())
    }
}

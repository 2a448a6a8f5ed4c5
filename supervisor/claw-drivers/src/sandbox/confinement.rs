//! How one process is confined, worked out by the supervisor for the shim and its child.

use std::path::PathBuf;

use claw_core::sandbox::Plan;
use claw_core::spec::sandbox::Proc;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::network::Ports;
use crate::process::ProcessIdentity;

/// How a process is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) plan: Plan,
    pub(crate) walls: Walls,
    pub(crate) limits: Limits,
    /// The filter of system calls.
    pub(crate) filter: Option<Filter>,
}

impl Confinement {
    /// What is listened for in the network that is made for it.
    pub(crate) fn ports(&self) -> Ports {
        match &self.walls {
            Walls::Namespaces(namespaces) => match namespaces.network {
                Network::Host => Ports::default(),
                Network::Own(ports) => ports,
            },
            Walls::None | Walls::Rules(_) | Walls::Guest(_) => Ports::default(),
        }
    }
}

/// What is around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Walls {
    /// Nothing but limits.
    None,
    /// Rules about the files of the host.
    Rules(Rules),
    /// Namespaces of its own.
    Namespaces(Box<Namespaces>),
    /// The namespaces of an instance that runs.
    Guest(Guest),
}

/// Rules about files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) writable: Vec<PathBuf>,
    pub(crate) scope: Scope,
    #[serde(default)]
    pub(crate) tcp: Tcp,
}

/// Which connections of TCP are made, as far as rules have to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tcp {
    /// Any: something else keeps it where it belongs, or nothing does.
    #[default]
    Any,
    /// Those to this port, of whichever address: the kernel tells ports apart and not hosts.
    To(u16),
}

/// Which processes outside it may speak to or signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    /// None.
    Closed,
    /// Any: it has to reach an abstract socket of ours.
    Open,
}

/// Namespaces of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespaces {
    /// The user and group of the host that it is.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) hostname: String,
    pub(crate) network: Network,
    pub(crate) root: RootDir,
    /// Rules about those of its files, as a second wall.
    pub(crate) rules: Option<Rules>,
}

/// Its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Network {
    /// The host's.
    Host,
    /// Its own, in which connections lead to what listens there and no others anywhere.
    Own(Ports),
}

/// What it sees of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootDir {
    /// Those of the host, in such an order that what is below another comes after it.
    pub(crate) binds: Vec<Bind>,
    /// Of the binds that are written to, those of a fixed size.
    #[serde(default)]
    pub(crate) disks: Vec<Disk>,
    /// Symbolic links, by path and target.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Files of our own making, by path and text.
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) tmp: Memory,
    pub(crate) shm: Memory,
    pub(crate) proc: Proc,
}

/// A directory in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) size: u64,
    pub(crate) exec: Exec,
}

/// A file or directory of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// Without a symbolic link in it.
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) access: Access,
    pub(crate) exec: Exec,
}

/// What may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Access {
    Read,
    Write,
    /// It is a device, or a socket, and works.
    Use,
    /// Something empty is in its place; what else is seen below it is put there.
    Hide,
}

/// Whether programs can be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exec {
    Allowed,
    Denied,
}

impl From<claw_core::spec::container::Exec> for Exec {
    fn from(wanted: claw_core::spec::container::Exec) -> Self {
        match wanted {
            claw_core::spec::container::Exec::Allowed => Self::Allowed,
            claw_core::spec::container::Exec::Denied => Self::Denied,
        }
    }
}

/// An instance whose namespaces are entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) keeper: ProcessIdentity,
    pub(crate) main: ProcessIdentity,
    pub(crate) network: Network,
    pub(crate) rules: Option<Rules>,
}

/// What each process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) nofile: u64,
    pub(crate) fsize: Option<u64>,
    /// Processes and threads of the user, where those are the agent's alone.
    #[serde(default)]
    pub(crate) processes: Option<u32>,
}

/// A filter of system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filter {
    pub(crate) otherwise: Otherwise,
    /// Numbers of calls that may be made beside those of the list.
    pub(crate) also: Vec<i64>,
    pub(crate) internet: Internet,
}

impl Filter {
    /// Whether calls off the list are to be learned.
    pub(crate) fn learns(&self) -> bool {
        self.otherwise == Otherwise::Tell
    }

    /// Leaves it to the kernel's log to tell of calls, where no shim is asked.
    pub(crate) fn untold(&mut self) {
        if self.learns() {
            self.otherwise = Otherwise::Log;
        }
    }
}

/// What becomes of a call that is not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Otherwise {
    /// It fails.
    Fail,
    /// It is made where it leads nowhere, and the kernel logs it.
    Log,
    /// The same, and the shim counts it.
    Tell,
}

/// Whether internet sockets can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Internet {
    Allowed,
    /// Those of TCP that only `connect(2)` connects, which rules can judge.
    Connecting,
    Denied,
}

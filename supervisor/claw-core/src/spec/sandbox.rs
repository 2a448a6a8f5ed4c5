//! The sandbox of an agent that is a process.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Resources;
use super::container::Exec;

/// How a process is confined. It starts from nothing: what is not named here, and is no program
/// or library of the system, it does not see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sandbox {
    /// What happens on a machine that cannot do all of it.
    pub on_missing: OnMissing,
    /// Files and directories that it may read, at their own paths; absolute.
    pub readable: Vec<PathBuf>,
    /// Files and directories that it does not see, although they lie in what it may read or write;
    /// absolute. Of them it sees what `readable` and `writable` name below them, and its sockets.
    /// What is not there need not be hidden.
    pub hidden: Vec<PathBuf>,
    /// Directories that it may write to, at their own paths.
    pub writable: Vec<Writable>,
    /// Its own `/tmp`.
    pub tmp: Scratch,
    /// The size of its own `/dev/shm`, in bytes.
    pub shm: u64,
    /// What it reaches.
    pub network: Reach,
    /// Which system calls it may make.
    pub seccomp: SystemCalls,
    /// What the kernel's Landlock must be able to do.
    pub landlock: Landlock,
    /// What it sees in `/proc`.
    pub proc: Proc,
    /// Whether its processes may look into one another (`ptrace(2)`).
    pub tracing: Tracing,
    /// What each of its processes may use.
    pub limits: ProcessLimits,
    /// What all its processes may use together as far as nothing is written of it, on a machine
    /// that can see to it. What is written is never passed over.
    pub usual: Resources,
}

/// The usual one: closed, refused where the machine cannot, with no file and no host beside the
/// system's own programs.
impl Default for Sandbox {
    fn default() -> Self {
        Self {
            on_missing: OnMissing::Refuse,
            readable: Vec::new(),
            hidden: Vec::new(),
            writable: Vec::new(),
            tmp: Scratch {
                size: 64 << 20,
                exec: Exec::Allowed,
            },
            shm: 16 << 20,
            network: Reach::Listed(Egress {
                max_tunnels: 64,
                ..Egress::default()
            }),
            seccomp: SystemCalls::Listed { also: Vec::new() },
            landlock: Landlock::BestEffort,
            proc: Proc::Masked,
            tracing: Tracing::Denied,
            limits: ProcessLimits {
                nofile: 1024,
                fsize: None,
            },
            usual: Resources::default(),
        }
    }
}

/// What happens on a machine that cannot confine a process as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// The agent is not started.
    #[default]
    Refuse,
    /// It is started with what the machine can do, and its status says what is lost.
    Degrade,
}

/// A directory that a process may write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Writable {
    /// Where it is, outside and inside; absolute.
    pub path: PathBuf,
    /// How much may be written to it, in bytes; `None`: as much as there is room for.
    pub size: Option<u64>,
    /// Whether programs in it can be executed.
    pub exec: Exec,
}

/// A directory in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scratch {
    /// Its size, in bytes.
    pub size: u64,
    /// Whether programs in it can be executed.
    pub exec: Exec,
}

/// What a process reaches over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// A network of its own, with nothing in it but itself, and the hosts of a list.
    Listed(Egress),
    /// The host's network, all of it.
    Host,
}

/// Hosts that are reached through the supervisor. No host is, when `allowed` is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Egress {
    /// Patterns of hosts that may be reached, such as `api.example.com`, `*.example.com` or
    /// `db.internal:5432`.
    pub allowed: Vec<HostRule>,
    /// Patterns of hosts that may not, whatever `allowed` says.
    pub blocked: Vec<HostRule>,
    /// Private networks, as `10.1.0.0/16`, in which an allowed host may be.
    pub private_networks: Vec<HostRule>,
    /// Which connections are taken to the supervisor.
    pub capture: Capture,
    /// Whether a TLS connection has to name the host that was asked for.
    pub sni: Sni,
    /// How many connections may be open at once.
    pub max_tunnels: u32,
    /// How many connections may be opened in a minute; `None`: any number.
    pub per_minute: Option<u32>,
    /// How many bytes may go through in one life, both ways; `None`: any number.
    pub max_bytes: Option<u64>,
}

/// A pattern, and where it was written. Two that were written in different places are the same.
#[derive(Debug, Clone, Serialize)]
pub struct HostRule {
    /// As it was written.
    pub pattern: String,
    /// Its key in the fleet file, such as `sandbox.blocked_network[0]`.
    #[serde(skip)]
    pub key: String,
}

/// Which connections of a process are taken to the supervisor; all others reach nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// Those to a proxy, and all to the ports of HTTP and HTTPS, for programs that know of no
    /// proxy.
    #[default]
    Transparent,
    /// Those to a proxy, which is named in the environment.
    ProxyOnly,
    /// None: it was said that no host is to be reached, so that nobody need be told of it.
    Nothing,
}

impl PartialEq for HostRule {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for HostRule {}

/// Whether a TLS connection has to name its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sni {
    /// It names the host that was asked for, or is closed.
    #[default]
    Required,
    /// It need not name any.
    Optional,
}

/// Which system calls a process may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemCalls {
    /// Those of a list, and these beside.
    Listed {
        /// Names of system calls, such as `io_uring_setup`.
        also: Vec<String>,
    },
    /// Those of the list, and harmless ones beside; those off the list are counted.
    Learn,
    /// All.
    Any,
}

/// What Landlock must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Landlock {
    /// As much as the kernel can.
    #[default]
    BestEffort,
    /// At least this version of its interface.
    Require(u32),
}

/// What a process sees in `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proc {
    /// Its own processes, and of the machine what programs ask for.
    #[default]
    Masked,
    /// Its own processes alone; programs that count processors or memory there find none.
    Minimal,
}

/// Whether processes of one agent may look into one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracing {
    /// They may not.
    #[default]
    Denied,
    /// They may, for debuggers.
    Allowed,
}

/// What each process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProcessLimits {
    /// Open files (`RLIMIT_NOFILE`).
    pub nofile: u64,
    /// The size of a file that it writes, in bytes (`RLIMIT_FSIZE`); `None`: any.
    pub fsize: Option<u64>,
}

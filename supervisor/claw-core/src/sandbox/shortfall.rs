//! Why an agent is not started, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lack, Level};
use crate::spec::sandbox::Reach;

/// Something of a sandbox that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// It may reach no host.
    NoNetwork,
    /// It may reach the hosts of a list.
    ListedHosts,
    /// It sees only what it may see.
    RootDir,
    /// It makes only system calls of a list.
    Seccomp,
    /// Landlock is to be of this version at least.
    Landlock(u32),
    /// What it writes to disk is limited.
    Quota,
    /// It calls language models.
    Models,
}

/// A machine that cannot do what is wanted, and an agent that does not accept less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// What was wanted.
    pub need: Need,
    /// What the machine answered.
    pub lack: Lack,
    /// What it would get if less were accepted.
    pub instead: Level,
}

impl Need {
    /// What an agent wants that is to have a network of its own.
    pub(super) const fn network(reach: &Reach) -> Self {
        match reach {
            Reach::Listed(egress) if !egress.allowed.is_empty() => Self::ListedHosts,
            Reach::Listed(_) | Reach::Host => Self::NoNetwork,
        }
    }

    /// Whether an agent is not to run without it unless its file says so. A quota or models that
    /// cannot be had are told, and no more.
    pub(super) const fn is_a_wall(self) -> bool {
        match self {
            Self::NoNetwork
            | Self::ListedHosts
            | Self::RootDir
            | Self::Seccomp
            | Self::Landlock(_) => true,
            Self::Quota | Self::Models => false,
        }
    }

    /// What is wanted and what it takes, as the beginning of a sentence.
    const fn wish(self) -> &'static str {
        match self {
            Self::NoNetwork => "it may reach no host, and a network namespace cannot be created",
            Self::ListedHosts => {
                "`allowed_network` is set, and a network namespace cannot be created"
            }
            Self::RootDir => {
                "it is to see its own files alone, and namespaces for that cannot be created"
            }
            Self::Seccomp => {
                "its system calls are to be filtered, and a filter cannot be installed"
            }
            Self::Landlock(_) => "`landlock` requires a version that there is not",
            Self::Quota => "a `size` is set, and a file system of that size cannot be made",
            Self::Models => {
                "it is to call language models and reach no host, and its connections cannot be told apart"
            }
        }
    }

    /// What would enable it.
    const fn remedy(self) -> &'static str {
        match self {
            Self::NoNetwork | Self::ListedHosts | Self::RootDir => {
                "Run the supervisor as root, or allow user namespaces (in a container: with the seccomp profile of `docs/process-sandbox.md`); give the agent an `image`"
            }
            Self::Seccomp => {
                "Boot a kernel with CONFIG_SECCOMP_FILTER; write `sandbox: {seccomp: off}`"
            }
            Self::Landlock(_) => "Boot a newer kernel; write `sandbox: {landlock: best_effort}`",
            Self::Quota => "Run the supervisor as root; remove the `size`",
            Self::Models => {
                "Run the supervisor as root, or allow user namespaces; boot a kernel with Landlock 4 (Linux 6.7)"
            }
        }
    }
}

impl Level {
    /// What an agent of this level can do that one of the level above cannot.
    const fn loses(self) -> &'static str {
        match self {
            Self::Full => "without that one layer",
            Self::Landlock => {
                "with Landlock and a filter of system calls, where it sees the processes of the host and a list of hosts lets it reach all of them"
            }
            Self::None => "with no wall around it",
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}). {}; or set `sandbox: {{on_missing: degrade}}` to run {}",
            self.need.wish(),
            self.lack,
            self.need.remedy(),
            self.instead.loses(),
        )
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNetwork => f.write_str("it is not kept from the network"),
            Self::ListedHosts => f.write_str("it is not kept to the hosts of `allowed_network`"),
            Self::RootDir => f.write_str("files and processes of the host are not hidden from it"),
            Self::Seccomp => f.write_str("its system calls are not filtered"),
            Self::Landlock(version) => write!(f, "Landlock is older than version {version}"),
            Self::Quota => f.write_str("what it writes to disk is not limited"),
            Self::Models => f.write_str("it cannot call language models"),
        }
    }
}

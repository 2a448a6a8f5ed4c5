//! What the process driver is told once.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use claw_core::InstanceId;
use claw_core::sandbox::Abilities;
use tokio::sync::mpsc;

use super::cgroup::CgroupChoice;
use super::link::LinkError;
use crate::driver::FactSender;
use crate::sandbox::Listeners;

/// What the process driver needs.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Where instance directories and logs are; made if missing.
    pub data_dir: PathBuf,
    /// The executable that is re-entered for the fork server. Its `main` calls
    /// [`reenter`](super::reenter) first thing.
    pub exe: PathBuf,
    /// Which cgroup backend to use.
    pub cgroups: CgroupChoice,
    /// Where facts go.
    pub facts: FactSender,
    /// The supervisor's own environment; the few variables agents inherit are picked from it.
    pub own_env: BTreeMap<String, String>,
    /// Set for every agent, such as the address of the control API.
    pub control_env: BTreeMap<String, String>,
    /// Users of the host for sandboxed agents, one each; for root only.
    pub uid_range: RangeInclusive<u32>,
    /// What this machine can do to confine processes; `None`: it is tried out.
    pub abilities: Option<Abilities>,
    /// Who connects agents to the hosts that they may reach. Without anybody, none is reached.
    pub egress: Option<mpsc::UnboundedSender<EgressChange>>,
}

/// The usual [`ProcessConfig::uid_range`].
pub const UID_RANGE: RangeInclusive<u32> = 200_000..=265_535;

/// What becomes of the listeners in an instance's network.
#[derive(Debug)]
pub enum EgressChange {
    /// The instance runs, and its connections come in here; at least one of the two is there. Said
    /// again by each supervisor that takes it over.
    Opened {
        /// Which.
        instance: InstanceId,
        /// Where connections to hosts come in; `None`: it reaches none.
        listeners: Option<Listeners>,
        /// Where calls of language models come in, at the port of its loopback that
        /// [`Launch::models`](claw_core::spec::Launch::models) names. It does not block.
        models: Option<TcpListener>,
    },
    /// It is gone.
    Closed {
        /// Which.
        instance: InstanceId,
    },
}

impl ProcessConfig {
    /// The usual: this very executable, the best cgroups there are, this process's environment.
    #[must_use]
    pub fn new(data_dir: PathBuf, facts: FactSender) -> Self {
        Self {
            data_dir,
            // The file that runs now, also after an upgrade has put another in its place.
            exe: PathBuf::from("/proc/self/exe"),
            cgroups: CgroupChoice::Auto,
            facts,
            own_env: std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            control_env: BTreeMap::new(),
            uid_range: UID_RANGE,
            abilities: None,
            egress: None,
        }
    }
}

/// Why the process driver could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made or found.
    #[error("cannot use the data directory {path}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody can say what of the agents this boot has seen.
    #[error(
        "cannot read /proc/sys/kernel/random/boot_id, without which no agent that lives is told from one of another boot"
    )]
    Boot {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The fork server could not be started.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The runtime is ending.
    #[error("the runtime is ending")]
    Runtime,
}

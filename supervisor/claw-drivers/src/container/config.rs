//! What the container driver is told once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::driver::FactSender;
use crate::process::{EgressChange, project_of};

/// What the container driver needs.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// Where the engine listens, as in `DOCKER_HOST`. `None`: `DOCKER_HOST` itself, then the usual
    /// sockets of Docker and Podman, whichever is there when it is first needed.
    pub engine: Option<String>,
    /// Where records and logs are; the same as the process driver's.
    pub data_dir: PathBuf,
    /// Sets the containers of this project apart from those of others on the same engine.
    pub project: String,
    /// Where facts go.
    pub facts: FactSender,
    /// Set for every agent.
    pub control_env: BTreeMap<String, String>,
    /// Who connects containers to the hosts that they may reach. Without anybody, none is reached.
    pub egress: Option<mpsc::UnboundedSender<EgressChange>>,
}

impl ContainerConfig {
    /// The usual: the engine of this machine, and a project named for the data directory, which
    /// has to exist.
    #[must_use]
    pub fn new(data_dir: PathBuf, facts: FactSender) -> Self {
        // One that cannot be resolved cannot be written to either, which each start then says.
        let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
        Self {
            engine: None,
            project: project_of(&data_dir),
            data_dir,
            facts,
            control_env: BTreeMap::new(),
            egress: None,
        }
    }
}

//! What a sandbox is, and how many are kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use claw_core::spec::Resources;
use claw_core::spec::container::{
    Container, Exec, Init, Network, PullPolicy, RootFs, Seccomp, Tmpfs,
};

const TMP_SIZE: u64 = 64 << 20;
const SHM_SIZE: u64 = 16 << 20;
const MEMORY: u64 = 512 << 20;
const PIDS: u32 = 128;
const OPEN_FILES: u64 = 1024;

/// Where commands start: the one place that every sandbox can write to.
pub(super) const WORKING_DIR: &str = "/tmp";

/// A kind of sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The container. Its ports, mounts, entry point and build are not used.
    pub container: Container,
    /// What one sandbox may use.
    pub resources: Resources,
    /// Variables for every command.
    pub env: BTreeMap<String, String>,
    /// Who commands run as; `1000:1000` when `None`.
    pub user: Option<String>,
    /// Containers that wait for a command; 0: every command is run cold.
    pub ready: u32,
    /// How long a command may take. Longer is not to be had by asking.
    pub timeout: Duration,
    /// How much is kept of what a command writes, both streams together, in bytes.
    pub max_output: u64,
    /// After so long without a command nothing is kept ready any more.
    pub idle: Duration,
    /// A container that is older is replaced.
    pub max_age: Duration,
    /// Commands at a time; as many again wait for their turn.
    pub max_running: u32,
}

impl SandboxSpec {
    /// The usual for an image, confined as an agent in a container is.
    #[must_use]
    pub fn of_image(image: String) -> Self {
        let tmp = Tmpfs {
            target: PathBuf::from(WORKING_DIR),
            size: TMP_SIZE,
            exec: Exec::Allowed,
        };
        Self {
            container: Container {
                image,
                pull: PullPolicy::Missing,
                build: None,
                entrypoint: None,
                working_dir: Some(PathBuf::from(WORKING_DIR)),
                mounts: Vec::new(),
                ports: Vec::new(),
                root: RootFs::ReadOnly,
                tmpfs: vec![tmp],
                shm: SHM_SIZE,
                network: Network::None,
                seccomp: Seccomp::Default,
                capabilities: Vec::new(),
                nofile: OPEN_FILES,
                init: Init::Engine,
            },
            resources: Resources {
                cpu_millis: None,
                memory: Some(MEMORY),
                pids: Some(PIDS),
            },
            env: BTreeMap::new(),
            user: None,
            ready: 1,
            timeout: Duration::from_secs(30),
            max_output: 1 << 20,
            idle: Duration::from_secs(600),
            max_age: Duration::from_secs(3600),
            max_running: 4,
        }
    }
}

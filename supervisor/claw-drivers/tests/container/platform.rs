//! Containers as a platform of the cases that every driver passes.

use std::path::{Path, PathBuf};

use claw_core::spec::Container;
use claw_core::spec::container::{
    Access, Exec, Init, Mount, MountSource, Network, RootFs, Seccomp, Tmpfs,
};
use claw_core::{AgentSpec, Fact, InstanceId};
use claw_drivers::Driver;
use claw_drivers::container::{ContainerConfig, ContainerDriver};
use claw_drivers::process::EgressChange;
use tokio::sync::mpsc;

use crate::conformance::stage::Platform;
use crate::engine::{IMAGE, PULL, TestEngine};

/// Containers of an engine.
pub(crate) struct Containers {
    pub(crate) engine: TestEngine,
    /// Who takes what comes in from their networks.
    pub(crate) egress: Option<mpsc::UnboundedSender<EgressChange>>,
}

impl Containers {
    /// The containers of a data directory, running or not.
    pub(crate) fn list(&self, data_dir: &Path) -> String {
        let (sender, _facts) = mpsc::channel(1);
        let project = ContainerConfig::new(data_dir.to_owned(), sender).project;
        let filter = format!("label=openclaw.project={project}");
        let format = "{{.Names}} {{.State}}";
        let arguments = ["ps", "--all", "--filter", &filter, "--format", format];
        self.engine.docker(&arguments).unwrap()
    }

    /// Whose engine it is.
    pub(crate) fn is_podman(&self) -> bool {
        let asked = ["version", "--format", "{{json .Server}}"];
        self.engine.docker(&asked).unwrap().contains("Podman")
    }

    /// The name of an instance's container.
    pub(crate) fn name(data_dir: &Path, instance: &InstanceId) -> String {
        let (sender, _facts) = mpsc::channel(1);
        let project = ContainerConfig::new(data_dir.to_owned(), sender).project;
        format!(
            "openclaw-{project}-{}-{}",
            instance.agent, instance.generation
        )
    }
}

impl Platform for Containers {
    type Driver = ContainerDriver;

    async fn find() -> Result<Self, String> {
        let found = tokio::task::spawn_blocking(TestEngine::shared).await;
        Ok(Self {
            engine: found.unwrap()?,
            egress: None,
        })
    }

    async fn start(&self, data_dir: &Path) -> (ContainerDriver, mpsc::Receiver<Fact>) {
        let (sender, facts) = mpsc::channel(1024);
        let mut config = ContainerConfig::new(data_dir.to_owned(), sender);
        config.engine = Some(self.engine.address.clone());
        config.egress.clone_from(&self.egress);
        config
            .control_env
            .insert("OPENCLAW_CONTROL".to_owned(), "there".to_owned());
        (ContainerDriver::start(config).unwrap(), facts)
    }

    fn adapt(&self, mut spec: AgentSpec, shared: &Path) -> AgentSpec {
        spec.launch.container = Some(Box::new(container(shared)));
        spec
    }

    async fn has_traces(&self, data_dir: &Path, instance: &InstanceId) -> bool {
        let record = data_dir
            .join("containers")
            .join(instance.agent.as_str())
            .join(format!("{}.json", instance.generation));
        let name = Self::name(data_dir, instance);
        record.exists() || self.list(data_dir).contains(&name)
    }

    fn can_limit(&self, _driver: &ContainerDriver) -> Result<(), String> {
        let asked = "{{.MemoryLimit}} {{.PidsLimit}}";
        match self.engine.docker(&["info", "--format", asked]).as_deref() {
            Ok("true true") => Ok(()),
            Ok(other) => Err(format!("the engine limits memory and processes: {other}")),
            Err(error) => Err(error.to_owned()),
        }
    }

    fn tells_memory_kills(&self) -> Result<(), String> {
        if self.is_podman() {
            return Err("Podman does not say what was killed for memory on cgroup v1".to_owned());
        }
        Ok(())
    }

    async fn clean(&self, data_dir: &Path) {
        let (driver, _facts) = self.start(data_dir).await;
        driver.recover(Vec::new()).await;
        let left = self.list(data_dir);
        assert!(left.is_empty() || std::thread::panicking(), "left: {left}");
    }
}

/// A confined container that sees one directory of the host.
pub(crate) fn container(shared: &Path) -> Container {
    Container {
        image: IMAGE.to_owned(),
        pull: PULL,
        build: None,
        entrypoint: None,
        working_dir: None,
        mounts: vec![Mount {
            source: MountSource::Path(shared.to_owned()),
            target: shared.to_owned(),
            access: Access::ReadWrite,
        }],
        ports: Vec::new(),
        root: RootFs::ReadOnly,
        tmpfs: vec![Tmpfs {
            target: PathBuf::from("/tmp"),
            size: 8 << 20,
            exec: Exec::Denied,
        }],
        shm: 1 << 20,
        network: Network::None,
        seccomp: Seccomp::Default,
        capabilities: Vec::new(),
        nofile: 256,
        init: Init::Engine,
    }
}

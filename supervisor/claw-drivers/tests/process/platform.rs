//! Processes as platforms of the cases that every driver passes.

use std::path::Path;

use claw_core::sandbox::plan;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::{Sandbox, Writable};
use claw_core::{AgentSpec, Fact, InstanceId};
use claw_drivers::Driver;
use claw_drivers::process::{Enforcement, ProcessConfig, ProcessDriver};
use tokio::sync::mpsc;

use crate::conformance::stage::Platform;
use crate::world::machine;

/// Child processes, in the best cgroups there are.
pub(crate) struct Processes;

/// Child processes in sandboxes.
pub(crate) struct Sandboxed;

impl Platform for Sandboxed {
    type Driver = ProcessDriver;

    async fn find() -> Result<Self, String> {
        match plan(&Sandbox::default(), &machine()) {
            Ok(_) => Ok(Self),
            Err(shortfall) => Err(shortfall.to_string()),
        }
    }

    async fn start(&self, data_dir: &Path) -> (ProcessDriver, mpsc::Receiver<Fact>) {
        Processes.start(data_dir).await
    }

    fn adapt(&self, mut spec: AgentSpec, shared: &Path) -> AgentSpec {
        let shared = Writable {
            path: shared.to_owned(),
            size: None,
            exec: Exec::Allowed,
        };
        spec.launch.sandbox = Some(Box::new(Sandbox {
            writable: vec![shared],
            ..Sandbox::default()
        }));
        spec
    }

    async fn has_traces(&self, data_dir: &Path, instance: &InstanceId) -> bool {
        Processes.has_traces(data_dir, instance).await
    }

    fn can_limit(&self, driver: &ProcessDriver) -> Result<(), String> {
        Processes.can_limit(driver)
    }

    async fn clean(&self, data_dir: &Path) {
        Processes.clean(data_dir).await;
    }
}

impl Platform for Processes {
    type Driver = ProcessDriver;

    async fn find() -> Result<Self, String> {
        Ok(Self)
    }

    async fn start(&self, data_dir: &Path) -> (ProcessDriver, mpsc::Receiver<Fact>) {
        let (sender, facts) = mpsc::channel(1024);
        let mut config = ProcessConfig::new(data_dir.to_owned(), sender);
        config.abilities = Some(machine());
        config
            .control_env
            .insert("OPENCLAW_CONTROL".to_owned(), "there".to_owned());
        (ProcessDriver::start(config).await.unwrap(), facts)
    }

    fn adapt(&self, spec: AgentSpec, _shared: &Path) -> AgentSpec {
        spec
    }

    async fn has_traces(&self, data_dir: &Path, instance: &InstanceId) -> bool {
        let agent = data_dir.join("run").join(instance.agent.as_str());
        agent.join(instance.generation.to_string()).exists()
    }

    fn can_limit(&self, driver: &ProcessDriver) -> Result<(), String> {
        for what in [&driver.capabilities().memory, &driver.capabilities().pids] {
            if let Enforcement::No { why } = what {
                return Err(why.clone());
            }
        }
        Ok(())
    }

    async fn clean(&self, data_dir: &Path) {
        let (driver, _facts) = self.start(data_dir).await;
        driver.recover(Vec::new()).await;
    }
}

//! Both drivers as one: each instance is whose it is, and nobody waits for the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_core::memory::Recovered;
use claw_core::order::HookOutcome;
use claw_core::spec::HookSpec;
use claw_core::{AgentSpec, ExitStatus, Fact, Hook, InstanceId, Order};
use claw_drivers::container::{ContainerConfig, ContainerDriver};
use claw_drivers::process::{ProcessConfig, ProcessDriver};
use claw_drivers::{Driver, Drivers};
use std::path::Path;
use tokio::sync::mpsc;

use crate::conformance::stage::{Platform, Stage, runs, unique_sleep};
use crate::engine::TestEngine;
use crate::platform::Containers;

/// Both of them; what is adapted is a container.
struct Both {
    containers: Containers,
}

impl Platform for Both {
    type Driver = Drivers;

    async fn find() -> Result<Self, String> {
        Ok(Self {
            containers: Containers::find().await?,
        })
    }

    async fn start(&self, data_dir: &Path) -> (Drivers, mpsc::Receiver<Fact>) {
        let (sender, facts) = mpsc::channel(1024);
        let process = ProcessConfig::new(data_dir.to_owned(), sender.clone());
        let process = ProcessDriver::start(process).await.unwrap();
        let mut config = ContainerConfig::new(data_dir.to_owned(), sender);
        assert_eq!(config.project, process.project());
        config.engine = Some(self.containers.engine.address.clone());
        let containers = ContainerDriver::start(config).unwrap();
        (Drivers::new(Arc::new(process), Arc::new(containers)), facts)
    }

    fn adapt(&self, spec: AgentSpec, shared: &Path) -> AgentSpec {
        self.containers.adapt(spec, shared)
    }

    async fn has_traces(&self, data_dir: &Path, instance: &InstanceId) -> bool {
        self.containers.has_traces(data_dir, instance).await
    }

    fn can_limit(&self, driver: &Drivers) -> Result<(), String> {
        self.containers.can_limit(driver.containers())
    }

    async fn clean(&self, data_dir: &Path) {
        let (driver, _facts) = self.start(data_dir).await;
        driver.recover(Vec::new()).await;
    }
}

/// The same as a process of the host.
fn as_process(mut spec: AgentSpec) -> AgentSpec {
    spec.launch.container = None;
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_and_containers_go_side_by_side() {
    let Some(mut stage) = Stage::<Both>::set("processes_and_containers").await else {
        return;
    };
    let (first, second) = (unique_sleep(), unique_sleep());
    let contained = stage.agent(&["sleep", &first]);
    let contained = stage.started(contained).await;
    let child = as_process(stage.agent(&["sleep", &second]));
    let child = stage.started(child).await;
    let usage = stage.driver().usage().await;
    assert!(usage.contains_key(&contained) && usage.contains_key(&child));
    assert!(stage.driver().containers().owns(&contained));
    assert!(!stage.driver().containers().owns(&child));
    stage.crash();
    stage.restart().await;
    let open = vec![stage.open(&contained), stage.open(&child)];
    let recovered = stage.driver().recover(open).await;
    let alive = |found: &Recovered| matches!(found, Recovered::Alive { .. });
    assert!(recovered.len() == 2 && recovered.iter().all(|(.., found)| alive(found)));
    for instance in [contained, child] {
        stage.signal(&instance, 15);
        assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(15));
    }
    assert!(!runs(&first) && !runs(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_a_container_run_on_the_host_and_know_its_end() {
    let Some(mut stage) = Stage::<Both>::set("hooks_of_a_container").await else {
        return;
    };
    let file = stage.file("told");
    let text = format!(
        "echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS > {}; test -d {}",
        file.display(),
        stage.data_dir().display()
    );
    let mut spec = stage.script("exit 5");
    spec.launch.user = Some("1000:1000".to_owned());
    spec.hooks.post_stop = Some(HookSpec {
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), text],
        timeout: Duration::from_secs(30),
    });
    let instance = stage.started(spec.clone()).await;
    stage.gone(&instance).await;
    stage.order(Order::RunHook {
        instance,
        hook: Hook::PostStop,
        spec: spec.into(),
    });
    let outcome = stage
        .find(|fact| match fact {
            Fact::HookDone { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .await;
    assert_eq!(outcome, HookOutcome::Success);
    let told = std::fs::read_to_string(file).unwrap();
    assert_eq!(told, "exit-code exited 5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_do_not_notice_that_there_is_no_engine() {
    let address = "unix:///nonexistent/engine.sock".to_owned();
    let containers = Containers {
        engine: TestEngine { address },
        egress: None,
    };
    let mut stage = Stage::of(Both { containers }, "processes_do_not_notice").await;
    let begun = Instant::now();
    assert!(stage.driver().recover(Vec::new()).await.is_empty());
    let spec = as_process(stage.script("exit 4"));
    let instance = stage.started(spec).await;
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(4));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(!stage.data_dir().join("containers").exists());
}

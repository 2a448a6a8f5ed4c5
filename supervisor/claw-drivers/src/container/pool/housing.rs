//! What all sandboxes of a supervisor share: the engine, their names, and who removes them.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use claw_core::Wall;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::super::engine::{Client, Engine, QUICK};
use super::super::fault::EngineError;
use super::super::{lock, sweep};

/// The label with the project that a sandbox belongs to. Not the label of agents: what belongs to
/// no agent is removed by the driver.
const PROJECT: &str = "openclaw.sandbox.project";

/// The label with the sandbox's name in the fleet file, or its image.
const SANDBOX: &str = "openclaw.sandbox";

/// Between two attempts to remove what could not be removed; doubled up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Between two looks whether the engine has removed what it was told to.
const LOOK: Duration = Duration::from_millis(20);

/// The engine, and which of its containers are wanted.
#[derive(Debug)]
pub(super) struct Housing {
    pub(super) engine: Engine,
    pub(super) runtime: Handle,
    project: String,
    /// Says, in the data directory, that there may be containers.
    mark: PathBuf,
    /// Sets the names of this supervisor apart from those of the one before it.
    life: String,
    made: AtomicU64,
    /// The names of containers that are wanted, from before they exist.
    wanted: Mutex<BTreeSet<String>>,
    /// Something may be left that nobody wants.
    left: Notify,
}

impl Housing {
    pub(super) fn new(engine: Option<String>, data_dir: &Path, project: String) -> Self {
        let life = u64::try_from(Wall::now().as_microsecond()).unwrap_or(0);
        let housing = Self {
            engine: Engine::new(engine),
            runtime: Handle::current(),
            project,
            mark: data_dir.join("sandboxes.open"),
            life: format!("{life:x}"),
            made: AtomicU64::new(0),
            wanted: Mutex::default(),
            left: Notify::new(),
        };
        if housing.mark.exists() {
            housing.left.notify_one();
        }
        housing
    }

    /// A name for a container that is about to be made.
    pub(super) fn name(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        // One that cannot be written costs no run: the containers still end by themselves.
        if number == 0
            && let Err(error) = std::fs::write(&self.mark, "")
        {
            tracing::warn!(%error, path = %self.mark.display(), "the mark of open sandboxes cannot be written");
        }
        let name = format!("openclaw-sandbox-{}-{}-{number}", self.project, self.life);
        lock(&self.wanted).insert(name.clone());
        name
    }

    pub(super) fn labels(&self, sandbox: &str) -> HashMap<String, String> {
        HashMap::from([
            (PROJECT.to_owned(), self.project.clone()),
            (SANDBOX.to_owned(), sandbox.to_owned()),
        ])
    }

    /// Removes a container that is not wanted any more, in the background.
    pub(super) fn remove(housing: &Arc<Self>, name: String) {
        lock(&housing.wanted).remove(&name);
        let removing = Arc::clone(housing);
        housing.runtime.spawn(async move {
            let removed = match removing.engine.client().await {
                Ok(client) => sweep::remove(&client, &name).await,
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                tracing::debug!(container = name, %error, "a sandbox could not be removed yet");
                removing.left.notify_one();
            }
        });
    }

    /// Removes what is left, whenever something may be, for as long as it takes.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            self.left.notified().await;
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.remove_unwanted().await {
                tracing::warn!(%error, pause_s = pause.as_secs(), "sandboxes that nobody uses could not be removed; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Removes everything, and the mark with it. The caller sees to a bound.
    pub(super) async fn clear(&self) -> Result<(), EngineError> {
        lock(&self.wanted).clear();
        if !self.mark.exists() {
            return Ok(());
        }
        // The engine takes its time, also after it has promised.
        while self.remove_unwanted().await? > 0 {
            tokio::time::sleep(LOOK).await;
        }
        if let Err(error) = std::fs::remove_file(&self.mark) {
            tracing::debug!(%error, "the mark of open sandboxes stays");
        }
        Ok(())
    }

    /// Removes what is not wanted; how many that were.
    async fn remove_unwanted(&self) -> Result<usize, EngineError> {
        let client = self.engine.client().await?;
        let mut unwanted = 0;
        for name in self.list(&client, Which::All).await? {
            if !lock(&self.wanted).contains(&name) {
                tracing::debug!(container = name, "removing a sandbox that nobody uses");
                sweep::remove(&client, &name).await?;
                unwanted += 1;
            }
        }
        Ok(unwanted)
    }

    /// The names of this project's sandboxes.
    pub(super) async fn list(
        &self,
        client: &Client,
        which: Which,
    ) -> Result<BTreeSet<String>, EngineError> {
        let filter = format!("{PROJECT}={}", self.project);
        let filters = HashMap::from([("label".to_owned(), vec![filter])]);
        let options = ListContainersOptionsBuilder::new()
            .all(which == Which::All)
            .filters(&filters)
            .build();
        let asked = client.docker.list_containers(Some(options));
        let found = client.within(QUICK, asked).await?;
        let names = found.into_iter().filter_map(|container| {
            let names = container.names.unwrap_or_default();
            let first = names.into_iter().next()?;
            Some(first.trim_start_matches('/').to_owned())
        });
        Ok(names.collect())
    }
}

/// Which containers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that run.
    Running,
    /// Those that have ended too.
    All,
}

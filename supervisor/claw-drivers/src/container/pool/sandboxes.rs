//! All sandboxes of a supervisor, by their names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::super::lock;
use super::command::Command;
use super::housing::Housing;
use super::outcome::{Outcome, RunError};
use super::ready::Pool;
use super::spec::SandboxSpec;
use crate::process::project_of;

/// How long an end waits for the engine to remove what is left.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// The most that a command in an image without a name in the fleet file may ask for.
const LONGEST_UNNAMED: Duration = Duration::from_secs(3600);

/// Commands at a time in images without a name, all together.
const UNNAMED_RUNNING: u32 = 4;

/// What sandboxes need.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where the engine listens, as in `DOCKER_HOST`. `None`: `DOCKER_HOST` itself, then the usual
    /// sockets of Docker and Podman.
    pub engine: Option<String>,
    /// The supervisor's data directory.
    pub data_dir: PathBuf,
}

/// The sandboxes of a supervisor; clones share them.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    housing: Arc<Housing>,
    pools: Mutex<Pools>,
    /// Commands in images without a name take their turns here.
    unnamed: super::queue::Queue,
    sweeper: AbortHandle,
}

#[derive(Debug)]
enum Pools {
    Open(BTreeMap<String, Arc<Pool>>),
    Closed,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.sweeper.abort();
        for pool in lock(&self.pools).take() {
            pool.close();
        }
    }
}

impl Pools {
    fn take(&mut self) -> Vec<Arc<Pool>> {
        match std::mem::replace(self, Self::Closed) {
            Self::Open(pools) => pools.into_values().collect(),
            Self::Closed => Vec::new(),
        }
    }
}

impl Sandboxes {
    /// Takes over, without any sandbox yet. No engine is asked before there is one, unless a
    /// supervisor before this one has left some, which are removed in the background. To be called
    /// in a runtime, which runs all that sandboxes need.
    #[must_use]
    pub fn start(config: SandboxConfig) -> Self {
        // One that cannot be resolved cannot be written to either, which is said elsewhere.
        let data_dir = config.data_dir.canonicalize().unwrap_or(config.data_dir);
        let project = project_of(&data_dir);
        let housing = Arc::new(Housing::new(config.engine, &data_dir, project));
        let sweeping = housing.runtime.spawn(Arc::clone(&housing).sweep());
        Self {
            inner: Arc::new(Inner {
                housing,
                pools: Mutex::new(Pools::Open(BTreeMap::new())),
                unnamed: super::queue::Queue::new(UNNAMED_RUNNING),
                sweeper: sweeping.abort_handle(),
            }),
        }
    }

    /// Puts a configuration in force. What has not changed goes on; what has is made anew, and
    /// commands that run in it go on to their end.
    pub fn configure(&self, wanted: &BTreeMap<String, SandboxSpec>) {
        let mut pools = lock(&self.inner.pools);
        let Pools::Open(open) = &mut *pools else {
            return;
        };
        open.retain(|name, pool| {
            let same = wanted.get(name).is_some_and(|spec| *spec == pool.spec);
            if !same {
                pool.close();
            }
            same
        });
        for (name, spec) in wanted {
            if !open.contains_key(name) {
                let pool = Pool::open(name.clone(), spec.clone(), &self.inner.housing);
                open.insert(name.clone(), pool);
            }
        }
    }

    /// Runs a command in a sandbox. Dropping the future ends the command.
    ///
    /// # Errors
    ///
    /// There is no such sandbox, it is busy, or the engine is not there or refuses.
    pub async fn run(&self, name: &str, command: &Command) -> Result<Outcome, RunError> {
        let pool = match &*lock(&self.inner.pools) {
            Pools::Open(pools) => pools.get(name).map(Arc::clone),
            Pools::Closed => return Err(RunError::Ending),
        };
        let pool = pool.ok_or_else(|| RunError::NoSuchSandbox(name.to_owned()))?;
        pool.run(command).await
    }

    /// Runs a command in an image that the fleet file does not name, in a container made for it,
    /// with the usual bounds. Dropping the future ends the command.
    ///
    /// # Errors
    ///
    /// Too many such commands run, or the engine is not there or refuses.
    pub async fn run_image(&self, image: &str, command: &Command) -> Result<Outcome, RunError> {
        if matches!(&*lock(&self.inner.pools), Pools::Closed) {
            return Err(RunError::Ending);
        }
        let usual = SandboxSpec::of_image(image.to_owned());
        let spec = SandboxSpec {
            timeout: command
                .timeout
                .map_or(usual.timeout, |asked| asked.min(LONGEST_UNNAMED)),
            ..usual
        };
        command.check(&spec)?;
        let _turn = self
            .inner
            .unnamed
            .turn()
            .await
            .map_err(|full| RunError::Busy {
                sandbox: image.to_owned(),
                running: full.running,
                waiting: full.waiting,
            })?;
        super::cold::run(&self.inner.housing, image, &spec, command).await
    }

    /// How each of them does, by name.
    #[must_use]
    pub fn list(&self) -> Vec<SandboxStatus> {
        match &*lock(&self.inner.pools) {
            Pools::Open(pools) => pools.values().map(|pool| pool.status()).collect(),
            Pools::Closed => Vec::new(),
        }
    }

    /// Removes every sandbox, also those in use. What an engine that is away keeps is removed at
    /// the next start, or ends by itself.
    pub async fn close(&self) {
        let pools = lock(&self.inner.pools).take();
        for pool in &pools {
            pool.close();
        }
        self.inner.sweeper.abort();
        let cleared = tokio::time::timeout(CLOSE_TIME, self.inner.housing.clear()).await;
        match cleared {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "sandboxes are left; the next start removes them");
            }
            Err(_elapsed) => {
                tracing::warn!("sandboxes are left; the next start removes them");
            }
        }
    }
}

/// How a sandbox does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxStatus {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Containers that wait for a command.
    pub ready: usize,
    /// How many are to wait.
    pub wanted: usize,
    /// Commands that run.
    pub running: usize,
    /// Commands that wait for their turn.
    pub waiting: usize,
    /// Commands that may run at a time.
    pub max_running: usize,
    /// Nobody has asked for so long that nothing is kept ready.
    pub idle: bool,
    /// Commands that have ended.
    pub runs: u64,
    /// Those of them that found nothing ready.
    pub cold: u64,
    /// Those of them whose time was over.
    pub timeouts: u64,
    /// Those of them in which something was killed for memory.
    pub out_of_memory: u64,
    /// Commands that were turned away because too many ran.
    pub refused: u64,
    /// Containers that were removed because nobody asked for them.
    pub removed_idle: u64,
    /// Containers that were removed because of their age.
    pub removed_old: u64,
    /// What keeps it from being ready, in a sentence.
    pub note: Option<String>,
}

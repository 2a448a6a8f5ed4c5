//! The agents' way to language models: hosts the gateway, which routes, meters and records.
//!
//! ```text
//!  agent ── 127.0.0.1:<port> ──► doors ──┐
//!  agent ── agent.sock /llm ─► agent_api ┴─► Gateway ──► provider
//!                                             │ │ │
//!                     journal ◄───────────────┘ │ └──► reporter ──► log, alerts ──► bus
//!   llm/calls.db ◄──────┘                     clock
//! ```
//!
//! Nothing is opened for a fleet without `llm:`. What an agent is told of models stands in
//! `environment`; who speaks on a connection is known by the agent's token and its network.

mod alerts;
mod answers;
mod clock;
mod doors;
mod environment;
mod journal;
mod news;
mod observer;
mod port_book;
mod recordings;
mod restore;
pub(crate) mod rows;
mod source;
mod started;
#[cfg(test)]
mod tests;

pub(crate) use self::environment::variables;
pub use self::recordings::CassetteError;
pub use self::source::{Answers, NotAnswers};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use claw_core::spec::Launch;
use claw_core::{AgentName, Fact, FleetSpec};
use claw_gateway::Halts;
use claw_gateway::llm::serve::{Clock, Gateway};
use claw_store::StoreError;
use claw_store::store::OpenError;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::clock::SystemClock;
use self::doors::{Door, Doors, Whose};
use self::port_book::{Bound, PortBook};
use self::source::Sources;
use self::started::Started;
use crate::agent_api::AgentApi;
use crate::config::Loaded;
use crate::egress::ModelsChange;
use crate::telemetry::llm::LlmMetrics;
use crate::thread::TaskThread;

/// How long calls in flight may take to settle when the supervisor ends. What is not settled then
/// is lost to the next one, and counts whole.
const SETTLING: Duration = Duration::from_secs(5);

/// Why agents cannot be given models.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// There is no place for what is kept of them.
    #[error("cannot make the directory {} for calls of models", path.display())]
    Dir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store of calls cannot be opened.
    #[error("the store of calls of models cannot be opened")]
    Open(#[from] OpenError),
    /// What is in it cannot be read or written.
    #[error("the store of calls of models cannot be used")]
    Store(#[from] StoreError),
    /// No port can be listened at for an agent.
    #[error("no port of this machine can be had at which `{agent}` would find models")]
    Listen {
        /// Whose.
        agent: AgentName,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ports of agents cannot be kept.
    #[error("cannot write the ports of agents to {}", path.display())]
    Ports {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to answer from.
    #[error(transparent)]
    Cassette(#[from] recordings::CassetteError),
    /// Calls cannot be recorded.
    #[error("there is no thread to be had for recording calls of models")]
    Recorder {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Calls have no thread of their own.
    #[error("there is no thread to be had for calls of models")]
    Thread {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The supervisor is ending.
    #[error("the supervisor is ending")]
    Ending,
}

/// Who is told of calls.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Counts them.
    pub(crate) metrics: LlmMetrics,
    /// The core, which judges who waits for one.
    pub(crate) facts: mpsc::Sender<Fact>,
}

/// The way of all agents to models; clones share it.
#[derive(Clone)]
pub(crate) struct Models {
    shared: Arc<Shared>,
}

struct Shared {
    /// Ours alone: calls say what agents do.
    dir: PathBuf,
    /// Where all of it happens, once the fleet file has asked for models.
    thread: OnceLock<TaskThread>,
    clock: Arc<dyn Clock>,
    told: Told,
    /// Whose calls are cut.
    halts: Halts,
    sources: Sources,
    /// Once the fleet file has asked for models.
    started: OnceCell<Started>,
    doors: Mutex<Doors>,
    /// Whether it is known which agents live, so that they can be told apart.
    serving: watch::Sender<bool>,
    /// Ends what accepts.
    accepting: CancellationToken,
    /// Ends connections.
    cutting: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    /// Where its tasks run.
    fn runtime(&self) -> io::Result<&Handle> {
        if let Some(thread) = self.thread.get() {
            return Ok(thread.tasks());
        }
        let started = TaskThread::start("models")?;
        Ok(self.thread.get_or_init(|| started).tasks())
    }
}

impl Models {
    /// Resolves when the thread for models has come to it; at once as long as there is none.
    pub(crate) async fn answers(&self) {
        if let Some(thread) = self.shared.thread.get() {
            // A task that ends with its runtime was no answer, and nobody waits for another.
            drop(thread.tasks().spawn(async {}).await);
        }
    }

    /// Opens nothing yet.
    pub(crate) fn new(data_dir: &Path, told: Told, answers: Answers) -> Self {
        Self::with_clock(data_dir, told, answers, Arc::new(SystemClock::start()))
    }

    fn with_clock(data_dir: &Path, told: Told, answers: Answers, clock: Arc<dyn Clock>) -> Self {
        let dir = data_dir.join("llm");
        Self {
            shared: Arc::new(Shared {
                sources: Sources::new(answers, &dir),
                dir,
                thread: OnceLock::new(),
                clock,
                told,
                halts: Halts::default(),
                started: OnceCell::new(),
                doors: Mutex::default(),
                serving: watch::Sender::new(false),
                accepting: CancellationToken::new(),
                cutting: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Puts what a fleet file says of models into force. Calls under way go on as they began. Done
    /// before the agents of the file are started, so that they find their ports.
    ///
    /// # Errors
    ///
    /// Says what stands in the way. What was in force before stays so, unless it is only for the
    /// ports of new agents.
    pub(crate) async fn configure(
        &self,
        loaded: &Loaded,
        agent_api: &AgentApi,
    ) -> Result<(), ModelsError> {
        let shared = &self.shared;
        match (&loaded.llm, shared.started.get()) {
            (Some(llm), Some(started)) => {
                let settings = shared.sources.complete(llm, loaded).await?;
                started.replace(llm, settings);
            }
            (Some(llm), None) => {
                make_dir(&shared.dir)?;
                let settings = shared.sources.complete(llm, loaded).await?;
                let starting = || started::start(shared, (llm, settings), agent_api.store());
                shared.started.get_or_try_init(starting).await?;
            }
            (None, Some(started)) => started.withdraw(),
            (None, None) => {}
        }
        self.open_doors(&loaded.fleet, agent_api).await
    }

    /// Begins to accept: it is known by now which agents live.
    pub(crate) fn serve(&self) {
        self.shared.serving.send_replace(true);
    }

    /// The gateway, once there is one.
    pub(crate) fn gateway(&self) -> Option<&Gateway> {
        self.shared.started.get().map(|started| &started.gateway)
    }

    /// Whose calls are cut. Other ways out go by the same.
    pub(crate) fn halts(&self) -> &Halts {
        &self.shared.halts
    }

    /// Tells a program where it finds models, if it has access to any. Called by the supervision
    /// loop, so it only computes.
    pub(crate) fn describe(&self, agent: &AgentName, launch: &mut Launch, token: &str) {
        let Some(usual) = launch.models else {
            return;
        };
        let port = self.doors().ports.get(agent).map(|door| door.port);
        environment::describe(launch, port.unwrap_or(usual), token);
    }

    /// Takes over, or lets go of, the listener in an instance's own network.
    pub(crate) fn change(&self, agent_api: &AgentApi, change: ModelsChange) {
        match change {
            ModelsChange::Opened { instance, listener } => {
                let whose = Whose::Instance(instance.clone());
                match self.accept(agent_api, (listener, whose)) {
                    Ok(open) => drop(self.doors().networks.insert(instance, open)),
                    Err(error) => {
                        tracing::error!(%instance, %error, "the agent has no models: its listener cannot be served");
                    }
                }
            }
            ModelsChange::Closed { instance } => {
                self.doors().networks.remove(&instance);
            }
        }
    }

    /// Ends: nothing is accepted any more, calls in flight settle if they do so soon, and what is
    /// known of them is written.
    pub(crate) async fn close(&self) {
        self.shared.accepting.cancel();
        // Streams that go on are cut off.
        let _late = self.settled().await;
        self.shared.cutting.cancel();
        self.shared.tasks.close();
        let ending = tokio::time::timeout(SETTLING, self.shared.tasks.wait());
        if ending.await.is_err() {
            tracing::warn!("what is done for models was cut off");
        }
        // Calls whose agents were cut off end by that, and what they came to is known.
        if let (Err(_late), Some(started)) = (self.settled().await, self.shared.started.get()) {
            let calls = started.gateway.with_ledger(|ledger| ledger.in_flight());
            tracing::warn!(
                calls,
                "calls of models are still under way; what they may cost counts as uncertain"
            );
        }
        self.shared.sources.close().await;
        if let Some(started) = self.shared.started.get() {
            started.close().await;
        }
    }

    /// Waits for calls under way, but not for long.
    async fn settled(&self) -> Result<(), Elapsed> {
        match self.shared.started.get() {
            Some(started) => tokio::time::timeout(SETTLING, started.gateway.settled()).await,
            None => Ok(()),
        }
    }

    /// Listens for every agent of the fleet with access, and for no other one.
    async fn open_doors(&self, fleet: &FleetSpec, agent_api: &AgentApi) -> Result<(), ModelsError> {
        let agents = fleet.agents.iter();
        let wanted = agents.filter(|(_, spec)| spec.launch.models.is_some());
        let wanted: BTreeSet<AgentName> = wanted.map(|(agent, _)| agent.clone()).collect();
        let missing: Vec<AgentName> = {
            let mut doors = self.doors();
            let before = doors.ports.len();
            doors.ports.retain(|agent, _| wanted.contains(agent));
            let missing = wanted
                .iter()
                .filter(|agent| !doors.ports.contains_key(*agent));
            let missing: Vec<_> = missing.cloned().collect();
            if missing.is_empty() && doors.ports.len() == before {
                return Ok(());
            }
            missing
        };
        let path = self.shared.dir.join("ports.json");
        let binding = tokio::task::spawn_blocking(move || bind(path, &missing, &wanted));
        let bound = binding.await.map_err(|_ending| ModelsError::Ending)??;
        for (agent, Bound { listener, port, .. }) in bound {
            let whose = Whose::Agent(agent.clone());
            let open = self.accept(agent_api, (listener, whose));
            let open = open.map_err(|source| ModelsError::Listen {
                agent: agent.clone(),
                source,
            })?;
            let door = Door { port, _open: open };
            self.doors().ports.insert(agent, door);
        }
        Ok(())
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        let doors = self.shared.doors.lock();
        doors.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for agents at the ports that are theirs. Blocks.
fn bind(
    path: PathBuf,
    missing: &[AgentName],
    wanted: &BTreeSet<AgentName>,
) -> Result<BTreeMap<AgentName, Bound>, ModelsError> {
    let mut book = PortBook::open(path.clone());
    let mut all = BTreeMap::new();
    let mut moved = Vec::new();
    for agent in missing {
        let bound = book.bind(agent).map_err(|source| ModelsError::Listen {
            agent: agent.clone(),
            source,
        })?;
        if let Some(lost) = bound.lost {
            moved.push(format!("{agent} (port {lost}, now {})", bound.port));
        }
        all.insert(agent.clone(), bound);
    }
    if !moved.is_empty() {
        let agents = moved.join(", ");
        tracing::error!(
            "other programs listen at ports where agents find models; restart these agents if they run without a network of their own: {agents}"
        );
    }
    let kept = book.keep(|agent| wanted.contains(agent));
    kept.map_err(|source| ModelsError::Ports { path, source })?;
    Ok(all)
}

fn make_dir(path: &Path) -> Result<(), ModelsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| ModelsError::Dir {
        path: path.to_owned(),
        source,
    })
}

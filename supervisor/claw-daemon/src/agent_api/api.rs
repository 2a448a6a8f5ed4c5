//! All agents' endpoints, and what their requests need of the supervisor.
//!
//! ```text
//!  supervise ── orders, announcements ──► AgentApi ── Endpoint ◄── requests ── agent
//!      ▲                                    │                   │
//!      └───────────── facts ────────────────┴── store ◄─────────┘
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use claw_core::action::Happened;
use claw_core::memory::{Inheritance, Recovered};
use claw_core::notification::{Lifecycle, Notification, WatchdogSignal};
use claw_core::order::RunContext;
use claw_core::run::{Run, WorkOutcome};
use claw_core::spec::Mode;
use claw_core::{
    AgentName, AgentSpec, Announcement, Fact, Generation, InstanceId, Order, PublicState, RunId,
    RunPhase,
};
use claw_drivers::container::pool::Sandboxes;
use claw_store::Store;
use claw_store::bus::{LeaseId, Settle};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agent_dir::{AgentDir, keeper};
use super::done;
use super::endpoint::{Endpoint, Hold};
use super::endpoints::Endpoints;
use super::fault::{Code, Fault};
use super::sdk::Sdk;
use super::series::Page;
use super::session::{Handshake, Resumption, Taken};
use super::token::TokenKey;
use super::write_rate::WriteRates;
use crate::config::Replicas;
use crate::llm::Models;
use crate::reload::Reloader;
use crate::supervise::Handle;

/// What the api is made of.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) facts: mpsc::Sender<Fact>,
    pub(crate) handle: Handle,
    pub(crate) data_dir: PathBuf,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) models: Models,
}

/// The endpoints of all agents; clones share them.
#[derive(Clone)]
pub(crate) struct AgentApi {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) endpoints: Endpoints,
    pub(super) key: TokenKey,
    pub(super) store: Store,
    pub(super) facts: mpsc::Sender<Fact>,
    pub(super) handle: Handle,
    pub(super) data_dir: PathBuf,
    pub(super) sandboxes: Sandboxes,
    models: Models,
    pub(super) replicas: RwLock<Arc<Replicas>>,
    pub(super) sdk: RwLock<Option<Sdk>>,
    pub(super) reloader: OnceLock<Reloader>,
    pub(super) write_rates: WriteRates,
    /// Where tasks for agents run: not on the thread of supervision.
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl AgentApi {
    /// Opens the api; nobody is served before [`AgentApi::configure`].
    ///
    /// # Errors
    ///
    /// The key of the tokens cannot be read or made.
    pub(crate) fn open(parts: Parts) -> std::io::Result<Self> {
        let key = TokenKey::open(&parts.data_dir.join("agent-tokens.key"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                endpoints: Endpoints::default(),
                key,
                store: parts.store,
                facts: parts.facts,
                handle: parts.handle,
                data_dir: parts.data_dir,
                sandboxes: parts.sandboxes,
                models: parts.models,
                replicas: RwLock::default(),
                sdk: RwLock::new(None),
                reloader: OnceLock::new(),
                write_rates: WriteRates::default(),
                runtime: tokio::runtime::Handle::current(),
                closing: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        })
    }

    /// Tells it who puts configurations into force.
    pub(crate) fn set_reloader(&self, reloader: Reloader) {
        // It is told once, at start.
        self.shared.reloader.set(reloader).ok();
    }

    /// Ends what is served: open answers end, and nobody is accepted any more.
    pub(crate) async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        let time = Duration::from_secs(3);
        if tokio::time::timeout(time, self.shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("requests of agents were cut off");
        }
    }

    /// Takes over what an earlier supervisor had given to agents that still live.
    /// What nobody lives to do is released, and runs that were reported are noted.
    pub(crate) async fn adopt(&self, inherited: &mut Inheritance) {
        self.adopt_instances(inherited);
        for endpoint in self.endpoints() {
            let lives = !endpoint.lock().sessions.is_empty();
            if !lives && endpoint.lock().spec.mode == Mode::Worker {
                release(&self.shared.store, &endpoint).await;
            }
        }
        for run in &inherited.runs {
            if let Some(outcome) = self.adopt_run(run).await {
                inherited.reported.insert(run.id, outcome);
            }
        }
    }

    fn adopt_instances(&self, inherited: &Inheritance) {
        for (instance, run, recovered) in &inherited.instances {
            let (Recovered::Alive { pid, .. }, Some(endpoint)) =
                (recovered, self.endpoint(&instance.agent))
            else {
                continue;
            };
            let (spec, greeted) = {
                let inside = endpoint.lock();
                (Arc::clone(&inside.spec), inside.greeted)
            };
            endpoint.begin(instance.generation, spec);
            endpoint.with(instance.generation, |session| {
                session.run = *run;
                session.pid = Some(*pid);
                session.resumption = Resumption::Awaited;
                if greeted == Some(instance.generation) {
                    session.handshake = Handshake::Expected;
                }
            });
        }
    }

    /// Takes over a run that was in the hands of an agent. Answers with its outcome if it was
    /// reported, although the core does not know of it.
    async fn adopt_run(&self, run: &Run) -> Option<WorkOutcome> {
        let (RunPhase::Running { .. }, Some(generation)) = (&run.phase, run.generation) else {
            return None;
        };
        let endpoint = self.endpoint(&run.agent)?;
        match done::reported(self, &endpoint, run.id, run.attempts).await {
            Ok(Some(outcome)) => {
                endpoint.with(generation, |session| session.note_end(run.id, run.attempts));
                return Some(outcome);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(run = %run.id, %error, "it is not known whether the run was done");
            }
        }
        let context = RunContext {
            run: run.id,
            trigger: run.trigger.clone(),
            attempt: run.attempts,
            payload: run.payload.as_deref().map(Arc::from),
        };
        endpoint.deliver(generation, context, None, Taken::Yes);
        None
    }

    pub(super) fn endpoint(&self, agent: &AgentName) -> Option<Arc<Endpoint>> {
        self.shared.endpoints.get(agent)
    }

    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.shared.endpoints.all()
    }

    /// Which agents are replicas of which.
    pub(super) fn replicas(&self) -> Arc<Replicas> {
        let replicas = self.shared.replicas.read();
        Arc::clone(&replicas.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_replicas(&self, replicas: &Arc<Replicas>) {
        let place = self.shared.replicas.write();
        *place.unwrap_or_else(PoisonError::into_inner) = Arc::clone(replicas);
    }

    /// Where state and events are kept.
    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// In what agents run code.
    pub(crate) fn sandboxes(&self) -> &Sandboxes {
        &self.shared.sandboxes
    }

    /// The agents' way to language models.
    pub(crate) fn models(&self) -> &Models {
        &self.shared.models
    }

    /// The metrics that agents report, as OpenMetrics text without its end.
    pub(crate) fn openmetrics(&self) -> String {
        let mut page = Page::default();
        for endpoint in self.endpoints() {
            endpoint.series.expose(endpoint.agent.as_str(), &mut page);
        }
        page.text()
    }

    pub(super) fn agent_dir(&self, agent: &AgentName) -> AgentDir {
        AgentDir::of(&self.shared.data_dir, agent)
    }

    /// The spec with which an instance is started: as configured, and told of its socket. Called
    /// by the supervision loop, so it only computes.
    pub(crate) fn prepare_launch(
        &self,
        instance: &InstanceId,
        spec: &Arc<AgentSpec>,
        run: Option<&RunContext>,
    ) -> Arc<AgentSpec> {
        let Some(endpoint) = self.shared.endpoints.begin(instance, Arc::clone(spec)) else {
            return Arc::clone(spec);
        };
        let run = run.map(|run| run.run);
        endpoint.with(instance.generation, |session| session.run = run);
        let token = self.shared.key.token(instance);
        let agent_dir = self.agent_dir(&instance.agent);
        let mut equipped = AgentSpec::clone(spec);
        let replica = endpoint.lock().replica.clone();
        let models = &self.shared.models;
        models.describe(&instance.agent, &mut equipped.launch, &token);
        agent_dir.describe(&mut equipped, &replica, token);
        // What a container needs of the SDK is in its image.
        if spec.mode == Mode::Worker && spec.launch.container.is_none() {
            let sdk = self.shared.sdk.read();
            let sdk = sdk.unwrap_or_else(PoisonError::into_inner);
            if let Some(sdk) = sdk.as_ref() {
                let keeper = keeper(spec, &instance.agent, &replica.group);
                let environments = self.agent_dir(keeper).environments();
                sdk.prepare_launch(&mut equipped.launch, &environments);
            }
        }
        Arc::new(equipped)
    }

    /// Carries out an order that is the socket's. Called by the supervision loop.
    pub(crate) fn order(&self, order: &Order) {
        let instance = order.instance();
        let Some(endpoint) = self.endpoint(&instance.agent) else {
            return;
        };
        match order {
            Order::Deliver { run, deadline, .. } => {
                if run.attempt == 1 {
                    endpoint.deliver(instance.generation, run.clone(), *deadline, Taken::No);
                } else {
                    let (run, again) = (run.clone(), Taken::Checking);
                    let (id, attempt) = (run.run, run.attempt);
                    endpoint.deliver(instance.generation, run, *deadline, again);
                    let check =
                        done::check_again(self.clone(), endpoint, (id, attempt), instance.clone());
                    self.shared.tasks.spawn_on(check, &self.shared.runtime);
                }
            }
            Order::CancelRun { run, .. } => {
                if let Some(attempt) = endpoint.cancel(instance.generation, *run) {
                    self.not_begun(instance, *run, attempt);
                }
            }
            Order::Drain { until, .. } => {
                let left = until.duration_since(jiff::Timestamp::now());
                let left = left.try_into().unwrap_or(Duration::ZERO);
                for (run, attempt) in endpoint.drain(instance.generation, left) {
                    self.not_begun(instance, run, attempt);
                }
            }
            Order::Signal { .. } => endpoint.stop(instance.generation),
            Order::Release { .. } => self.over(&endpoint, instance),
            Order::Spawn { .. }
            | Order::Kill { .. }
            | Order::Freeze { .. }
            | Order::Thaw { .. }
            | Order::Probe { .. }
            | Order::RunHook { .. } => {}
        }
    }

    /// Hears what has happened. Called by the supervision loop.
    pub(crate) fn observe(&self, announcement: &Announcement) {
        if let Happened::SwitchTurned { change } = &announcement.happened {
            let halts = self.shared.models.halts();
            crate::halts::turn(halts, &announcement.agent, change.halt());
        }
        let Some(endpoint) = self.endpoint(&announcement.agent) else {
            return;
        };
        match &announcement.happened {
            Happened::Started { instance, pid } | Happened::Adopted { instance, pid } => {
                endpoint.with(instance.generation, |session| session.pid = Some(*pid));
            }
            Happened::Ended { instance, .. } => self.over(&endpoint, instance),
            Happened::StateChanged { state, .. } => {
                endpoint.hold(if *state == PublicState::Paused {
                    Hold::Paused
                } else {
                    Hold::Released
                });
                endpoint.wake();
            }
            Happened::RunChanged { run } => endpoint.run_changed(run),
            Happened::ProbeFailed { .. }
            | Happened::SwitchTurned { .. }
            | Happened::SlotSettled { .. }
            | Happened::StaleFact { .. } => {}
        }
    }

    fn over(&self, endpoint: &Arc<Endpoint>, instance: &InstanceId) {
        let Some(session) = endpoint.end(instance.generation) else {
            return;
        };
        self.shared.endpoints.process_over(endpoint);
        let leases: BTreeSet<_> = session.leases.into_keys().collect();
        // Only workers are members of a group.
        if session.spec.mode != Mode::Worker && leases.is_empty() {
            return;
        }
        let mut twins = self.twins(endpoint);
        let shared = twins.any(|other| !other.lock().sessions.is_empty());
        drop(twins);
        let (store, endpoint) = (self.shared.store.clone(), Arc::clone(endpoint));
        let releasing = async move {
            if shared {
                hand_back(&store, &endpoint, leases).await;
            } else {
                release(&store, &endpoint).await;
            }
        };
        self.shared.tasks.spawn_on(releasing, &self.shared.runtime);
    }

    /// Other agents that are the same replica for a while: one that had no replicas ends beside
    /// the first of those that take its place.
    fn twins(&self, endpoint: &Endpoint) -> impl Iterator<Item = Arc<Endpoint>> {
        let (agent, member) = (endpoint.agent.clone(), endpoint.member());
        let all = self.endpoints().into_iter();
        all.filter(move |other| other.agent != agent && other.member() == member)
    }

    /// Events in the hands of those.
    pub(super) fn held_beside(&self, endpoint: &Endpoint) -> BTreeSet<LeaseId> {
        let leases = self.twins(endpoint).flat_map(|other| {
            let inside = other.lock();
            let sessions = inside.sessions.values();
            let held = sessions.flat_map(|session| session.leases.keys().copied());
            held.collect::<Vec<_>>()
        });
        leases.collect()
    }

    fn not_begun(&self, instance: &InstanceId, run: RunId, attempt: u32) {
        let fact = Fact::RunFinished {
            instance: instance.clone(),
            run,
            attempt,
            outcome: WorkOutcome::NotBegun,
        };
        let api = self.clone();
        self.shared
            .runtime
            .spawn(async move { api.tell(fact).await });
    }

    /// Does to its end what must not be left half done when whoever asked for it hangs up.
    pub(super) async fn complete_task<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let broken = |_| Fault::new(Code::Internal, "the supervisor broke off the request");
        let task = self.shared.tasks.spawn(work);
        task.await.map_err(broken)?
    }

    /// Tells the supervision loop of evidence of work, no more often than it matters.
    pub(super) async fn show_work(&self, endpoint: &Endpoint, generation: Generation) {
        let progress = endpoint.lock().spec.probes.progress.clone();
        let Some(progress) = progress else {
            return;
        };
        let now = Instant::now();
        let due = endpoint.with(generation, |session| {
            let due = session
                .evidence
                .is_none_or(|last| last + progress.max_silence / 4 <= now);
            if due {
                session.evidence = Some(now);
            }
            due
        });
        if due == Some(true) {
            let instance = endpoint.instance(generation);
            self.tell(Fact::Progressed { instance }).await;
        }
    }

    /// Tells the supervision loop.
    pub(super) async fn tell(&self, fact: Fact) {
        // The loop is gone only when the supervisor ends; the agent tells the next one.
        drop(self.shared.facts.send(fact).await);
    }

    /// Tells the supervision loop that an agent is ready, or alive.
    pub(super) async fn notify(&self, instance: InstanceId, said: SelfReport) {
        let mut notification = Notification::default();
        match said {
            SelfReport::Ready => notification.lifecycle = Some(Lifecycle::Ready),
            SelfReport::Alive => notification.watchdog = Some(WatchdogSignal::Alive),
            SelfReport::Status(status) => notification.status = Some(status),
        }
        let fact = Fact::Notified {
            instance,
            notification,
        };
        self.tell(fact).await;
    }
}

/// Ends the leases of an agent whose process is gone.
async fn release(store: &Store, endpoint: &Endpoint) {
    let member = endpoint.member();
    if let Err(error) = store.release_replica(&member).await {
        tracing::debug!(%member, %error, "leases end in their time");
    }
}

/// Ends those leases of a replica that one of its two processes held.
async fn hand_back(store: &Store, endpoint: &Endpoint, leases: BTreeSet<LeaseId>) {
    let member = endpoint.member();
    let returns = leases.into_iter().map(|lease| (lease, Settle::Return));
    if let Err(error) = store.settle_all(&member, returns.collect()).await {
        tracing::debug!(%member, %error, "leases end in their time");
    }
}

/// What an agent says of itself, in the words that agents without the protocol have for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SelfReport {
    Ready,
    Alive,
    Status(String),
}

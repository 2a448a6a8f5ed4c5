//! The process driver itself: orders in, tasks started, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use claw_core::memory::Recovered;
use claw_core::order::{HookOutcome, RunContext};
use claw_core::sandbox::{Abilities, Layer, Plan};
use claw_core::{
    AgentName, AgentSpec, ExitReport, Fact, Hook, InstanceId, Order, ProbeKind, ProbeOutcome,
    RunId, SpawnError, SpawnStage,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::account::Account;
use super::cgroup::{Capabilities, Cgroups};
use super::cleanup::{Cleanup, Remains};
use super::config::{EgressChange, ProcessConfig, StartError};
use super::confine::{Confined, Sandboxes};
use super::descriptors;
use super::environment::BaseEnvironment;
use super::execute::{self, Executed, Execution, Kind};
use super::instance::{Follower, Told};
use super::learned::Learned;
use super::link::Link;
use super::paths::{self, Paths};
use super::procfs::ProcessIdentity;
use super::recover::Touch;
use super::turn::Turn;
use super::wire::{ExecEnd, Request, Standing};
use super::{inspect, launch, procfs, recover, run_dir, usage};
use crate::driver::{Driver, FactSender, OpenInstance, Usage};
use crate::log::{LogPolicy, PruneError, prune};
use crate::probe;

/// Ends of instances that are remembered for their `post_stop` hooks. The core releases an
/// instance after its hook; one that it never releases must not stay for ever.
const ENDS_LIMIT: usize = 4096;

/// So many instances are measured sooner than a thread is made for them.
const USAGE_SHARE: usize = 64;

/// Runs instances as child processes, each below a shim of its own.
///
/// Dropping it ends no agent: the shims wait for the next supervisor.
#[derive(Debug)]
pub struct ProcessDriver {
    pub(super) inner: Arc<Inner>,
    cleanup: Cleanup,
    runtime: Handle,
    /// Aborted when the driver is dropped.
    tasks: Mutex<JoinSet<()>>,
}

/// What all tasks of a driver share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) paths: Paths,
    pub(crate) cgroups: Cgroups,
    pub(crate) link: Link,
    pub(crate) base_env: BaseEnvironment,
    pub(crate) boot_id: String,
    pub(super) run_dir_is_passable: bool,
    pub(super) sandboxes: Sandboxes,
    pub(super) egress: Option<mpsc::UnboundedSender<EgressChange>>,
    confined: Mutex<BTreeMap<InstanceId, Confined>>,
    facts: FactSender,
    own: Account,
    live: Mutex<BTreeMap<InstanceId, mpsc::UnboundedSender<Request>>>,
    probing: Mutex<BTreeSet<(InstanceId, ProbeKind)>>,
    ended: Mutex<BTreeMap<InstanceId, ExitReport>>,
    pub(super) learned: Learned,
}

impl ProcessDriver {
    /// Makes the data directory, finds out what cgroups can do, and starts the fork server.
    ///
    /// # Errors
    ///
    /// Fails if the data directory cannot be made or the executable cannot be re-entered.
    pub async fn start(config: ProcessConfig) -> Result<Self, StartError> {
        let prepared = tokio::task::spawn_blocking(move || Inner::prepare(config)).await;
        let prepared = prepared.map_err(|_ending| StartError::Runtime)??;
        let driver = Self {
            inner: Arc::new(prepared.with_link()?),
            runtime: Handle::current(),
            tasks: Mutex::default(),
            cleanup: Cleanup::new(Handle::current()),
        };
        // Known by the time that somebody asks, and nobody waits for it until then.
        let inner = Arc::clone(&driver.inner);
        driver.start_task(async move { drop(inner.sandboxes.abilities().await) });
        Ok(driver)
    }

    /// What this machine can do to confine processes, for `clawctl doctor`.
    pub async fn abilities(&self) -> Abilities {
        self.inner.sandboxes.abilities().await
    }

    /// How an instance is confined, until it is released; `None` if it has no sandbox.
    #[must_use]
    pub fn plan_of(&self, instance: &InstanceId) -> Option<Plan> {
        let confined = lock(&self.inner.confined);
        confined.get(instance).map(|confined| confined.plan.clone())
    }

    /// What this machine can do, for `clawctl doctor`.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        self.inner.cgroups.capabilities()
    }

    /// Runs a command beside a live instance, in the same sandbox if it has one, to its end or for
    /// `timeout` at most; nothing of it is left after.
    ///
    /// # Errors
    ///
    /// The command could not be started.
    pub async fn execute(
        &self,
        instance: &InstanceId,
        spec: &AgentSpec,
        command: &[String],
        timeout: Duration,
    ) -> Result<Executed, SpawnError> {
        let execution = Execution {
            instance,
            spec,
            command,
            timeout,
            kind: Kind::Probe,
        };
        let report = execute::execute(&self.inner, execution).await;
        let status = match report.end {
            ExecEnd::Exited(status) => Some(status),
            ExecEnd::TimedOut => None,
            ExecEnd::Failed(error) => return Err(error),
        };
        Ok(Executed {
            status,
            output: report.output,
        })
    }

    /// The id of this boot, to be recorded with the intent to start an instance.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.inner.boot_id
    }

    /// Removes what released instances left, and the folders that are empty then; for a supervisor
    /// that is about to end. Blocks.
    pub fn clear_up(&self) {
        self.cleanup.remove_all();
        let paths = &self.inner.paths;
        run_dir::remove_if_empty(paths.data_dir(), paths.run_dir());
    }

    /// Deletes the log segments of an agent that are older than `retention`; zero keeps them all.
    /// Shims do that when they begin a segment, which an agent that prints nothing never makes
    /// them do. Blocks.
    ///
    /// # Errors
    ///
    /// A folder of the log cannot be listed, or a file in it not deleted.
    pub fn expire_log(&self, agent: &AgentName, retention: Duration) -> Result<(), PruneError> {
        let policy = LogPolicy {
            max_files: u32::MAX,
            retention,
            ..LogPolicy::default()
        };
        prune(&self.inner.paths.log(agent), &policy, SystemTime::now()).map(drop)
    }

    /// Tells apart what projects have outside their data directories, such as their containers.
    #[must_use]
    pub fn project(&self) -> String {
        self.inner.paths.project()
    }

    /// Has the hooks after an instance that is not a process know how it ended.
    pub(crate) fn remember_end(&self, instance: &InstanceId, report: &ExitReport) {
        self.inner.remember_end(instance, report);
    }

    /// Undoes [`ProcessDriver::remember_end`].
    pub(crate) fn forget_end(&self, instance: &InstanceId) {
        lock(&self.inner.ended).remove(instance);
    }

    /// Locks this process down, once everything is found out that takes more: see
    /// [`crate::sandbox::lock_down`]. The fork server and its shims stay as they are.
    ///
    /// # Errors
    ///
    /// The kernel does not do it.
    pub async fn lock_down(&self) -> std::io::Result<()> {
        self.inner.sandboxes.abilities().await;
        crate::sandbox::lock_down()?;
        self.inner.link.lock_down();
        Ok(())
    }

    /// The process id of the fork server, for measurements.
    pub async fn spawner_pid(&self) -> Option<u32> {
        self.inner.link.pid().await
    }

    fn start_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }

    fn spawn(&self, instance: InstanceId, spec: Arc<AgentSpec>, run: Option<RunContext>) {
        let follower = self.follower(instance, Told::Nothing);
        self.start_task(follower.spawn(spec, run));
    }

    fn follower(&self, instance: InstanceId, told: Told) -> Follower {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.inner.live).insert(instance.clone(), sender);
        Follower::new(Arc::clone(&self.inner), instance, receiver, told)
    }

    /// The channel is not bounded, but what is in it is: the core repeats no order unasked, and a
    /// signal or kill must never be the one that is dropped.
    pub(super) fn request(&self, instance: &InstanceId, request: Request) {
        if let Some(sender) = lock(&self.inner.live).get(instance) {
            // The follower is gone in the moment between the last fact and its removal here;
            // orders to a gone instance are no error.
            sender.send(request).ok();
        }
    }

    fn probe(&self, instance: InstanceId, kind: ProbeKind, spec: Arc<AgentSpec>, sequence: u64) {
        let inner = Arc::clone(&self.inner);
        let first = lock(&inner.probing).insert((instance.clone(), kind));
        self.start_task(async move {
            let outcome = if first {
                let outcome = probe::run(&inner, &instance, kind, &spec)
                    .await
                    .masked(&spec.launch);
                lock(&inner.probing).remove(&(instance.clone(), kind));
                outcome
            } else {
                ProbeOutcome::Unknown(format!("the {kind} probe before this one still runs"))
            };
            let fact = Fact::Probed {
                instance,
                probe: kind,
                sequence,
                outcome,
            };
            inner.tell(fact).await;
        });
    }

    fn run_hook(&self, instance: InstanceId, hook: Hook, spec: Arc<AgentSpec>) {
        let inner = Arc::clone(&self.inner);
        self.start_task(async move {
            let outcome = inner.run_hook(&instance, hook, &spec).await;
            let fact = Fact::HookDone {
                instance,
                hook,
                outcome,
            };
            inner.tell(fact).await;
        });
    }

    fn release(&self, instance: &InstanceId) {
        lock(&self.inner.ended).remove(instance);
        lock(&self.inner.confined).remove(instance);
        if lock(&self.inner.live).contains_key(instance) {
            tracing::warn!(%instance, "an instance that is not gone was released; it is kept");
            return;
        }
        let inner = &self.inner;
        self.cleanup.remove(Remains {
            dir: inner.paths.instance(instance),
            group: inner.cgroups.every(&inspect::group_name(instance)),
        });
    }
}

impl Driver for ProcessDriver {
    fn order(&self, order: Order) {
        match order {
            Order::Spawn {
                instance,
                spec,
                run,
            } => self.spawn(instance, spec, run),
            Order::Signal { instance, signal } => self.request(&instance, Request::Signal(signal)),
            Order::Kill { instance } => self.request(&instance, Request::Kill),
            Order::Freeze { instance } => self.request(&instance, Request::Freeze),
            Order::Thaw { instance } => self.request(&instance, Request::Thaw),
            Order::Probe {
                instance,
                probe,
                spec,
                sequence,
            } => self.probe(instance, probe, spec, sequence),
            Order::RunHook {
                instance,
                hook,
                spec,
            } => self.run_hook(instance, hook, spec),
            // Said over the agent's own socket, which is the host's.
            Order::Deliver { .. } | Order::CancelRun { .. } | Order::Drain { .. } => {}
            Order::Release { instance } => self.release(&instance),
        }
    }

    async fn recover(
        &self,
        open: Vec<OpenInstance>,
    ) -> Vec<(InstanceId, Option<RunId>, Recovered)> {
        let kept: BTreeSet<InstanceId> = open.iter().map(|each| each.instance.clone()).collect();
        let answers = recover::look(&self.inner, open).await;
        let inner = Arc::clone(&self.inner);
        let swept = tokio::task::spawn_blocking(move || recover::sweep(&inner, &kept)).await;
        if let Err(error) = swept {
            tracing::error!(%error, "the sweep after an earlier supervisor failed");
        }
        let mut recovered = Vec::with_capacity(answers.len());
        for answer in answers {
            if let Some(touch) = answer.alive {
                let follower = self.follower(answer.open.instance.clone(), Told::Started);
                match touch {
                    Touch::Heard(connection, standing) => {
                        self.start_task(follower.adopt(connection, standing));
                    }
                    Touch::Mute(mute) => self.start_task(follower.watch(mute)),
                }
            }
            recovered.push((answer.open.instance, answer.open.run, answer.recovered));
        }
        recovered
    }

    async fn usage(&self) -> BTreeMap<InstanceId, Usage> {
        let inner = Arc::clone(&self.inner);
        let read = tokio::task::spawn_blocking(move || inner.usage());
        // Fails only when the runtime ends.
        read.await.unwrap_or_default()
    }
}

/// Everything but the fork server, whose socket wants a runtime.
struct Prepared {
    config: ProcessConfig,
    paths: Paths,
    cgroups: Cgroups,
    turn: Turn,
    run_dir_is_passable: bool,
}

impl Inner {
    fn prepare(config: ProcessConfig) -> Result<Prepared, StartError> {
        descriptors::raise_limit();
        let failed = |source| StartError::DataDir {
            path: config.data_dir.clone(),
            source,
        };
        std::fs::create_dir_all(&config.data_dir).map_err(failed)?;
        let data_dir = config.data_dir.canonicalize().map_err(failed)?;
        let turn = Turn::take(&data_dir).map_err(failed)?;
        let run_dir = run_dir::settle(&data_dir, &paths::project(&data_dir)).map_err(failed)?;
        let run_dir_is_passable = launch::is_passable(&run_dir);
        let paths = Paths::new(data_dir, run_dir);
        let cgroups = Cgroups::detect(config.cgroups, &paths.project(), &config.exe);
        Ok(Prepared {
            config,
            paths,
            cgroups,
            turn,
            run_dir_is_passable,
        })
    }

    /// Passes a fact on; a supervisor that is ending no longer listens.
    pub(super) async fn tell(&self, fact: Fact) {
        if self.facts.send(fact).await.is_err() {
            tracing::debug!("a fact came after the end");
        }
    }

    pub(super) fn forget(&self, instance: &InstanceId) {
        lock(&self.live).remove(instance);
    }

    /// The instances of an agent that live.
    pub(super) fn live_of(&self, agent: &AgentName) -> Vec<InstanceId> {
        let live = lock(&self.live);
        let of_agent = live.keys().filter(|instance| instance.agent == *agent);
        of_agent.cloned().collect()
    }

    /// Notes how an instance is confined.
    pub(super) fn note_plan(&self, instance: &InstanceId, plan: &Plan) {
        let confined = Confined {
            plan: plan.clone(),
            inside: None,
        };
        lock(&self.confined).insert(instance.clone(), confined);
    }

    /// Notes where the namespaces of an instance are to be found.
    pub(super) fn note_inside(&self, instance: &InstanceId, standing: &Standing) {
        if let Some(confined) = lock(&self.confined).get_mut(instance) {
            confined.inside = standing.keeper.map(|keeper| (keeper, standing.main));
        }
    }

    /// The keeper of an instance's namespaces and its main process.
    pub(super) fn inside(
        &self,
        instance: &InstanceId,
    ) -> Option<(ProcessIdentity, ProcessIdentity)> {
        lock(&self.confined).get(instance)?.inside
    }

    /// The same of an instance that has a network of its own.
    pub(crate) fn network_of(
        &self,
        instance: &InstanceId,
    ) -> Option<(ProcessIdentity, ProcessIdentity)> {
        let confined = lock(&self.confined);
        let confined = confined.get(instance)?;
        let apart = confined.plan.layers.contains(&Layer::Network);
        confined.inside.filter(|_| apart)
    }

    pub(super) fn remember_end(&self, instance: &InstanceId, report: &ExitReport) {
        let mut ended = lock(&self.ended);
        ended.insert(instance.clone(), report.clone());
        if ended.len() > ENDS_LIMIT {
            ended.pop_first();
        }
    }

    /// The account an agent runs as; user databases are read off the runtime.
    pub(super) async fn account(&self, spec: &AgentSpec) -> Result<Account, SpawnError> {
        let Some(name) = spec.launch.user.clone() else {
            return Ok(self.own.clone());
        };
        let found = tokio::task::spawn_blocking(move || Account::find(&name)).await;
        found.unwrap_or_else(|_ending| {
            Err(SpawnError {
                stage: SpawnStage::User,
                errno: 0,
                detail: "the supervisor is ending".to_owned(),
            })
        })
    }

    async fn run_hook(&self, instance: &InstanceId, hook: Hook, spec: &AgentSpec) -> HookOutcome {
        let wanted = match hook {
            Hook::PreStart => &spec.hooks.pre_start,
            Hook::PostStop => &spec.hooks.post_stop,
        };
        let Some(wanted) = wanted else {
            return HookOutcome::Success;
        };
        let ended = lock(&self.ended).get(instance).cloned();
        let execution = Execution {
            instance,
            spec,
            command: &wanted.command,
            timeout: wanted.timeout,
            kind: Kind::Hook {
                hook,
                ended: ended.as_ref(),
            },
        };
        let report = execute::execute(self, execution).await;
        execute::hook_outcome(&report, wanted.timeout).masked(&spec.launch)
    }

    fn usage(&self) -> BTreeMap<InstanceId, Usage> {
        let live: Vec<InstanceId> = lock(&self.live).keys().cloned().collect();
        let measure = |instance: InstanceId| {
            let group = self.cgroups.every(&inspect::group_name(&instance));
            let shim = if group.tree.is_some() {
                None
            } else {
                let dir = super::record::InstanceDir::open(&self.paths.instance(&instance));
                let record = dir.ok().and_then(|dir| dir.run_record().ok().flatten());
                record.map(|record| record.shim.pid)
            };
            (instance, usage::of(&group, shim))
        };
        // Each takes some files of the kernel's, which one processor after the other would read.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let share = live.len().div_ceil(processors).max(USAGE_SHARE);
        thread::scope(|scope| {
            let shares = live.chunks(share).map(|share| {
                let measured = move || share.iter().cloned().map(measure).collect::<Vec<_>>();
                let thread = thread::Builder::new().spawn_scoped(scope, measured);
                (thread, measured)
            });
            let threads: Vec<_> = shares.collect();
            let measured = threads.into_iter().map(|(thread, measured)| match thread {
                Ok(thread) => thread.join().unwrap_or_default(),
                // There is no room for another thread, which is when somebody looks.
                Err(_) => measured(),
            });
            measured.flatten().collect()
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.cgroups.remove_if_empty();
    }
}

impl Prepared {
    fn with_link(self) -> Result<Inner, StartError> {
        let config = self.config;
        Ok(Inner {
            sandboxes: Sandboxes::new(&config, &self.paths),
            egress: config.egress,
            confined: Mutex::default(),
            link: Link::start(config.exe, self.turn)?,
            base_env: BaseEnvironment::new(&config.own_env, &config.control_env),
            paths: self.paths,
            cgroups: self.cgroups,
            run_dir_is_passable: self.run_dir_is_passable,
            boot_id: procfs::boot_id().map_err(|source| StartError::Boot { source })?,
            facts: config.facts,
            own: Account::own(),
            live: Mutex::default(),
            probing: Mutex::default(),
            ended: Mutex::default(),
            learned: Learned::default(),
        })
    }
}

/// Nothing that is done under these locks can panic half-way, so what they guard is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

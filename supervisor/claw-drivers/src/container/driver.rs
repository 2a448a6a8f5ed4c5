//! The container driver itself: orders in, tasks started, nothing decided.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claw_core::memory::Recovered;
use claw_core::order::RunContext;
use claw_core::redact::Redactor;
use claw_core::spec::OnFull;
use claw_core::spec::container::Network;
use claw_core::spec::sandbox::Capture;
use claw_core::{
    AgentName, AgentSpec, ExitReport, Fact, InstanceId, Order, ProbeKind, ProbeOutcome, RunId, Wall,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::config::ContainerConfig;
use super::engine::{Engine, EngineReport};
use super::fault::EngineError;
use super::instance::{Asked, Follower, Mail, Wants};
use super::output::Place;
use super::owner::Owners;
use super::record::{Pace, Record, Records, Stage};
use super::watch::{self as watching, Sight};
use super::{lock, probe, recover, sweep};
use crate::driver::{Driver, FactSender, OpenInstance, Usage};
use crate::log::{LogPolicy, OnFull as BlockOrDrop};
use crate::process::{EgressChange, boot_id, log_dir};
use crate::sandbox::Taken;

/// Ends of instances that are remembered until they are released, as with processes.
const ENDS_LIMIT: usize = 4096;

/// Reports of progress come at least this far apart; see the process driver's.
const SHORTEST_PROGRESS: Duration = Duration::from_millis(50);

/// Runs instances as containers of an engine that speaks Docker's API.
///
/// Dropping it ends no agent: the engine goes on, and the next driver finds what runs.
#[derive(Debug)]
pub struct ContainerDriver {
    pub(super) inner: Arc<Inner>,
}

/// What all tasks of a driver share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) records: Records,
    pub(super) project: String,
    pub(super) control_env: BTreeMap<String, String>,
    pub(super) boot_id: String,
    pub(super) facts: FactSender,
    pub(super) sight: watch::Sender<Sight>,
    pub(super) owners: Owners,
    pub(super) egress: Option<mpsc::UnboundedSender<EgressChange>>,
    data_dir: PathBuf,
    known: Mutex<Known>,
    /// What is masked of each agent's output.
    redactors: Mutex<BTreeMap<AgentName, Redactor>>,
    probing: Mutex<BTreeSet<(InstanceId, ProbeKind)>>,
    runtime: Handle,
    /// Aborted when the driver is dropped; `None` from then on.
    tasks: Mutex<Option<JoinSet<()>>>,
}

/// The instances that are known, by where they stand.
#[derive(Debug, Default)]
struct Known {
    live: BTreeMap<InstanceId, Live>,
    /// Gone, and not released yet; how they ended if that is known.
    over: BTreeMap<InstanceId, Option<ExitReport>>,
    /// To be removed when the engine is there.
    doomed: BTreeSet<InstanceId>,
    /// Of an earlier supervisor, and not looked at yet.
    inherited: BTreeSet<InstanceId>,
    watch: Watch,
}

#[derive(Debug)]
struct Live {
    mail: mpsc::UnboundedSender<Mail>,
    image: Option<String>,
    running: Option<RunningContainer>,
    /// The last that was measured.
    usage: Usage,
    memory_peak: u64,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunningContainer {
    pub(super) id: String,
    /// Of its first process, on the engine's machine.
    pub(super) pid: u32,
}

/// Whether the engine is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Watch {
    #[default]
    Off,
    On,
}

impl ContainerDriver {
    /// Takes the configuration. Nothing is opened and no engine is asked before the first
    /// container; one that is missing or stuck fails the starts that need it. To be called in a
    /// runtime.
    ///
    /// # Errors
    ///
    /// The id of this boot cannot be read.
    pub fn start(config: ContainerConfig) -> io::Result<Self> {
        let inner = Inner {
            engine: Engine::new(config.engine),
            records: Records::new(&config.data_dir),
            project: config.project,
            control_env: config.control_env,
            boot_id: boot_id()?,
            facts: config.facts,
            sight: watch::channel(Sight::Unknown).0,
            owners: Owners::default(),
            egress: config.egress,
            data_dir: config.data_dir,
            known: Mutex::default(),
            redactors: Mutex::default(),
            probing: Mutex::default(),
            runtime: Handle::current(),
            tasks: Mutex::new(Some(JoinSet::new())),
        };
        let inner = Arc::new(inner);
        Ok(Self { inner })
    }

    /// What the engine is, for `clawctl doctor`. Asks it anew, and takes some seconds at most.
    ///
    /// # Errors
    ///
    /// There is none, it does not answer, or it cannot be used.
    pub async fn engine(&self) -> Result<EngineReport, EngineError> {
        self.inner.engine.report().await
    }

    /// Removes what is left of instances that are gone, released or not, for a supervisor that is
    /// about to end and has written down how they ended. What an engine does not do in this time
    /// is left to the next supervisor.
    pub async fn clear_up(&self, limit: Duration) {
        let inner = Arc::clone(&self.inner);
        let listed = tokio::task::spawn_blocking(move || inner.records.all()).await;
        let mut gone = listed.unwrap_or_default();
        gone.retain(|instance| !lock(&self.inner.known).live.contains_key(instance));
        let mut removals = JoinSet::new();
        for instance in gone {
            removals.spawn(sweep::release(Arc::clone(&self.inner), instance));
        }
        if tokio::time::timeout(limit, removals.join_all())
            .await
            .is_err()
        {
            tracing::warn!("not all containers could be removed; the next supervisor does it");
        }
    }

    /// Whether the instance is a container of this driver's, live or not released yet.
    #[must_use]
    pub fn owns(&self, instance: &InstanceId) -> bool {
        let known = lock(&self.inner.known);
        known.live.contains_key(instance) || known.over.contains_key(instance)
    }

    /// The id of the image that a live instance runs on, such as `sha256:…`: what its reference
    /// stood for when it was started.
    #[must_use]
    pub fn image(&self, instance: &InstanceId) -> Option<String> {
        let known = lock(&self.inner.known);
        known.live.get(instance)?.image.clone()
    }

    /// How a gone instance ended, until it is released.
    pub(crate) fn ended(&self, instance: &InstanceId) -> Option<ExitReport> {
        lock(&self.inner.known)
            .over
            .get(instance)
            .cloned()
            .flatten()
    }

    /// Whether an instance that an earlier supervisor left was a container.
    pub(crate) fn has_record(&self, instance: &InstanceId) -> bool {
        self.inner.records.has(instance)
    }

    fn spawn(&self, instance: InstanceId, spec: Arc<AgentSpec>, run: Option<RunContext>) {
        self.inner.mask(&instance, &spec);
        let record = Record {
            instance,
            run: run.as_ref().map(|run| run.run),
            boot_id: self.inner.boot_id.clone(),
            at: Wall::now(),
            stage: Stage::Intended,
            id: None,
            image: None,
            reference: None,
            log: log_policy(&spec),
            listens: way_out(&spec).is_some(),
            taken: way_out(&spec).unwrap_or_default(),
            models: spec.launch.models,
            output: None,
            // Four reports in the allowed silence, so that one that is late does no harm.
            progress: spec
                .probes
                .progress
                .as_ref()
                .map(|progress| (progress.max_silence / 4).max(SHORTEST_PROGRESS)),
            stop_signal: spec.shutdown.signal,
            pace: Pace::Running,
        };
        let follower = Inner::follower(&self.inner, record);
        self.inner.start_task(follower.spawn(spec, run));
    }

    fn probe(&self, instance: InstanceId, kind: ProbeKind, spec: Arc<AgentSpec>, sequence: u64) {
        let inner = Arc::clone(&self.inner);
        let first = lock(&inner.probing).insert((instance.clone(), kind));
        self.inner.start_task(async move {
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

    fn release(&self, instance: InstanceId) {
        {
            let mut known = lock(&self.inner.known);
            if known.live.contains_key(&instance) {
                tracing::warn!(%instance, "an instance that is not gone was released; it is kept");
                return;
            }
            known.over.remove(&instance);
        }
        let inner = Arc::clone(&self.inner);
        self.inner.start_task(async move {
            if inner.records.has(&instance) {
                sweep::release(inner, instance).await;
            }
        });
    }
}

impl Drop for ContainerDriver {
    fn drop(&mut self) {
        // The tasks hold what they share.
        lock(&self.inner.tasks).take();
    }
}

impl Driver for ContainerDriver {
    fn order(&self, order: Order) {
        let inner = &self.inner;
        match order {
            Order::Spawn {
                instance,
                spec,
                run,
            } => self.spawn(instance, spec, run),
            Order::Signal { instance, signal } => inner.mail(&instance, Mail::Signal(signal)),
            Order::Kill { instance } => inner.mail(&instance, Mail::Kill),
            Order::Freeze { instance } => inner.mail(&instance, Mail::Freeze),
            Order::Thaw { instance } => inner.mail(&instance, Mail::Thaw),
            Order::Probe {
                instance,
                probe,
                spec,
                sequence,
            } => self.probe(instance, probe, spec, sequence),
            // On the host, by the process driver.
            Order::RunHook { instance, .. } => {
                tracing::error!(%instance, "hooks of containers are run by the process driver");
            }
            // Said over the agent's own socket, which is the host's.
            Order::Deliver { .. } | Order::CancelRun { .. } | Order::Drain { .. } => {}
            Order::Release { instance } => self.release(instance),
        }
    }

    async fn recover(
        &self,
        open: Vec<OpenInstance>,
    ) -> Vec<(InstanceId, Option<RunId>, Recovered)> {
        recover::recover(&self.inner, open).await
    }

    async fn usage(&self) -> BTreeMap<InstanceId, Usage> {
        super::usage::of(&self.inner).await
    }
}

impl Inner {
    /// The follower of an instance, which is live from here on.
    pub(super) fn follower(inner: &Arc<Self>, record: Record) -> Follower {
        let (sender, mail) = mpsc::unbounded_channel();
        let live = Live {
            mail: sender,
            image: None,
            running: None,
            usage: Usage::default(),
            memory_peak: 0,
        };
        {
            let mut known = lock(&inner.known);
            known.live.insert(record.instance.clone(), live);
        }
        Self::watch(inner);
        Follower {
            inner: Arc::clone(inner),
            record,
            mail,
            wants: Wants::default(),
            asked: Asked::Nothing,
            notify: None,
            way_out: None,
        }
    }

    /// Sees to it that the engine is watched.
    pub(super) fn watch(inner: &Arc<Self>) {
        {
            let mut known = lock(&inner.known);
            if known.watch == Watch::On {
                return;
            }
            known.watch = Watch::On;
        }
        inner.sight.send_replace(Sight::Unknown);
        inner.start_task(watching::run(Arc::clone(inner)));
    }

    /// Whether there is still something to watch; if not, the watch is over.
    pub(super) fn is_watching(&self) -> bool {
        let mut known = lock(&self.known);
        if known.live.is_empty() && known.doomed.is_empty() {
            known.watch = Watch::Off;
        }
        known.watch == Watch::On
    }

    pub(super) fn start_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *lock(&self.tasks) {
            while tasks.try_join_next().is_some() {}
            tasks.spawn_on(task, &self.runtime);
        }
    }

    /// Passes a fact on; a supervisor that is ending no longer listens.
    pub(super) async fn tell(&self, fact: Fact) {
        if self.facts.send(fact).await.is_err() {
            tracing::debug!("a fact came after the end");
        }
    }

    /// The channel is not bounded, but what is in it is: the core repeats no order unasked, and
    /// the engine's events come no faster than a container can change.
    pub(super) fn mail(&self, instance: &InstanceId, mail: Mail) {
        if let Some(live) = lock(&self.known).live.get(instance) {
            // The follower is gone in the moment between its last fact and its removal.
            live.mail.send(mail).ok();
        }
    }

    /// The instance is gone: it is remembered until it is released.
    pub(super) fn forget(&self, instance: &InstanceId) {
        let mut known = lock(&self.known);
        known.live.remove(instance);
        known.over.entry(instance.clone()).or_default();
        if known.over.len() > ENDS_LIMIT {
            known.over.pop_first();
        }
    }

    /// The instance was never started: nobody will ask for it, or release it.
    pub(super) fn discard(&self, instance: &InstanceId) {
        lock(&self.known).live.remove(instance);
    }

    pub(super) fn note_image(&self, instance: &InstanceId, image: &str) {
        if let Some(live) = lock(&self.known).live.get_mut(instance) {
            live.image = Some(image.to_owned());
        }
    }

    pub(super) fn remember_end(&self, instance: &InstanceId, report: &ExitReport) {
        let mut known = lock(&self.known);
        known.over.insert(instance.clone(), Some(report.clone()));
    }

    pub(super) fn note_running(&self, instance: &InstanceId, id: &str, pid: u32) {
        if let Some(live) = lock(&self.known).live.get_mut(instance) {
            let id = id.to_owned();
            live.running = (pid != 0).then_some(RunningContainer { id, pid });
        }
    }

    /// The container of a live instance, if it runs as far as is known.
    pub(super) fn running(&self, instance: &InstanceId) -> Option<RunningContainer> {
        lock(&self.known).live.get(instance)?.running.clone()
    }

    /// Every container that runs as far as is known.
    pub(super) fn all_running(&self) -> Vec<(InstanceId, RunningContainer)> {
        let known = lock(&self.known);
        let live = known.live.iter();
        live.filter_map(|(instance, live)| Some((instance.clone(), live.running.clone()?)))
            .collect()
    }

    /// Keeps what was measured, for the report of the end.
    pub(super) fn note_usage(&self, instance: &InstanceId, usage: Usage, peak: u64) {
        if let Some(live) = lock(&self.known).live.get_mut(instance) {
            live.usage = usage;
            live.memory_peak = live.memory_peak.max(peak);
        }
    }

    /// Processor time in microseconds and most memory in bytes, as last measured.
    pub(super) fn last_usage(&self, instance: &InstanceId) -> (u64, u64) {
        let known = lock(&self.known);
        let live = known.live.get(instance);
        live.map_or((0, 0), |live| (live.usage.cpu_us, live.memory_peak))
    }

    /// Whether an instance's container has to stay.
    pub(super) fn keeps(&self, instance: &InstanceId) -> bool {
        let known = lock(&self.known);
        known.live.contains_key(instance)
            || known.over.contains_key(instance)
            || known.inherited.contains(instance)
    }

    /// An earlier supervisor left these: nothing of them is removed before it is known where they
    /// stand.
    pub(super) fn inherit(&self, instances: &BTreeSet<InstanceId>) {
        lock(&self.known).inherited.clone_from(instances);
    }

    /// It is known where an inherited instance stands.
    pub(super) fn settle(&self, instance: &InstanceId) {
        lock(&self.known).inherited.remove(instance);
    }

    /// What is to be removed when the engine is there.
    pub(super) fn doomed(&self) -> Vec<InstanceId> {
        lock(&self.known).doomed.iter().cloned().collect()
    }

    /// Has the instance removed as soon as the engine is there.
    pub(super) fn doom(inner: &Arc<Self>, instance: InstanceId) {
        lock(&inner.known).doomed.insert(instance);
        Self::watch(inner);
    }

    /// Nothing of the instance is left but what we wrote: removes that.
    pub(super) async fn bury(self: &Arc<Self>, instance: &InstanceId) {
        let (inner, of) = (Arc::clone(self), instance.clone());
        let removed = tokio::task::spawn_blocking(move || inner.records.remove(&of)).await;
        if removed.is_ok() {
            lock(&self.known).doomed.remove(instance);
        }
    }

    pub(super) async fn read(self: &Arc<Self>, instance: &InstanceId) -> Option<Record> {
        let (inner, of) = (Arc::clone(self), instance.clone());
        let read = tokio::task::spawn_blocking(move || inner.records.read(&of));
        read.await.ok().flatten()
    }

    /// Has the agent's secrets masked in the logs that are opened from here on.
    pub(super) fn mask(&self, instance: &InstanceId, spec: &AgentSpec) {
        let agent = instance.agent.clone();
        let mut redactors = lock(&self.redactors);
        match Redactor::of(&spec.launch) {
            Some(redactor) => drop(redactors.insert(agent, redactor)),
            None => drop(redactors.remove(&agent)),
        }
    }

    pub(super) fn redactor(&self, instance: &InstanceId) -> Option<Redactor> {
        lock(&self.redactors).get(&instance.agent).cloned()
    }

    /// Where the log of an instance and its cursor lie.
    pub(super) fn place(&self, record: &Record) -> Place {
        Place {
            log_dir: log_dir(&self.data_dir, &record.instance.agent),
            policy: record.log,
            cursor: self.records.cursor(&record.instance),
            redactor: self.redactor(&record.instance),
        }
    }
}

fn log_policy(spec: &AgentSpec) -> LogPolicy {
    let wanted = &spec.logging;
    LogPolicy {
        max_size: wanted.max_size,
        max_files: wanted.max_files,
        retention: wanted.retention,
        on_full: match wanted.on_full {
            OnFull::Drop => BlockOrDrop::Drop,
            OnFull::Block => BlockOrDrop::Block,
        },
    }
}

/// Which of its connections lead to the supervisor, if it reaches listed hosts.
fn way_out(spec: &AgentSpec) -> Option<Taken> {
    match &spec.launch.container.as_deref()?.network {
        Network::Listed(egress) => Some(match egress.capture {
            Capture::Transparent => Taken::All,
            Capture::ProxyOnly | Capture::Nothing => Taken::Proxy,
        }),
        Network::None | Network::Bridge => None,
    }
}

//! Brings a supervisor up, and down again.
//!
//! The order matters: the data directory is owned before anything in it is
//! read; listeners are bound before any agent is started, so that a taken port
//! fails the start and not a running fleet; what the supervisor before us left
//! running is adopted before anything new is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claw_core::event::ShutdownMode;
use claw_core::fleet::Fleet;
use claw_core::memory::{AgentMemory, Inheritance};
use claw_core::{AgentName, Fact, Wall};
use claw_drivers::container::{ContainerConfig, ContainerDriver};
use claw_drivers::process::{self, EgressChange, ProcessConfig, ProcessDriver, boot_id};
use claw_drivers::{Driver, Drivers, OpenInstance};
use claw_failpoint::Step;
use claw_gateway::egress::SystemResolver;
use claw_store::journal::{self, Ack, Journal, Opened};
use claw_store::store::EventLimits;
use claw_store::{Store, StoreOptions};
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::agent_api::{self, AgentApi};
use crate::api::{Lockdown, UpgradeBegun};
use crate::backups::Backups;
use crate::clock::Clock;
use crate::config::{self, Environment, Loaded, OnExit};
use crate::data_dir::DataDir;
use crate::egress::Egress;
use crate::error::StartError;
use crate::feed::Feed;
use crate::http::ports::{Port, Ports, UpgradeQuestion, UpgradeRefusal};
use crate::http::{self, Listeners};
use crate::llm::{Answers, Models, Told};
use crate::perform::Performer;
use crate::reload::{Reloader, remember};
use crate::supervise::{self, Handle, Senders};
use crate::telemetry::metrics::Metrics;
use crate::thread::TaskThread;
use crate::upgrade::{Upgrades, Watched};
use crate::{descriptors, halts, retention, sandboxes, signals, watch, watchdog, wiring};

/// An engine that is slow or away is not waited for longer than this at the end.
const REMOVALS: Duration = Duration::from_secs(5);

/// What a supervisor is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The fleet file.
    pub file: PathBuf,
    /// The variables that the fleet file may refer to.
    pub environment: Environment,
    /// Where the answers of models come from.
    pub answers: Answers,
    /// Who watches the process.
    pub watched: Watched,
}

/// A running supervisor.
pub struct Daemon {
    handle: Handle,
    feed: Feed,
    loaded: Arc<Loaded>,
    notes: Vec<String>,
    supervision: JoinHandle<()>,
    thread: TaskThread,
    driver: Arc<Drivers>,
    server: http::Running,
    journal: Journal,
    store: Store,
    agent_api: AgentApi,
    data_dir: DataDir,
}

impl Daemon {
    /// Starts a supervisor: when this returns, its fleet is loaded and it answers.
    ///
    /// # Errors
    ///
    /// Says what stands in the way; nothing was started then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (clock, mut notes) = (Clock::start(), Vec::new());
        let mut loaded = load(&options, &mut notes)?;
        let data_dir = DataDir::own(&loaded.supervisor.data_dir)?;
        let listeners = Listeners::bind(&data_dir.control_socket(), loaded.supervisor.listen)?;

        let (handle, Senders { facts, acks }, inbox) = supervise::inbox();
        let (journal, opened) = open_journal(&data_dir, acks)?;
        notes.extend(opened.notes.iter().cloned());
        let (asked, metrics) = ((facts.clone(), handle.clone()), Metrics::new());
        let (store, agent_api) =
            open_agent_api(&data_dir, asked, (&mut loaded, options.answers), &metrics).await?;
        let (egress, ways) = open_ways(&data_dir, &loaded, &agent_api, &opened.memory);
        let (thread, driver) = start_drivers(&data_dir, facts, &loaded, ways).await?;
        let mut inheritance = inherit(&loaded, &thread, &driver, opened).await?;
        let feed = serve_agents(&agent_api, &mut inheritance, (clock, &thread)).await?;
        let told = (agent_api.clone(), feed.clone(), metrics.clone());
        let performer = Performer::new(Arc::clone(&driver), journal.clone(), told);
        let spec = Arc::new(loaded.fleet.clone());
        let (fleet, first) = Fleet::restore(spec, inheritance, seed(), clock.now());
        let supervising = supervise::supervise(fleet, first, inbox, performer, clock);
        let supervision = thread.tasks().spawn(supervising);

        agent_api.sandboxes().configure(&loaded.sandboxes);
        let (file, last_good) = (options.file, data_dir.last_good());
        remember(&last_good, &loaded.text).await;
        let first_signal = mode_of(loaded.supervisor.on_exit);
        let takers = (handle.clone(), agent_api.clone(), egress.clone());
        let reloader = Reloader::new(file, last_good, options.environment, takers, loaded);
        agent_api.set_reloader(reloader.clone());
        signals::listen(handle.clone(), reloader.clone(), first_signal)
            .map_err(|source| StartError::Signals { source })?;
        notes.extend(go_by_file(&reloader, &driver));
        Backups::of(&data_dir).start();
        let loaded = reloader.current();
        let lockdown = lock_down(&loaded, &driver, &mut notes).await;
        let ports = wiring::ports(wiring::Parts {
            handle: handle.clone(),
            feed: feed.clone(),
            reloader,
            journal: journal.clone(),
            containers: Arc::clone(driver.containers()),
            driver: Arc::clone(&driver),
            agent_api: agent_api.clone(),
            confinement: wiring::Confinement::of(&driver, &egress),
            egress,
            lockdown,
            upgrade: upgrades(options.watched, &data_dir, &driver, &handle),
            data_dir: data_dir.path().to_owned(),
        });
        let server = answer(
            listeners,
            (ports, metrics),
            &data_dir,
            watchdog::Watched::of(&handle, &agent_api),
        );
        Ok(Self {
            handle,
            feed,
            loaded,
            notes,
            supervision,
            thread,
            driver,
            server,
            journal,
            store,
            agent_api,
            data_dir,
        })
    }

    /// Asks the running fleet.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What happens in the fleet.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The configuration it came up with.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What a user should know about this start, in sentences.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where its data lies.
    #[must_use]
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// Waits until the supervisor was asked to end and has ended, with everything written.
    pub async fn ended(self) {
        if let Err(error) = self.supervision.await {
            tracing::error!(%error, "the supervision loop ended by a bug; agents go on running");
        }
        tell_manager(&[NotifyState::Stopping]);
        self.server.stop().await;
        self.agent_api.close().await;
        self.agent_api.models().close().await;
        self.agent_api.sandboxes().close().await;
        let (journal, store, driver) = (self.journal, self.store, self.driver);
        let backups = Backups::of(&self.data_dir);
        let closing = move || {
            let closed = (store.close(), journal.close());
            backups.make(Wall::now());
            closed
        };
        match tokio::task::spawn_blocking(closing).await {
            Ok((store, journal)) => {
                if let Err(error) = store {
                    tracing::error!(%error, "the store was not closed in order");
                }
                if let Err(error) = journal {
                    tracing::error!(%error, "the journal was not closed in order");
                }
            }
            Err(error) => tracing::error!(%error, "the journal and the store were not closed"),
        }
        clear_up(self.thread, driver).await;
    }
}

/// Removes what is left of instances that are gone, now that their ends are on record.
async fn clear_up(thread: TaskThread, driver: Arc<Drivers>) {
    let containers = Arc::clone(driver.containers());
    let removing = async move { containers.clear_up(REMOVALS).await };
    if let Err(error) = thread.tasks().spawn(removing).await {
        tracing::error!(%error, "containers were not removed");
    }
    drop(thread);
    let clearing = tokio::task::spawn_blocking(move || driver.process().clear_up());
    if let Err(error) = clearing.await {
        tracing::error!(%error, "what released agents left was not removed");
    }
}

const fn mode_of(on_exit: OnExit) -> ShutdownMode {
    match on_exit {
        OnExit::Stop => ShutdownMode::Stop,
        OnExit::Keep => ShutdownMode::Keep,
    }
}

/// Starts the drivers: that of processes with its tasks on the thread of supervision, that of
/// containers with others, since what an engine takes its time for is no process's business.
async fn start_drivers(
    data_dir: &DataDir,
    facts: mpsc::Sender<Fact>,
    loaded: &Loaded,
    ways: mpsc::UnboundedSender<EgressChange>,
) -> Result<(TaskThread, Arc<Drivers>), StartError> {
    data_dir.let_pass()?;
    let data_dir = data_dir.path().to_owned();
    let mut config = ProcessConfig {
        egress: Some(ways.clone()),
        ..ProcessConfig::new(data_dir.clone(), facts.clone())
    };
    if let Some(uids) = &loaded.uids {
        config.uid_range = uids.clone();
    }
    let thread = TaskThread::start("supervise").map_err(|source| StartError::Thread { source })?;
    let starting = thread.tasks().spawn(ProcessDriver::start(config));
    let processes = Arc::new(starting.await.map_err(ending)??);
    let containers = ContainerDriver::start(ContainerConfig {
        engine: loaded.supervisor.engine.clone(),
        egress: Some(ways),
        ..ContainerConfig::new(data_dir, facts)
    });
    let containers = containers.map_err(|source| process::StartError::Boot { source })?;
    let drivers = Drivers::new(processes, Arc::new(containers));
    Ok((thread, Arc::new(drivers)))
}

/// Goes by the fleet file whenever it changes, and deletes what it keeps no longer; what to say if
/// the first cannot be.
fn go_by_file(reloader: &Reloader, driver: &Drivers) -> Option<String> {
    retention::start(Arc::clone(driver.process()), reloader.clone());
    let started = watch::start(reloader.clone());
    let error = started.err()?;
    Some(format!("changes of the fleet file go unnoticed: {error}"))
}

/// Serves the control API, and says so.
fn answer(
    listeners: Listeners,
    (ports, metrics): (Ports, Metrics),
    data_dir: &DataDir,
    threads: watchdog::Watched,
) -> http::Running {
    let state = http::ApiState::new(ports, metrics.clone(), data_dir.path().to_owned());
    let server = http::serve(listeners, state);
    tell_ready(threads, metrics);
    server
}

/// Takes the descriptors that the supervisor needs, and gives up what it has no use for, once
/// everything is started that needs more.
async fn lock_down(loaded: &Loaded, driver: &Drivers, notes: &mut Vec<String>) -> Lockdown {
    notes.extend(descriptors::take_all());
    match loaded.lockdown {
        config::Lockdown::Off => Lockdown::Off,
        config::Lockdown::On => match driver.process().lock_down().await {
            Ok(()) => Lockdown::On,
            Err(error) => {
                notes.push(format!("the supervisor cannot lock itself down: {error}"));
                Lockdown::Failed
            }
        },
    }
}

/// Makes the agents' ways out, and to models, ready to be opened by the drivers; those that were
/// shut are shut before.
fn open_ways(
    data_dir: &DataDir,
    loaded: &Loaded,
    agent_api: &AgentApi,
    memory: &BTreeMap<AgentName, AgentMemory>,
) -> (Egress, mpsc::UnboundedSender<EgressChange>) {
    let own = loaded.supervisor.listen.into_iter().collect();
    let resolver = Arc::new(SystemResolver::default());
    let halts = agent_api.models().halts().clone();
    halts::inherit(&halts, memory);
    let egress = Egress::start(data_dir.path(), own, resolver, halts);
    egress.configure(&loaded.fleet);
    let (ways, changes) = mpsc::unbounded_channel();
    let agent_api = agent_api.clone();
    egress.follow(changes, move |change| {
        agent_api.models().change(&agent_api, change);
    });
    (egress, ways)
}

/// The fleet file, or the last good one, loudly, when the file is broken.
fn load(options: &Options, notes: &mut Vec<String>) -> Result<Loaded, StartError> {
    let broken = match config::load(&options.file, &options.environment) {
        Ok(loaded) => return Ok(loaded),
        Err(diagnostics) => diagnostics,
    };
    let data_dir = config::data_dir_of(&options.file, &options.environment.variables);
    let last_good = data_dir.join("last-good.yaml");
    let Ok(text) = std::fs::read_to_string(&last_good) else {
        return Err(StartError::Config(broken));
    };
    match config::load_str(&text, &options.file, &options.environment) {
        Ok(loaded) => {
            tracing::error!(
                "{} is broken and was NOT used; running on the last good one, {}:\n{broken}",
                options.file.display(),
                last_good.display()
            );
            notes.push(format!(
                "{} is broken; running on the last good configuration, {}",
                options.file.display(),
                last_good.display()
            ));
            Ok(loaded)
        }
        Err(_also_broken) => Err(StartError::Config(broken)),
    }
}

fn upgrades(
    watched: Watched,
    data_dir: &DataDir,
    driver: &Drivers,
    handle: &Handle,
) -> Port<UpgradeQuestion, Result<UpgradeBegun, UpgradeRefusal>> {
    let processes = Arc::clone(driver.process());
    let data_dir = data_dir.path().to_owned();
    wiring::upgrade(Upgrades::new(watched, data_dir, processes, handle.clone()))
}

/// Tells who waits for the start that it is over, and the service manager from here on that we are
/// well.
fn tell_ready(threads: watchdog::Watched, metrics: Metrics) {
    claw_failpoint::after(Step::Start);
    tell_manager(&[NotifyState::Ready]);
    watchdog::start(threads, metrics);
}

/// Tells systemd, where it started us, how we are.
fn tell_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

fn open_journal(
    data_dir: &DataDir,
    acks: mpsc::UnboundedSender<Vec<Ack>>,
) -> Result<(Journal, Opened), StartError> {
    let boot_id = boot_id().map_err(|source| process::StartError::Boot { source })?;
    // The loop is gone only when the supervisor ends; nobody waits for an answer then.
    let answer = move |written: Vec<Ack>| drop(acks.send(written));
    Ok(Journal::open(
        &data_dir.journal(),
        journal::Options::new(boot_id),
        answer,
    )?)
}

/// Opens the store and makes the agents' sockets ready to be served.
async fn open_agent_api(
    data_dir: &DataDir,
    (facts, handle): (mpsc::Sender<Fact>, Handle),
    (loaded, answers): (&mut Loaded, Answers),
    metrics: &Metrics,
) -> Result<(Store, AgentApi), StartError> {
    let told = Told {
        metrics: metrics.llm().clone(),
        facts: facts.clone(),
    };
    let store = open_store(data_dir).await?;
    let agent_api = AgentApi::open(agent_api::Parts {
        store: store.clone(),
        facts,
        handle,
        data_dir: data_dir.path().to_owned(),
        sandboxes: sandboxes::start(data_dir.path(), loaded.supervisor.engine.clone()),
        models: Models::new(data_dir.path(), told, answers),
    });
    let agent_api = agent_api.map_err(|source| StartError::TokenKey { source })?;
    agent_api.complete(loaded);
    agent_api.configure(loaded).await?;
    agent_api.models().configure(loaded, &agent_api).await?;
    Ok((store, agent_api))
}

/// Takes over the agents that live, and begins to answer all of them and to tell them what happens.
async fn serve_agents(
    agent_api: &AgentApi,
    inheritance: &mut Inheritance,
    (clock, thread): (Clock, &TaskThread),
) -> Result<Feed, StartError> {
    agent_api.adopt(inheritance).await;
    agent_api.serve_all().await?;
    agent_api.models().serve();
    let feed = Feed::new(u64::try_from(clock.now().wall.as_microsecond()).unwrap_or(0));
    agent_api.publish_lifecycle(&feed, thread.tasks());
    agent_api.maintain();
    Ok(feed)
}

async fn open_store(data_dir: &DataDir) -> Result<Store, StartError> {
    let path = data_dir.store();
    let options = StoreOptions::default().with_events(EventLimits {
        adopt_grace: agent_api::ADOPT_GRACE,
        ..EventLimits::default()
    });
    let opening = tokio::task::spawn_blocking(move || Store::open(&path, options));
    Ok(opening.await.map_err(ending)??)
}

async fn inherit(
    loaded: &Loaded,
    thread: &TaskThread,
    driver: &Arc<Drivers>,
    opened: Opened,
) -> Result<Inheritance, StartError> {
    let open = opened
        .open_instances
        .into_iter()
        .map(|row| OpenInstance {
            spec: loaded.fleet.agents.get(&row.instance.agent).cloned(),
            instance: row.instance,
            run: row.run,
            boot_id: row.boot_id.unwrap_or_default(),
        })
        .collect();
    let driver = Arc::clone(driver);
    claw_failpoint::before(Step::Recovery);
    let recovering = thread
        .tasks()
        .spawn(async move { driver.recover(open).await });
    let instances = recovering.await.map_err(ending)?;
    claw_failpoint::after(Step::Recovery);
    Ok(Inheritance {
        agents: opened.memory,
        instances,
        runs: opened.open_runs.into_iter().map(Arc::new).collect(),
        ..Inheritance::default()
    })
}

fn ending(_gone: JoinError) -> StartError {
    StartError::Driver(claw_drivers::process::StartError::Runtime)
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

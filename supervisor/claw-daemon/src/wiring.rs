//! Gives the control API its ports: the real loop, journal, logs and driver behind each question.

mod configuration;
mod history;
mod logs;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claw_core::sandbox::{Layer, Plan};
use claw_core::spec::container::Network;
use claw_core::{AgentName, AgentSpec, InstanceId, SpawnError, SpawnStage};
use claw_drivers::container::ContainerDriver;
use claw_drivers::sandbox::LearnedCall;
use claw_drivers::session::Session;
use claw_drivers::{Driver, Drivers};
use claw_store::journal::{Journal, Latency};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use crate::agent_api::AgentApi;
use crate::api::{Degraded, Engine, Event, Lockdown, Part, ProcessSandbox, UpgradeBegun};
use crate::egress::Egress;
use crate::feed::{Feed, Item};
use crate::http::Ports;
use crate::http::ports::{
    FindDenials, FindSandbox, FindUncut, FleetPorts, JournalLatency, JournalLoad, Port,
    SessionQuestion, Subscribe, UpgradeQuestion, UpgradeRefusal,
};
use crate::reload::Reloader;
use crate::supervise::Handle;
use crate::upgrade::Upgrades;

/// The parts of a running supervisor that the API asks.
pub(crate) struct Parts<D> {
    /// The loop.
    pub(crate) handle: Handle,
    /// What happens.
    pub(crate) feed: Feed,
    /// The configuration.
    pub(crate) reloader: Reloader,
    /// The history.
    pub(crate) journal: Journal,
    /// What runs.
    pub(crate) driver: Arc<D>,
    /// What asks the container engine.
    pub(crate) containers: Arc<ContainerDriver>,
    /// What agents say over their sockets.
    pub(crate) agent_api: AgentApi,
    /// What agents reach.
    pub(crate) egress: Egress,
    /// What becomes of sandboxes of processes.
    pub(crate) confinement: Confinement,
    /// Whether the supervisor has locked itself down.
    pub(crate) lockdown: Lockdown,
    /// Gives the supervisor's place to another executable.
    pub(crate) upgrade: Port<UpgradeQuestion, Result<UpgradeBegun, UpgradeRefusal>>,
    /// Where logs lie.
    pub(crate) data_dir: PathBuf,
}

/// Finds the walls that an instance was started with; `None`: it is unknown, or has none.
pub(crate) type FindPlan = Arc<dyn Fn(&InstanceId) -> Option<Plan> + Send + Sync>;

/// Runs a command beside a live instance that was started from this.
pub(crate) type OpenSession = Arc<
    dyn Fn(SessionQuestion, Arc<AgentSpec>) -> BoxFuture<'static, Result<Session, SpawnError>>
        + Send
        + Sync,
>;

/// What becomes of sandboxes of processes.
pub(crate) struct Confinement {
    /// With which walls instances were started.
    pub(crate) plans: FindPlan,
    /// What agents were not allowed to reach.
    pub(crate) denials: FindDenials,
    /// Runs commands beside instances.
    pub(crate) sessions: OpenSession,
    /// What agents called that the usual filter refuses.
    pub(crate) learned: Port<AgentName, Vec<LearnedCall>>,
}

impl Confinement {
    /// What the driver of processes and the proxies know of it.
    pub(crate) fn of(drivers: &Arc<Drivers>, egress: &Egress) -> Self {
        let (processes, egress) = (Arc::clone(drivers.process()), egress.clone());
        let (drivers, learning) = (Arc::clone(drivers), Arc::clone(drivers.process()));
        Self {
            plans: Arc::new(move |instance| processes.plan_of(instance)),
            denials: Arc::new(move |agent| egress.denials(agent)),
            learned: Port::new(move |agent| {
                let learning = Arc::clone(&learning);
                async move { learning.learned(&agent).await }
            }),
            sessions: Arc::new(move |question, spec| {
                let drivers = Arc::clone(&drivers);
                Box::pin(async move { open_session(&drivers, question, &spec).await })
            }),
        }
    }

    /// Nothing is known of any.
    #[cfg(test)]
    pub(crate) fn unknown() -> Self {
        Self {
            plans: Arc::new(|_instance| None),
            denials: Arc::new(|_agent| Vec::new()),
            learned: Port::new(|_agent| async { Vec::new() }),
            sessions: Arc::new(|question, _spec| {
                Box::pin(async move { Err(unknown_instance(&question.instance)) })
            }),
        }
    }
}

/// Makes the ports.
pub(crate) fn ports<D: Driver>(parts: Parts<D>) -> Ports {
    let Parts {
        handle,
        feed,
        reloader,
        journal,
        driver,
        containers,
        agent_api,
        egress,
        confinement:
            Confinement {
                plans,
                denials,
                sessions,
                learned,
            },
        lockdown,
        upgrade,
        data_dir,
    } = parts;
    let degraded = journal.clone();
    let load = journal.clone();
    let webhooks = reloader.clone();
    Ports {
        fleet: fleet(&handle),
        events: events(feed),
        journal: history::ports(&journal),
        logs: Arc::new(move |question| logs::read(&data_dir, question)),
        webhook: Arc::new(move |name| webhooks.current().webhooks.get(name).cloned()),
        config: configuration::ports(&reloader),
        usage: Port::new(move |()| {
            let driver = Arc::clone(&driver);
            async move { driver.usage().await }
        }),
        image_digest: image_digest(&containers),
        uncut: uncut(Arc::clone(&plans), reloader.clone()),
        sandbox: sandbox(plans, reloader.clone()),
        denials,
        learned,
        lockdown,
        upgrade,
        session: session(sessions, reloader.clone()),
        llm: agent_api.models().ports(),
        engine: engine(containers, reloader.clone()),
        store: agent_api.store().clone(),
        sandboxes: agent_api.sandboxes().clone(),
        agent_metrics: Arc::new(move || agent_api.openmetrics() + &egress.openmetrics()),
        degraded: Arc::new(move || degraded_parts(&degraded)),
        journal_load: Arc::new(move || Some(journal_load(&load))),
        now: jiff::Timestamp::now,
    }
}

/// Upgrades of a running supervisor.
pub(crate) fn upgrade(
    upgrades: Upgrades,
) -> Port<UpgradeQuestion, Result<UpgradeBegun, UpgradeRefusal>> {
    let upgrades = Arc::new(upgrades);
    Port::new(move |question| {
        let upgrades = Arc::clone(&upgrades);
        async move { upgrades.begin(question).await }
    })
}

fn image_digest(containers: &Arc<ContainerDriver>) -> Port<InstanceId, Option<String>> {
    let containers = Arc::clone(containers);
    Port::new(move |instance| {
        let containers = Arc::clone(&containers);
        async move { containers.image(&instance) }
    })
}

fn session(
    sessions: OpenSession,
    reloader: Reloader,
) -> Port<SessionQuestion, Result<Session, SpawnError>> {
    Port::new(move |question: SessionQuestion| {
        let loaded = reloader.current();
        let spec = loaded.fleet.agents.get(&question.instance.agent).cloned();
        let opening = spec.map(|spec| sessions(question.clone(), spec));
        async move {
            match opening {
                Some(opening) => opening.await,
                None => Err(unknown_instance(&question.instance)),
            }
        }
    })
}

async fn open_session(
    drivers: &Drivers,
    question: SessionQuestion,
    spec: &AgentSpec,
) -> Result<Session, SpawnError> {
    let SessionQuestion {
        instance,
        command,
        options,
    } = question;
    drivers
        .open_session(&instance, spec, &command, options)
        .await
}

fn unknown_instance(instance: &InstanceId) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail: format!("`{instance}` is not in the fleet file any more"),
    }
}

/// The wish stands in the file, and what became of it in the plan of the instance.
fn sandbox(plans: FindPlan, reloader: Reloader) -> FindSandbox {
    Arc::new(move |agent, instance| {
        let loaded = reloader.current();
        let wanted = loaded.fleet.agents.get(agent)?.launch.sandbox.is_some();
        let plan = instance.and_then(|instance| plans(instance));
        match plan {
            Some(plan) => Some((&plan).into()),
            None => wanted.then(ProcessSandbox::default),
        }
    })
}

/// Only what leads through the supervisor can be cut.
fn uncut(plans: FindPlan, reloader: Reloader) -> FindUncut {
    Arc::new(move |instance| {
        let loaded = reloader.current();
        let spec = loaded.fleet.agents.get(&instance.agent)?;
        let why = match (&spec.launch.container, plans(instance)) {
            (Some(container), _) => match container.network {
                Network::None | Network::Listed(_) => return None,
                Network::Bridge => "its container is in the engine's own network",
            },
            (None, Some(plan)) if plan.layers.iter().any(leads_through_us) => return None,
            (None, Some(_)) => "its sandbox is in the network of the host",
            (None, None) => "sandbox mode none",
        };
        Some(why.to_owned())
    })
}

fn leads_through_us(layer: &Layer) -> bool {
    matches!(layer, Layer::Network | Layer::OnlyModels)
}

/// An engine that hangs must not make the supervisor seem to.
const ENGINE_TIME: Duration = Duration::from_secs(1);

fn engine(containers: Arc<ContainerDriver>, reloader: Reloader) -> Port<(), Option<Engine>> {
    Port::new(move |()| {
        let containers = Arc::clone(&containers);
        let loaded = reloader.current();
        async move {
            let mut agents = loaded.fleet.agents.values();
            let any = agents.any(|spec| spec.launch.container.is_some());
            if any {
                Some(ask(&containers).await)
            } else {
                None
            }
        }
    })
}

async fn ask(containers: &ContainerDriver) -> Engine {
    let asked = tokio::time::timeout(ENGINE_TIME, containers.engine()).await;
    asked.map_or_else(
        |_elapsed| Engine::Unreachable {
            detail: "the container engine does not answer within a second".to_owned(),
        },
        Into::into,
    )
}

fn fleet(handle: &Handle) -> FleetPorts {
    let [asking, looking, listing, ending] = [(); 4].map(|()| handle.clone());
    FleetPorts {
        ask: Port::new(move |command| {
            let handle = asking.clone();
            async move { handle.ask(command).await }
        }),
        status: Port::new(move |agent| {
            let handle = looking.clone();
            async move {
                handle
                    .inspect(move |fleet, now| fleet.status(&agent, now))
                    .await
            }
        }),
        statuses: Port::new(move |()| {
            let handle = listing.clone();
            async move { handle.inspect(|fleet, now| fleet.statuses(now)).await }
        }),
        shutdown: Port::new(move |mode| {
            let handle = ending.clone();
            async move { handle.shutdown(mode).await }
        }),
    }
}

fn events(feed: Feed) -> Subscribe {
    Arc::new(move |after| {
        let subscription = feed.subscribe(after);
        let latest = feed.clone();
        stream::unfold(
            (subscription, latest),
            |(mut subscription, latest)| async move {
                let event = match subscription.next().await? {
                    Item::Event(numbered) => Event::render(numbered.id, &numbered.announcement),
                    Item::Lagged(lost) => {
                        Event::lagged(subscription.place(), lost, jiff::Timestamp::now())
                    }
                };
                Some((event, (subscription, latest)))
            },
        )
        .boxed()
    })
}

fn degraded_parts(journal: &Journal) -> Vec<Degraded> {
    let stats = journal.stats();
    let part = |part, detail: Option<String>| detail.map(|detail| Degraded { part, detail });
    let mut parts = Vec::new();
    parts.extend(part(Part::Journal, stats.degraded));
    parts.extend(part(Part::Disk, stats.blocked));
    parts
}

fn journal_load(journal: &Journal) -> JournalLoad {
    let stats = journal.stats();
    JournalLoad {
        waiting: stats.depth as u64,
        latency: vec![
            latency("our_death", &stats.our_death),
            latency("power_cut", &stats.power_cut),
        ],
    }
}

fn latency(class: &'static str, latency: &Latency) -> JournalLatency {
    let last = latency.buckets.len() - 1;
    let bound = |power: usize| match power {
        power if power == last => f64::INFINITY,
        power => 2_f64.powi(i32::try_from(power).unwrap_or(i32::MAX)) / 1e6,
    };
    JournalLatency {
        class,
        count: latency.count,
        sum_seconds: latency.sum.as_secs_f64(),
        buckets: latency
            .buckets
            .iter()
            .enumerate()
            .map(|(n, count)| (bound(n), *count))
            .collect(),
    }
}

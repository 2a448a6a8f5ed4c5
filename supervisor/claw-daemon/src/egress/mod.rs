//! The agents' ways out: a proxy for each instance that has a network of its own.
//!
//! The driver makes the listeners inside the instance's network and hands them over, at its start
//! and again when it is adopted by the next supervisor. What is decided goes to a file of the
//! agent, the latest denials stay at hand for `clawctl sandbox why-blocked`. The listener for
//! language models comes along, and is passed on to who serves those.

mod record;
mod rules;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claw_core::{AgentName, FleetSpec, InstanceId};
use claw_drivers::process::EgressChange;
use claw_gateway::Halts;
use claw_gateway::egress::policy::Reason;
use claw_gateway::egress::{
    Counters, Decision, EgressProxy, FAKE_NETWORK, Listeners, RememberedDenial, Resolver, Settings,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::record::Recorder;
use crate::api::Denial;

/// Decisions on their way to the file. More than that come only when the disk is too slow, and
/// are counted instead.
const DECISIONS: usize = 4096;

/// Denials of instances that are gone that are remembered for each agent.
const REMEMBERED: usize = 64;

/// What becomes of the listener at which an instance finds language models in its own network.
#[derive(Debug)]
pub(crate) enum ModelsChange {
    /// The instance runs, and its calls come in here. Said again when it is taken over.
    Opened {
        /// Whose connections are accepted here.
        instance: InstanceId,
        /// It does not block.
        listener: TcpListener,
    },
    /// The instance is gone, with its network; perhaps it had no such listener.
    Closed {
        /// Which.
        instance: InstanceId,
    },
}

/// The ways out of all agents; clones share them.
#[derive(Clone)]
pub(crate) struct Egress {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    resolver: Arc<dyn Resolver>,
    decisions: mpsc::Sender<Decision>,
    /// Where the supervisor listens, which no agent reaches.
    own: Vec<SocketAddr>,
    halts: Halts,
    ways: Mutex<Ways>,
}

#[derive(Default)]
struct Ways {
    settings: BTreeMap<AgentName, Settings>,
    open: BTreeMap<InstanceId, EgressProxy>,
    past: BTreeMap<AgentName, Past>,
}

/// What is left of instances that are gone.
#[derive(Default)]
struct Past {
    denials: Vec<RememberedDenial>,
    counters: Counters,
}

impl Egress {
    /// Begins to record and to follow the halts of agents; on the runtime of the caller.
    pub(crate) fn start(
        data_dir: &Path,
        own: Vec<SocketAddr>,
        resolver: Arc<dyn Resolver>,
        halts: Halts,
    ) -> Self {
        let (decisions, receiver) = mpsc::channel(DECISIONS);
        Recorder::start(data_dir.to_owned(), receiver);
        let mut turns = halts.subscribe();
        let egress = Self {
            shared: Arc::new(Shared {
                runtime: Handle::current(),
                resolver,
                decisions,
                own,
                halts,
                ways: Mutex::default(),
            }),
        };
        let turned = egress.clone();
        egress.shared.runtime.spawn(async move {
            while turns.changed().await.is_ok() {
                turned.put_in_force(&turned.ways());
            }
        });
        egress
    }

    /// Puts the hosts of a fleet into force. What runs goes by them from here on; connections that
    /// they no longer allow are closed.
    pub(crate) fn configure(&self, fleet: &FleetSpec) {
        let settings = rules::of_fleet(fleet, &self.shared.own);
        let mut ways = self.ways();
        ways.past.retain(|agent, _| settings.contains_key(agent));
        ways.settings = settings;
        self.put_in_force(&ways);
    }

    /// Has all proxies go by the hosts and the halts of their agents.
    fn put_in_force(&self, ways: &Ways) {
        for (instance, proxy) in &ways.open {
            proxy.replace(self.settings_of(ways, &instance.agent));
        }
    }

    fn settings_of(&self, ways: &Ways, agent: &AgentName) -> Settings {
        let Settings { policy, limits } = rules::of_agent(&ways.settings, agent);
        let policy = match self.shared.halts.of(agent.as_str()) {
            Some(halt) => policy.halted(halt),
            None => policy,
        };
        Settings { policy, limits }
    }

    /// Follows what the drivers say of their instances' networks, until they are gone. What is said
    /// of language models is passed on to `models`, which must not block.
    pub(crate) fn follow(
        &self,
        mut changes: mpsc::UnboundedReceiver<EgressChange>,
        models: impl Fn(ModelsChange) + Send + 'static,
    ) {
        let egress = self.clone();
        self.shared.runtime.spawn(async move {
            while let Some(change) = changes.recv().await {
                egress.take(change, &models);
            }
        });
    }

    fn take(&self, change: EgressChange, models: &impl Fn(ModelsChange)) {
        match change {
            EgressChange::Opened {
                instance,
                listeners,
                models: listener,
            } => {
                if let Some(listener) = listener {
                    let instance = instance.clone();
                    models(ModelsChange::Opened { instance, listener });
                }
                if let Some(listeners) = listeners {
                    self.open(instance, served(listeners));
                }
            }
            EgressChange::Closed { instance } => {
                self.close(&instance);
                models(ModelsChange::Closed { instance });
            }
        }
    }

    /// Serves an instance.
    fn open(&self, instance: InstanceId, listeners: Listeners) {
        let _runtime = self.shared.runtime.enter();
        let mut ways = self.ways();
        let settings = self.settings_of(&ways, &instance.agent);
        let shared = &self.shared;
        let started = EgressProxy::start(
            instance.agent.as_str(),
            listeners,
            settings,
            Arc::clone(&shared.resolver),
            shared.decisions.clone(),
        );
        match started {
            Ok(proxy) => drop(ways.open.insert(instance, proxy)),
            Err(error) => {
                tracing::error!(%instance, %error, "the agent has no way out: its listeners cannot be served");
            }
        }
    }

    /// Ends the service of an instance that is gone.
    fn close(&self, instance: &InstanceId) {
        let mut ways = self.ways();
        let Some(proxy) = ways.open.remove(instance) else {
            return;
        };
        let past = ways.past.entry(instance.agent.clone()).or_default();
        past.denials.extend(proxy.denials());
        let surplus = past.denials.len().saturating_sub(REMEMBERED);
        past.denials.drain(..surplus);
        past.counters = sum(past.counters, proxy.counters());
        self.shared.runtime.spawn(proxy.stop());
    }

    /// What was denied to an agent lately, the newest first.
    pub(crate) fn denials(&self, agent: &AgentName) -> Vec<Denial> {
        let remembered = self.remembered(agent).into_iter().rev();
        remembered.map(|one| answer(agent, one)).collect()
    }

    /// The same, the newest last.
    fn remembered(&self, agent: &AgentName) -> Vec<RememberedDenial> {
        let ways = self.ways();
        let past = ways.past.get(agent).into_iter();
        let mut denials: Vec<_> = past.flat_map(|past| past.denials.clone()).collect();
        let open = ways
            .open
            .iter()
            .filter(|(instance, _)| instance.agent == *agent);
        denials.extend(open.flat_map(|(_, proxy)| proxy.denials()));
        denials.sort_by_key(|denial| denial.last);
        denials
    }

    /// The metrics of all agents, as OpenMetrics text without its end.
    pub(crate) fn openmetrics(&self) -> String {
        let ways = self.ways();
        let mut all: BTreeMap<AgentName, Counters> = BTreeMap::new();
        for (agent, past) in &ways.past {
            all.insert(agent.clone(), past.counters);
        }
        for (instance, proxy) in &ways.open {
            let counters = all.entry(instance.agent.clone()).or_default();
            *counters = sum(*counters, proxy.counters());
        }
        drop(ways);
        series::text(&all)
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.shared
            .ways
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A denial as the API tells it.
fn answer(agent: &AgentName, remembered: RememberedDenial) -> Denial {
    let RememberedDenial { denial, last, .. } = remembered;
    let address = if let Reason::Address { address, .. } = denial.reason {
        Some(address.to_string())
    } else {
        None
    };
    Denial {
        at: last,
        agent: agent.to_string(),
        address,
        reason: denial.cause(),
        rule: denial.reason.rule().map(ToString::to_string),
        fix: denial.fix(),
        host: denial.host,
        port: denial.port,
    }
}

/// The driver's listeners, as the proxy wants them.
fn served(listeners: claw_drivers::sandbox::Listeners) -> Listeners {
    let claw_drivers::sandbox::Listeners {
        proxy,
        captured,
        dns,
        dns_tcp,
    } = listeners;
    let fake_network = captured.as_ref().map(|_| FAKE_NETWORK);
    let (https, http) = captured
        .map(|captured| (captured.https, captured.http))
        .unzip();
    Listeners {
        proxy: Some(proxy),
        https,
        http,
        dns: Some(dns),
        dns_tcp: Some(dns_tcp),
        fake_network,
    }
}

/// The numbers of two instances of one agent.
const fn sum(one: Counters, other: Counters) -> Counters {
    Counters {
        allowed: one.allowed + other.allowed,
        denied: one.denied + other.denied,
        unreachable: one.unreachable + other.unreachable,
        dropped: one.dropped + other.dropped,
        bytes: one.bytes + other.bytes,
        open: one.open + other.open,
    }
}

//! Brings endpoints, sockets, groups and limits into the state that a configuration wants.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError};

use claw_core::spec::{Mode, Program};
use claw_core::{AgentName, AgentSpec, FleetSpec};
use claw_store::StoreError;
use claw_store::bus::{GroupConfig, Start, Subscription, TopicFilter};

use super::agent_dir::{AgentDirError, Audience, keeper};
use super::api::AgentApi;
use super::declared::Declared;
use super::endpoint::Endpoint;
use super::sdk::{Sdk, SdkError};
use super::{monitor, serve, topics};
use crate::config::{Loaded, Replica, Scheduled, WorkerConfig};

/// Why agents cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A directory or socket cannot be made.
    #[error(transparent)]
    AgentDir(#[from] AgentDirError),
    /// Agents of the SDK cannot be run.
    #[error(transparent)]
    Sdk(#[from] SdkError),
    /// The store does not take what it must know of an agent.
    #[error("the store of state and events cannot be used")]
    Store(#[from] StoreError),
    /// The supervisor is ending.
    #[error("the supervisor is ending")]
    Ending,
}

impl AgentApi {
    /// Lays what programs declared below what the fleet file says. Blocks.
    pub(crate) fn complete(&self, loaded: &mut Loaded) {
        for (name, spec) in &mut loaded.fleet.agents {
            let worker = loaded.workers.get(name);
            let open = worker.is_some_and(|worker| worker.scheduled == Scheduled::ByProgram);
            if open && spec.mode == Mode::Worker {
                self.agent_dir(name)
                    .declared()
                    .schedule(Arc::make_mut(spec));
            }
        }
    }

    /// Makes a configuration's endpoints and sockets, and changes those there are. Done before the
    /// configuration is in force, so that every agent finds its socket when it starts.
    ///
    /// # Errors
    ///
    /// Says what stands in the way.
    pub(crate) async fn configure(&self, loaded: &Loaded) -> Result<(), ConfigureError> {
        let provided = self.provide_sdk(&loaded.fleet);
        let ((), declared) = tokio::try_join!(provided, self.prepare_dirs(loaded))?;
        let known = self.shared.store.groups().await?;
        self.set_replicas(&loaded.replicas);
        let (mut quotas, mut rates) = (BTreeMap::new(), BTreeMap::new());
        for ((name, spec), declared) in loaded.fleet.agents.iter().zip(&declared) {
            let worker = loaded.workers.get(name).cloned().unwrap_or_default();
            let size = worker.max_state_size;
            let rate = worker.events_per_minute.map(NonZeroU32::get);
            let endpoint = self.arrange(name, (spec, worker), declared, &known);
            quotas.insert(endpoint.namespace(), size);
            rates.insert(endpoint.identity().to_string(), rate);
        }
        let store = &self.shared.store;
        store.set_quotas(quotas.into_iter().collect()).await?;
        store.set_rates(rates.into_iter().collect()).await?;
        self.retire(&loaded.fleet);
        self.keep_joined(loaded, declared).await?;
        let mut groups = BTreeSet::new();
        for (name, spec) in &loaded.fleet.agents {
            let Some(endpoint) = self.endpoint(name).filter(|_| spec.mode == Mode::Worker) else {
                continue;
            };
            if groups.insert(endpoint.identity().to_string()) {
                self.subscribe(&endpoint).await?;
            }
        }
        let gone = known.iter().filter(|group| !groups.contains(*group));
        for group in gone {
            // Kept for a while, in case that its agents come back.
            self.shared.store.orphan_group(group).await?;
        }
        Ok(())
    }

    /// Begins to answer on all sockets that are not answered yet, or whose owner is another one.
    ///
    /// # Errors
    ///
    /// A socket cannot be made.
    pub(crate) async fn serve_all(&self) -> Result<(), ConfigureError> {
        let mut wanted = Vec::new();
        for endpoint in self.endpoints() {
            let spec = Arc::clone(&endpoint.lock().spec);
            if !endpoint.is_served_for(&Audience::of(&spec)) {
                wanted.push((self.agent_dir(&endpoint.agent), endpoint, spec));
            }
        }
        let listening = tokio::task::spawn_blocking(move || {
            let made = wanted.into_iter().map(|(agent_dir, endpoint, spec)| {
                let listener = agent_dir.listen(&spec)?;
                Ok((endpoint, spec, listener))
            });
            made.collect::<Result<Vec<_>, AgentDirError>>()
        });
        let listeners = listening
            .await
            .map_err(|_ending| ConfigureError::Ending)??;
        for (endpoint, spec, listener) in listeners {
            let is_first = !endpoint.is_served();
            let until = endpoint.serve_for(Audience::of(&spec), &self.shared.closing);
            let Some(until) = until else { continue };
            if is_first {
                monitor::start(self, Arc::clone(&endpoint));
            }
            serve::start(self, endpoint, (listener, until));
        }
        Ok(())
    }

    /// Makes all directories. Answers with what each program declared, in the order of the agents.
    async fn prepare_dirs(&self, loaded: &Loaded) -> Result<Vec<Declared>, ConfigureError> {
        let agents = loaded.fleet.agents.iter().map(|(name, spec)| {
            let group = loaded.replicas.identity(name);
            let keeper = self.agent_dir(keeper(spec, name, &group));
            (self.agent_dir(name), keeper, Arc::clone(spec))
        });
        let agents: Vec<_> = agents.collect();
        let preparing = tokio::task::spawn_blocking(move || {
            let prepared = agents.iter().map(|(agent_dir, keeper, spec)| {
                agent_dir.prepare(spec)?;
                if spec.launch.program.own_packages().is_some() {
                    keeper.prepare_environments(spec)?;
                }
                Ok(agent_dir.declared())
            });
            prepared.collect::<Result<Vec<_>, AgentDirError>>()
        });
        let declared = preparing
            .await
            .map_err(|_ending| ConfigureError::Ending)??;
        Ok(declared)
    }

    /// Gives an agent's endpoint what the configuration says of it.
    fn arrange(
        &self,
        name: &AgentName,
        (spec, worker): (&Arc<AgentSpec>, Arc<WorkerConfig>),
        declared: &Declared,
        groups: &[String],
    ) -> Arc<Endpoint> {
        let place = self.replicas().place(name).cloned();
        let place = place.unwrap_or_else(|| Replica::only(name));
        let endpoint = self.shared.endpoints.join(name, || {
            // It is owed events from now on if its group is new, else from where an earlier
            // supervisor made the group.
            let known = groups.iter().any(|known| known == place.group.as_str());
            let joined = if known {
                declared.joined
            } else {
                Some(*self.shared.store.head().borrow() + 1)
            };
            let (spec, worker) = (Arc::clone(spec), Arc::clone(&worker));
            Endpoint::new(name.clone(), spec, worker, joined)
        });
        let mut inside = endpoint.lock();
        inside.spec = Arc::clone(spec);
        inside.worker = worker;
        inside.replica = place;
        inside.greeted = inside.greeted.max(declared.greeted);
        if inside.asked.is_empty() {
            inside.asked = declared.filters().unwrap_or_default();
        }
        drop(inside);
        endpoint
    }

    /// Writes down from where on new agents are owed events, before their groups are made.
    async fn keep_joined(
        &self,
        loaded: &Loaded,
        declared: Vec<Declared>,
    ) -> Result<(), ConfigureError> {
        let agents = loaded.fleet.agents.iter().zip(declared);
        let workers = agents.filter(|((_, spec), _)| spec.mode == Mode::Worker);
        let changed = workers.filter_map(|((name, _), declared)| {
            let joined = self.endpoint(name)?.joined;
            let owed = declared.greeted.is_none() && declared.joined != joined;
            owed.then(|| (self.agent_dir(name), Declared { joined, ..declared }))
        });
        let changed: Vec<_> = changed.collect();
        let keeping = tokio::task::spawn_blocking(move || {
            let mut changed = changed.iter();
            changed.try_for_each(|(agent_dir, declared)| agent_dir.keep(declared))
        });
        let kept = keeping.await.map_err(|_ending| ConfigureError::Ending)?;
        Ok(kept?)
    }

    /// Gives the agent's group what the file and the program ask for.
    pub(super) async fn subscribe(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let mut group = {
            let inside = endpoint.lock();
            let written = inside.worker.subscribe.iter().filter_map(|filter| {
                let topic = TopicFilter::try_new(&topics::inside(filter.as_str())).ok()?;
                Some(Subscription::to(topic))
            });
            let worker = &inside.worker;
            let delivery = worker.delivery.clone();
            GroupConfig {
                subscriptions: written.collect(),
                ordering: delivery.ordering,
                sharding: worker.sharding.clone(),
                key: worker.shard_key.clone(),
                retry: delivery.retry,
                lease: delivery.lease,
                concurrency: inside.spec.concurrency.get(),
                bound: delivery.bound,
                debounce: delivery.debounce,
                batch: delivery.batch,
            }
        };
        let identity = endpoint.identity();
        for asked in self.asked(&identity) {
            if !group.subscriptions.contains(&asked) {
                group.subscriptions.push(asked);
            }
        }
        let name = identity.as_str();
        self.shared
            .store
            .upsert_group(name, group, Start::Now)
            .await
    }

    /// What the programs of all replicas ask for: one that has not said hello yet says nothing of
    /// what its group takes.
    pub(super) fn asked(&self, identity: &AgentName) -> Vec<Subscription> {
        let replicas = self.replicas();
        let own = [identity.clone()];
        let members = replicas.members(identity).unwrap_or(&own).iter();
        let endpoints = members.filter_map(|member| self.endpoint(member));
        endpoints
            .flat_map(|endpoint| endpoint.lock().asked.clone())
            .collect()
    }

    /// Lets endpoints go whose agents are gone from the configuration, as soon as nobody lives who
    /// uses them.
    fn retire(&self, fleet: &FleetSpec) {
        for endpoint in self.endpoints() {
            if !fleet.agents.contains_key(&endpoint.agent) {
                self.shared.endpoints.retire(&endpoint);
            }
        }
    }

    async fn provide_sdk(&self, fleet: &FleetSpec) -> Result<(), ConfigureError> {
        let mut agents = fleet.agents.values();
        let by_sdk = |spec: &Arc<AgentSpec>| {
            spec.mode == Mode::Worker && matches!(spec.launch.program, Program::Python(_))
        };
        if !agents.any(by_sdk) {
            return Ok(());
        }
        let before = self.shared.sdk.read();
        let before = before.unwrap_or_else(PoisonError::into_inner).clone();
        let has_one = before.is_some();
        let search = std::env::var("PATH").unwrap_or_default();
        let sdk = match Sdk::prepare(&self.shared.data_dir, &search, before).await {
            Ok(sdk) => sdk,
            Err(error) if has_one => {
                tracing::warn!(%error, "agents go on with the Python found before");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut place = self
            .shared
            .sdk
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Some(sdk);
        Ok(())
    }
}

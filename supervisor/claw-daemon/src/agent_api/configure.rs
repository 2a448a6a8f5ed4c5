//! Brings endpoints, sockets, groups and limits into the state that a configuration wants.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError};

use claw_core::spec::Mode;
use claw_core::{AgentName, AgentSpec, FleetSpec};
use claw_store::StoreError;
use claw_store::bus::{GroupConfig, Start, Subscription, TopicFilter};

use super::agent_dir::AgentDirError;
use super::api::AgentApi;
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
        self.provide_sdk(&loaded.fleet).await?;
        self.set_replicas(&loaded.replicas);
        for (name, spec) in &loaded.fleet.agents {
            let worker = loaded.workers.get(name).cloned().unwrap_or_default();
            self.prepare(name, spec, worker).await?;
        }
        let mut groups = BTreeSet::new();
        for (name, spec) in &loaded.fleet.agents {
            let Some(endpoint) = self.endpoint(name).filter(|_| spec.mode == Mode::Worker) else {
                continue;
            };
            if groups.insert(endpoint.identity().to_string()) {
                self.subscribe(&endpoint).await?;
            }
        }
        self.orphan_groups(&groups).await
    }

    /// Begins to answer on all sockets that are not answered yet.
    ///
    /// # Errors
    ///
    /// A socket cannot be made.
    pub(crate) async fn serve_all(&self) -> Result<(), ConfigureError> {
        for endpoint in self.endpoints() {
            if !endpoint.opens() {
                continue;
            }
            let (agent_dir, spec) = (
                self.agent_dir(&endpoint.agent),
                Arc::clone(&endpoint.lock().spec),
            );
            let listening = tokio::task::spawn_blocking(move || agent_dir.listen(&spec));
            let listener = listening
                .await
                .map_err(|_ending| ConfigureError::Ending)??;
            serve::start(self, Arc::clone(&endpoint), listener);
            monitor::start(self, endpoint);
        }
        Ok(())
    }

    async fn prepare(
        &self,
        name: &AgentName,
        spec: &Arc<AgentSpec>,
        worker: Arc<WorkerConfig>,
    ) -> Result<(), ConfigureError> {
        let (agent_dir, wanted) = (self.agent_dir(name), Arc::clone(spec));
        let preparing = tokio::task::spawn_blocking(move || {
            agent_dir.prepare(&wanted)?;
            Ok::<_, AgentDirError>(agent_dir.declared())
        });
        let declared = preparing
            .await
            .map_err(|_ending| ConfigureError::Ending)??;
        let place = self.replicas().place(name).cloned();
        let place = place.unwrap_or_else(|| Replica::only(name));
        let endpoint = match self.endpoint(name) {
            Some(endpoint) => endpoint,
            None => self.join(name, (spec, &worker), &place.group).await?,
        };
        let size = worker.max_state_size;
        let rate = worker.events_per_minute.map(NonZeroU32::get);
        {
            let mut inside = endpoint.lock();
            inside.spec = Arc::clone(spec);
            inside.worker = worker;
            inside.replica = place;
            inside.greeted = inside.greeted.max(declared.greeted);
            if inside.asked.is_empty() {
                inside.asked = declared.filters().unwrap_or_default();
            }
        }
        self.shared
            .store
            .set_quota(&endpoint.namespace(), size)
            .await?;
        let source = endpoint.identity().to_string();
        self.shared.store.set_rate(source, rate).await?;
        Ok(())
    }

    /// A new agent; one whose group is new too is owed all events from now on.
    async fn join(
        &self,
        name: &AgentName,
        (spec, worker): (&Arc<AgentSpec>, &Arc<WorkerConfig>),
        group: &AgentName,
    ) -> Result<Arc<Endpoint>, ConfigureError> {
        let groups = self.shared.store.groups().await?;
        let known = groups.iter().any(|known| known == group.as_str());
        let joined = (!known).then(|| *self.shared.store.head().borrow() + 1);
        let (spec, worker) = (Arc::clone(spec), Arc::clone(worker));
        let endpoint = Arc::new(Endpoint::new(name.clone(), spec, worker, joined));
        self.add(Arc::clone(&endpoint));
        Ok(endpoint)
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

    /// Groups whose agents are gone from the configuration are kept for a while, in case that they
    /// come back.
    async fn orphan_groups(&self, wanted: &BTreeSet<String>) -> Result<(), ConfigureError> {
        for group in self.shared.store.groups().await? {
            if !wanted.contains(&group) {
                self.shared.store.orphan_group(&group).await?;
            }
        }
        Ok(())
    }

    async fn provide_sdk(&self, fleet: &FleetSpec) -> Result<(), ConfigureError> {
        let mut agents = fleet.agents.values();
        let by_sdk = |spec: &Arc<AgentSpec>| {
            spec.mode == Mode::Worker
                && spec.launch.command.get(..4)
                    == Some(&["python3", "-m", "openclaw", "run"].map(str::to_owned))
        };
        let provided = self.shared.sdk.read();
        let provided = provided.unwrap_or_else(PoisonError::into_inner).is_some();
        if provided || !agents.any(by_sdk) {
            return Ok(());
        }
        let search = std::env::var("PATH").unwrap_or_default();
        let sdk = Sdk::prepare(&self.shared.data_dir, &search).await?;
        let mut place = self
            .shared
            .sdk
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Some(sdk);
        Ok(())
    }
}

//! The endpoints of all agents, by name.
//!
//! ```text
//!         ◄── join ──                   with its last process
//!  Member            Retired ─────────────────────────────────► Gone
//!         ── retire ─►
//! ```
//!
//! The reload of a configuration and the supervision loop both change where an endpoint stands, and
//! both do so under the lock of the map: whoever finds an endpoint here finds none that is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use claw_core::{AgentName, AgentSpec, InstanceId};

use super::endpoint::{Endpoint, Membership};

type ByName = BTreeMap<AgentName, Arc<Endpoint>>;

/// The endpoints that somebody uses or may use.
#[derive(Debug, Default)]
pub(super) struct Endpoints(RwLock<ByName>);

impl Endpoints {
    pub(super) fn get(&self, agent: &AgentName) -> Option<Arc<Endpoint>> {
        self.read().get(agent).cloned()
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Endpoint>> {
        self.read().values().cloned().collect()
    }

    /// The endpoint of an agent that the configuration names: the one there is, or a new one.
    pub(super) fn join(&self, agent: &AgentName, make: impl FnOnce() -> Endpoint) -> Arc<Endpoint> {
        let mut endpoints = self.write();
        let endpoint = endpoints.entry(agent.clone());
        let endpoint = endpoint.or_insert_with(|| Arc::new(make()));
        endpoint.lock().membership = Membership::Member;
        Arc::clone(endpoint)
    }

    /// Its agent is not in the configuration any more. It goes with its last process.
    pub(super) fn retire(&self, endpoint: &Arc<Endpoint>) {
        let mut endpoints = self.write();
        {
            let mut inside = endpoint.lock();
            match inside.membership {
                Membership::Member => inside.membership = Membership::Retired,
                Membership::Retired | Membership::Gone => {}
            }
        }
        remove_unused(&mut endpoints, endpoint);
    }

    /// A process begins, or was taken over. Answers with its agent's endpoint, if there is one.
    pub(super) fn begin(
        &self,
        instance: &InstanceId,
        spec: Arc<AgentSpec>,
    ) -> Option<Arc<Endpoint>> {
        let endpoints = self.read();
        let endpoint = endpoints.get(&instance.agent)?;
        endpoint.begin(instance.generation, spec);
        Some(Arc::clone(endpoint))
    }

    /// A process is over: its endpoint may have been kept only for it.
    pub(super) fn process_over(&self, endpoint: &Arc<Endpoint>) {
        remove_unused(&mut self.write(), endpoint);
    }

    fn read(&self) -> RwLockReadGuard<'_, ByName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ByName> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes an endpoint whose agent is gone, from the configuration and from the machine.
fn remove_unused(endpoints: &mut ByName, endpoint: &Arc<Endpoint>) {
    {
        let mut inside = endpoint.lock();
        match inside.membership {
            Membership::Retired if inside.sessions.is_empty() => {
                inside.membership = Membership::Gone;
            }
            Membership::Retired | Membership::Member | Membership::Gone => return,
        }
    }
    endpoints.remove(&endpoint.agent);
    endpoint.shut();
    endpoint.wake();
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Barrier;
    use std::thread;

    use claw_core::Generation;

    use super::*;
    use crate::config::{Environment, load_str};

    fn spec() -> Arc<AgentSpec> {
        let text = "project: t\nversion: \"1.0\"\nagents:\n  a: {command: [x], mode: worker}\n";
        let loaded = load_str(text, Path::new("openclaw.yaml"), &Environment::with([]));
        Arc::clone(&loaded.unwrap().fleet.agents["a"])
    }

    fn first_process(agent: &AgentName) -> InstanceId {
        InstanceId {
            agent: agent.clone(),
            generation: Generation(1),
        }
    }

    fn membership(endpoint: &Endpoint) -> Membership {
        endpoint.lock().membership
    }

    #[test]
    fn an_endpoint_goes_with_the_last_process_of_an_agent_that_was_removed() {
        let (endpoints, spec): (Endpoints, _) = (Endpoints::default(), spec());
        let agent: AgentName = "a".parse().unwrap();
        let make = || Endpoint::new(agent.clone(), Arc::clone(&spec), Arc::default(), None);
        let first = endpoints.join(&agent, make);
        endpoints.begin(&first_process(&agent), Arc::clone(&spec));
        endpoints.retire(&first);
        assert_eq!(membership(&first), Membership::Retired);
        assert!(Arc::ptr_eq(&first, &endpoints.join(&agent, make)));
        assert_eq!(membership(&first), Membership::Member);
        endpoints.retire(&first);
        first.end(Generation(1));
        endpoints.process_over(&first);
        assert_eq!(membership(&first), Membership::Gone);
        let second = endpoints.join(&agent, make);
        assert!(!Arc::ptr_eq(&first, &second));
        endpoints.process_over(&first);
        assert!(Arc::ptr_eq(&second, &endpoints.get(&agent).unwrap()));
    }

    /// What is gone is looked after by nobody, so it must never be found again.
    #[test]
    fn an_agent_that_is_added_again_as_its_last_process_ends_gets_no_endpoint_that_is_gone() {
        const ROUNDS: usize = 5_000;
        let (endpoints, spec) = (Endpoints::default(), spec());
        let agent: AgentName = "a".parse().unwrap();
        let make = || Endpoint::new(agent.clone(), Arc::clone(&spec), Arc::default(), None);
        let both = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    both.wait();
                    let endpoint = endpoints.get(&agent).unwrap();
                    both.wait();
                    endpoint.end(Generation(1));
                    endpoints.process_over(&endpoint);
                    both.wait();
                }
            });
            for round in 0..ROUNDS {
                let endpoint = endpoints.join(&agent, make);
                endpoints.begin(&first_process(&agent), Arc::clone(&spec));
                endpoints.retire(&endpoint);
                both.wait();
                both.wait();
                let joined = endpoints.join(&agent, make);
                both.wait();
                let found = endpoints.get(&agent).expect("the agent was added again");
                assert!(Arc::ptr_eq(&joined, &found), "round {round}");
                assert_eq!(membership(&found), Membership::Member, "round {round}");
            }
        });
    }
}

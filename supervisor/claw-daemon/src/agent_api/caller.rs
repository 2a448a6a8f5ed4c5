//! Who an agent is to the gateway to language models.

use std::sync::Arc;

use claw_core::{AgentName, Generation, InstanceId};
use claw_gateway::llm::serve::{Caller, Credential, IsTheToken};

use super::api::AgentApi;
use super::endpoint::Endpoint;
use super::session::Taken;
use super::token;

/// How a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CameBy {
    /// Where others can come in as well: the token says that it is the agent.
    Shared,
    /// Over a listener in the agent's own network: it need not show a token, since some clients
    /// have no way to, but a token that it shows must be its own.
    OwnNetwork,
}

impl AgentApi {
    /// The present life of an agent; `None`: it has none.
    pub(crate) fn living_caller(&self, agent: &AgentName) -> Option<Caller> {
        let endpoint = self.endpoint(agent)?;
        self.living(&endpoint)
    }

    /// One life of an agent; `None`: it is over.
    pub(crate) fn caller(&self, instance: &InstanceId, came_by: CameBy) -> Option<Caller> {
        let endpoint = self.endpoint(&instance.agent)?;
        self.known(&endpoint, instance.generation, came_by)
    }

    /// Who asks over the agent's socket, for one request: what it works on may be another run by
    /// the next.
    pub(super) fn asking(&self, endpoint: &Arc<Endpoint>) -> Option<Caller> {
        let caller = self.living(endpoint)?;
        let run = caller.run.clone().or_else(|| endpoint.only_run());
        Some(Caller { run, ..caller })
    }

    fn living(&self, endpoint: &Arc<Endpoint>) -> Option<Caller> {
        let generation = *endpoint.lock().sessions.keys().next_back()?;
        self.known(endpoint, generation, CameBy::Shared)
    }

    fn known(
        &self,
        endpoint: &Arc<Endpoint>,
        generation: Generation,
        came_by: CameBy,
    ) -> Option<Caller> {
        let run = endpoint.with(generation, |session| session.run)?;
        let instance = endpoint.instance(generation);
        let is_the_token = self.is_the_token(endpoint, &instance);
        Some(Caller {
            agent: endpoint.identity().as_str().into(),
            instance: instance.to_string().into(),
            run: run.map(|run| run.to_string().into()),
            credential: match came_by {
                CameBy::Shared => Credential::Token(is_the_token),
                CameBy::OwnNetwork => Credential::OwnNetwork(is_the_token),
            },
        })
    }

    /// Knows the token of a life for as long as it lasts.
    fn is_the_token(&self, endpoint: &Arc<Endpoint>, instance: &InstanceId) -> IsTheToken {
        let expected = self.shared.key.token(instance);
        let (endpoint, generation) = (Arc::clone(endpoint), instance.generation);
        Arc::new(move |shown| {
            token::same(expected.as_bytes(), shown) && endpoint.with(generation, |_| ()).is_some()
        })
    }
}

impl Endpoint {
    /// The run that the present life works on, if there is only one that it can be.
    fn only_run(&self) -> Option<Arc<str>> {
        let inside = self.lock();
        let (_, session) = inside.sessions.last_key_value()?;
        let given = session.given.iter();
        let mut taken = given.filter(|(_, given)| given.taken == Taken::Yes);
        let (run, _) = taken.next()?;
        let run = run.to_string().into();
        taken.next().is_none().then_some(run)
    }
}

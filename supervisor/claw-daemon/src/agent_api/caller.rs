//! Who an agent is to the gateway to language models.

use std::sync::Arc;

use claw_core::{AgentName, Generation, InstanceId};
use claw_gateway::llm::serve::{Caller, Credential, Life, LifeOfToken};

use super::api::AgentApi;
use super::endpoint::Endpoint;
use super::session::Taken;
use super::token::Verdict;

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
    /// The agent, as long as it lives; the token says which life it is, since an agent that ends and
    /// the next one may overlap. `None`: it has none.
    pub(crate) fn living_caller(&self, agent: &AgentName) -> Option<Caller> {
        let endpoint = self.endpoint(agent)?;
        self.living(&endpoint)
    }

    /// One life of an agent; `None`: it is over.
    pub(crate) fn caller(&self, instance: &InstanceId, came_by: CameBy) -> Option<Caller> {
        let endpoint = self.endpoint(&instance.agent)?;
        self.known(&endpoint, instance.generation, came_by)
    }

    /// The same by its endpoint.
    pub(super) fn living(&self, endpoint: &Arc<Endpoint>) -> Option<Caller> {
        let generation = *endpoint.lock().sessions.keys().next_back()?;
        self.known(endpoint, generation, CameBy::Shared)
    }

    fn known(
        &self,
        endpoint: &Arc<Endpoint>,
        generation: Generation,
        came_by: CameBy,
    ) -> Option<Caller> {
        let Life { instance, run } = endpoint.life(generation)?;
        Some(Caller {
            agent: endpoint.identity().as_str().into(),
            replica: endpoint.agent.as_str().into(),
            instance,
            run,
            credential: match came_by {
                CameBy::Shared => Credential::Token(self.life_of_token(endpoint, None)),
                CameBy::OwnNetwork => {
                    Credential::OwnNetwork(self.life_of_token(endpoint, Some(generation)))
                }
            },
        })
    }

    /// Knows the tokens of an agent's lives, or of one of them, for as long as they last.
    fn life_of_token(&self, endpoint: &Arc<Endpoint>, only: Option<Generation>) -> LifeOfToken {
        let (key, endpoint) = (self.shared.key.clone(), Arc::clone(endpoint));
        Arc::new(move |shown| {
            let shown = str::from_utf8(shown).ok()?;
            match key.judge(&endpoint.agent, shown) {
                Verdict::Session(generation) if only.is_none_or(|only| only == generation) => {
                    endpoint.life(generation)
                }
                Verdict::Session(_) | Verdict::Forged => None,
            }
        })
    }
}

impl Endpoint {
    /// A life, and the run that it works on if there is only one that it can be; `None`: it is over.
    fn life(&self, generation: Generation) -> Option<Life> {
        let run = self.with(generation, |session| {
            let given = session.given.iter();
            let mut taken = given.filter(|(_, given)| given.taken == Taken::Yes);
            let first = taken.next().map(|(run, _)| run.to_string());
            let only = first.filter(|_| taken.next().is_none());
            session.run.map(|run| run.to_string()).or(only)
        })?;
        Some(Life {
            instance: self.instance(generation).to_string().into(),
            run: run.map(Into::into),
        })
    }
}

//! Where agents' connections come in, and who accepts them.
//!
//! ```text
//!  127.0.0.1:<the agent's port>      of this machine: the agent shows its token
//!  127.0.0.1:<the same port>         in the agent's own network: who connects is the agent
//! ```

use std::collections::BTreeMap;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use claw_core::{AgentName, InstanceId};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Models;
use crate::agent_api::{AgentApi, CameBy};

/// Connections of one agent at one listener. Programs that ask a hundred things at once have room,
/// and further ones wait. The gateway bounds what all bodies of an agent's requests take together.
const CONNECTIONS: usize = 256;

/// How long nothing is accepted after an error: those of a connection are over by then, and want of
/// descriptors or memory may be.
const PAUSE: Duration = Duration::from_millis(100);

/// All listeners, by whose they are. Dropping one closes it.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// Of this machine.
    pub(super) ports: BTreeMap<AgentName, Door>,
    /// Of networks of instances.
    pub(super) networks: BTreeMap<InstanceId, Open>,
}

/// A listener of this machine.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) port: u16,
    pub(super) _open: Open,
}

/// As long as this is there, connections are accepted.
#[derive(Debug)]
pub(super) struct Open(CancellationToken);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Whose connections come in at a listener.
#[derive(Debug, Clone)]
pub(super) enum Whose {
    /// Whoever shows the token of the agent's present life.
    Agent(AgentName),
    /// This life's, because the listener is in its network.
    Instance(InstanceId),
}

impl Whose {
    fn agent(&self) -> &AgentName {
        match self {
            Self::Agent(agent) => agent,
            Self::Instance(instance) => &instance.agent,
        }
    }
}

impl Models {
    /// Accepts at a listener, as soon as agents are served at all.
    pub(super) fn accept(
        &self,
        agent_api: &AgentApi,
        (listener, whose): (StdListener, Whose),
    ) -> std::io::Result<Open> {
        let runtime = self.shared.runtime()?;
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        let until = self.shared.accepting.child_token();
        let open = Open(until.clone());
        let accepting = accept(self.clone(), agent_api.clone(), (listener, whose), until);
        self.shared.tasks.spawn_on(accepting, runtime);
        Ok(open)
    }
}

async fn accept(
    models: Models,
    agent_api: AgentApi,
    (listener, whose): (TcpListener, Whose),
    until: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut serving = models.shared.serving.subscribe();
    let mut next = async || {
        // The sender is in what this task holds.
        serving.wait_for(|serving| *serving).await.ok()?;
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        Some((place, listener.accept().await))
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = until.cancelled() => return,
            accepted = next() => accepted,
        };
        let (place, stream) = match accepted {
            Some((place, Ok((stream, _address)))) => (place, stream),
            Some((_place, Err(error))) => {
                let agent = whose.agent();
                tracing::warn!(%agent, %error, "a connection to the models could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            None => return,
        };
        let (models, agent_api, whose) = (models.clone(), agent_api.clone(), whose.clone());
        let shared = Arc::clone(&models.shared);
        let serving = async move {
            let cut = models.shared.cutting.cancelled();
            tokio::select! {
                biased;
                () = cut => {}
                () = serve(&models, &agent_api, (stream, whose)) => {}
            }
            drop(place);
        };
        // Where the listener is served as well.
        shared.tasks.spawn(serving);
    }
}

async fn serve(
    models: &Models,
    agent_api: &AgentApi,
    (stream, whose): (tokio::net::TcpStream, Whose),
) {
    let caller = match &whose {
        Whose::Agent(agent) => agent_api.living_caller(agent),
        Whose::Instance(instance) => agent_api.caller(instance, CameBy::OwnNetwork),
    };
    let (Some(caller), Some(gateway)) = (caller, models.gateway()) else {
        let agent = whose.agent();
        tracing::debug!(%agent, "a connection to the models was closed: no life of the agent is known");
        return;
    };
    // Answers are small pieces that come one by one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection to the models is slower than it could be");
    }
    gateway.serve(stream, caller).await;
}

//! What handlers share.

use std::path::PathBuf;
use std::sync::Arc;

use claw_core::{AgentName, AgentStatus, Answer, Command, InstanceId, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::hooks::Calls;
use super::idempotency::Claims;
use super::limits;
use super::meter::Meter;
use super::ports::{AskError, JournalFailure, Ports};
use super::problem::ApiError;
use crate::api::{Agent, AgentList, Code, ProcessSandbox, ResourceUse, Time};
use crate::replicas::freest;
use crate::telemetry::metrics::{Confined, Metrics};

/// What handlers share; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) ports: Ports,
    pub(super) metrics: Metrics,
    pub(super) meter: Meter,
    pub(super) claims: Claims,
    pub(super) calls: Calls,
    /// Cancelled when the server stops: streams end.
    pub(super) closing: CancellationToken,
    pub(super) started_at: Time,
    pub(super) data_dir: Arc<PathBuf>,
    streams: Arc<Semaphore>,
}

impl ApiState {
    /// Makes the state of a server over `ports`, for the data directory `data_dir`.
    #[must_use]
    pub fn new(ports: Ports, metrics: Metrics, data_dir: PathBuf) -> Self {
        Self {
            meter: Meter::new(ports.usage.clone()),
            started_at: (ports.now)(),
            ports,
            metrics,
            claims: Claims::default(),
            calls: Calls::default(),
            closing: CancellationToken::new(),
            data_dir: Arc::new(data_dir),
            streams: Arc::new(Semaphore::new(limits::STREAMS)),
        }
    }

    pub(super) fn now(&self) -> Time {
        (self.ports.now)()
    }

    pub(super) async fn ask(&self, command: Command) -> Result<Answer, ApiError> {
        Ok(in_time(self.ports.fleet.ask.call(command)).await??)
    }

    pub(super) async fn statuses(&self) -> Result<Vec<AgentStatus>, ApiError> {
        Ok(in_time(self.ports.fleet.statuses.call(())).await??)
    }

    pub(super) async fn status(&self, agent: &AgentName) -> Result<AgentStatus, ApiError> {
        let found = in_time(self.ports.fleet.status.call(agent.clone())).await??;
        found.ok_or_else(|| {
            Refusal::NoSuchAgent {
                agent: agent.clone(),
            }
            .into()
        })
    }

    /// An agent as the API shows it.
    pub(super) fn render(&self, status: &AgentStatus, resources: Option<ResourceUse>) -> Agent {
        let replicas = (self.ports.config.replicas)();
        let place = replicas.place(&status.name);
        Agent {
            group: place.map(|place| place.group.to_string()),
            replica: place.map(|place| place.index),
            container: (self.ports.config.container)(&status.name),
            sandbox: self.sandbox(status),
            ..Agent::render(status, resources, self.now())
        }
    }

    /// How an agent is confined as a process.
    pub(super) fn sandbox(&self, status: &AgentStatus) -> Option<ProcessSandbox> {
        let live = status.instance.as_ref().map(|live| InstanceId {
            agent: status.name.clone(),
            generation: live.generation,
        });
        (self.ports.sandbox)(&status.name, live.as_ref())
    }

    /// How the live instance of an agent is confined, for metrics; `None`: that is unknown.
    pub(super) fn confined(&self, status: &AgentStatus) -> Option<Confined> {
        if (self.ports.config.container)(&status.name).is_some() {
            return Some(Confined::CONTAINER);
        }
        match self.sandbox(status) {
            None => Some(Confined::NOT),
            Some(ProcessSandbox { level, losses, .. }) => Some(Confined {
                level: level?.as_str(),
                degraded: !losses.is_empty(),
            }),
        }
    }

    /// The replicas that a name stands for, if it is not an agent's own.
    pub(super) fn replicas(&self, name: &AgentName) -> Option<Vec<AgentName>> {
        let replicas = (self.ports.config.replicas)();
        replicas.members(name).map(<[_]>::to_vec)
    }

    /// Several agents by the name that stands for all of them.
    pub(super) fn list(&self, agents: Vec<Agent>) -> AgentList {
        let project = (self.ports.config.current)().fleet.project.clone();
        AgentList { project, agents }
    }

    /// The agent that gets a run of this name: itself, or the freest of its replicas.
    pub(super) async fn for_run(&self, name: AgentName) -> Result<AgentName, ApiError> {
        let Some(members) = self.replicas(&name) else {
            return Ok(name);
        };
        let statuses = self.statuses().await?;
        Ok(freest(&members, &statuses).unwrap_or(name))
    }

    /// The right to hold a stream open, for as long as it is kept.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_none_left| {
                let detail = format!(
                    "{} streams are open, which is the most; close one",
                    limits::STREAMS
                );
                ApiError::new(Code::TooManyStreams, detail)
            })
    }
}

/// Bounds a question to the supervision loop, so that a loop that hangs does not hang callers.
async fn in_time<T>(
    question: impl Future<Output = Result<T, AskError>>,
) -> Result<Result<T, AskError>, ApiError> {
    tokio::time::timeout(limits::ANSWER_TIME, question)
        .await
        .map_err(|_elapsed| {
            let seconds = limits::ANSWER_TIME.as_secs();
            let detail = format!("the supervisor's loop did not answer within {seconds} s");
            ApiError::new(Code::SupervisorGone, detail)
        })
}

impl From<JournalFailure> for ApiError {
    fn from(failure: JournalFailure) -> Self {
        Self::new(Code::JournalUnavailable, failure.to_string())
    }
}

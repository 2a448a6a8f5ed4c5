//! One agent, as `status` shows it.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cause, Halt, ProcessSandbox, Reason, Time};

/// All agents of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// The fleet's name.
    pub project: String,
    /// The agents, by name.
    pub agents: Vec<Agent>,
}

/// What a name of the fleet file stands for: an agent, or all replicas of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Named {
    /// An agent.
    Agent(Box<Agent>),
    /// The replicas of one.
    Replicas(AgentList),
}

impl Named {
    /// The agent, or all of them.
    #[must_use]
    pub fn into_agents(self) -> Vec<Agent> {
        match self {
            Self::Agent(agent) => vec![*agent],
            Self::Replicas(list) => list.agents,
        }
    }
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Whose replica it is; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Which replica it is, from 0; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u32>,
    /// The container that it runs in; absent if it is a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// How it is confined as a process; absent if it is not, or is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<ProcessSandbox>,
    /// Its public state.
    pub state: State,
    /// Whether it may be given work.
    pub ready: bool,
    /// Why it is in this state.
    pub reason: Reason,
    /// How it is halted; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Seconds since its live instance was started; 0 when none lives.
    pub uptime_seconds: f64,
    /// Its newest live instance.
    pub instance: Option<Instance>,
    /// Restarts by the restart policy, ever.
    pub restarts: u64,
    /// What its live instances use now; absent while none lives or it is not measured yet.
    pub resources: Option<ResourceUse>,
    /// Its runs.
    pub runs: RunCounts,
    /// The last text it sent with `STATUS=`.
    pub status_text: Option<String>,
    /// How its last instance ended.
    pub last_death: Option<Death>,
    /// Probes that fail at the moment or have failed.
    pub probes: Vec<ProbeState>,
}

/// The container of an agent, as the fleet file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Container {
    /// Its image.
    pub image: String,
    /// What the image is for its live instance, such as `sha256:…`; absent while that is not
    /// known, and in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What it reaches.
    pub network: ContainerNetwork,
    /// Whether the files of its image can only be read.
    pub read_only_filesystem: bool,
}

/// What a container reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerNetwork {
    /// Nothing but itself.
    None,
    /// Itself, and the hosts of a list.
    Listed,
    /// All that the host reaches.
    Bridge,
}

impl From<&core::spec::Container> for Container {
    fn from(container: &core::spec::Container) -> Self {
        use core::spec::container::{Network, RootFs};
        Self {
            image: container.image.clone(),
            digest: None,
            network: match &container.network {
                Network::None => ContainerNetwork::None,
                Network::Listed(_) => ContainerNetwork::Listed,
                Network::Bridge => ContainerNetwork::Bridge,
            },
            read_only_filesystem: container.root == RootFs::ReadOnly,
        }
    }
}

/// The public states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting for its turn or its dependencies, or started and not yet up.
    Initializing,
    /// Up: a daemon runs, a oneshot is armed or at work.
    Running,
    /// No new work.
    Paused,
    /// Failed; the next start is at a known time.
    Error,
    /// On its way down.
    Stopping,
    /// Down.
    Stopped,
}

impl State {
    /// All states, in the order of an agent's life.
    pub const ALL: [Self; 6] = [
        Self::Initializing,
        Self::Running,
        Self::Paused,
        Self::Error,
        Self::Stopping,
        Self::Stopped,
    ];

    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Error => "error",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<core::PublicState> for State {
    fn from(state: core::PublicState) -> Self {
        match state {
            core::PublicState::Initializing => Self::Initializing,
            core::PublicState::Running => Self::Running,
            core::PublicState::Paused => Self::Paused,
            core::PublicState::Error => Self::Error,
            core::PublicState::Stopping => Self::Stopping,
            core::PublicState::Stopped => Self::Stopped,
        }
    }
}

/// A live instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Which life of the agent, counted from 1 and never reused.
    pub generation: u64,
    /// Its process id, once started.
    pub pid: Option<u32>,
    /// When it was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Time>,
}

/// What the live instances of an agent use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResourceUse {
    /// Processor time of the live instances so far, in seconds.
    pub cpu_seconds: f64,
    /// Cores in use since the last measurement; absent at the first.
    pub cpu_cores: Option<f64>,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Kills for memory among the live instances.
    pub oom_kills: u64,
}

/// Runs in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunCounts {
    /// Under way.
    pub active: u32,
    /// Waiting.
    pub queued: u32,
    /// Finished well, ever.
    pub succeeded: u64,
    /// Finished otherwise, ever.
    pub failed: u64,
    /// `succeeded` as a share of all finished runs, 0 to 1; absent before the first.
    pub success_rate: Option<f64>,
    /// When the last one ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Time>,
    /// When the next one is due by the schedule.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Time>,
}

/// How and when an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Death {
    /// How.
    pub cause: Cause,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

/// Where a probe stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProbeState {
    /// `startup`, `liveness`, `readiness` or `progress`.
    pub probe: String,
    /// Failures in a row.
    pub failures: u32,
}

impl Agent {
    /// Renders a status as of `now`.
    #[must_use]
    pub fn render(status: &core::AgentStatus, resources: Option<ResourceUse>, now: Time) -> Self {
        let started = status.instance.as_ref().and_then(|live| live.started_at);
        Self {
            name: status.name.to_string(),
            group: None,
            replica: None,
            container: None,
            sandbox: None,
            state: status.state.into(),
            ready: status.ready,
            reason: (&status.reason).into(),
            halt: status.halt.as_ref().map(Into::into),
            since: status.since,
            uptime_seconds: started.map_or(0.0, |at| seconds_between(at, now)),
            instance: status.instance.as_ref().map(Into::into),
            restarts: status.restarts,
            resources,
            runs: (&status.runs).into(),
            status_text: status.status_text.clone(),
            last_death: status.last_death.as_ref().map(|(cause, at)| Death {
                cause: cause.into(),
                at: *at,
            }),
            probes: status.probes.iter().map(ProbeState::from).collect(),
        }
    }
}

/// Seconds from `earlier` to `later`, 0 when the clock was set back between them.
pub(crate) fn seconds_between(earlier: Time, later: Time) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}

impl From<&core::status::LiveInstance> for Instance {
    fn from(live: &core::status::LiveInstance) -> Self {
        Self {
            generation: live.generation.0,
            pid: live.pid,
            started_at: live.started_at,
        }
    }
}

impl From<&core::status::RunSummary> for RunCounts {
    fn from(runs: &core::status::RunSummary) -> Self {
        let finished = runs.succeeded + runs.failed;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
        let rate = (finished > 0).then(|| runs.succeeded as f64 / finished as f64);
        Self {
            active: runs.active,
            queued: runs.queued,
            succeeded: runs.succeeded,
            failed: runs.failed,
            success_rate: rate,
            last_at: runs.last,
            next_at: runs.next,
        }
    }
}

impl From<&(core::ProbeKind, u32)> for ProbeState {
    fn from((probe, failures): &(core::ProbeKind, u32)) -> Self {
        Self {
            probe: probe.to_string(),
            failures: *failures,
        }
    }
}

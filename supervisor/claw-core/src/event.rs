//! What reaches the core.

use std::sync::Arc;

use crate::clock::Wall;
use crate::death::{ExitReport, ExitStatus, SpawnError};
use crate::halt::Halt;
use crate::id::{InstanceId, RunId, Ticket};
use crate::image::Image;
use crate::models::{ModelCall, ProviderName};
use crate::name::AgentName;
use crate::notification::Notification;
use crate::order::{Hook, HookOutcome, ProbeKind, ProbeOutcome, SelfCheck};
use crate::record::RecordId;
use crate::run::WorkOutcome;
use crate::spec::FleetSpec;

/// Everything that can happen to a fleet.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A deadline may have passed; carries nothing because deadlines live in the phases.
    Tick,
    /// Somebody asks for something and waits under `ticket`.
    Command {
        /// Where the answer goes. Each ticket is answered exactly once.
        ticket: Ticket,
        /// What is asked.
        command: Command,
    },
    /// A driver or the journal reports.
    Fact(Fact),
    /// A new configuration, already parsed and validated.
    Configure {
        /// Where the answer goes.
        ticket: Ticket,
        /// The whole new fleet.
        fleet: Arc<FleetSpec>,
    },
    /// The supervisor was asked to end.
    Shutdown(ShutdownMode),
}

/// What ending the supervisor does to the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Stop every agent in reverse order of dependencies, each with its grace.
    Stop,
    /// Leave the agents running; the next supervisor adopts them.
    Keep,
    /// Stop at once: kill every tree. The second signal of an impatient user.
    Hasten,
}

/// What can be asked of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Goal up; clears `gave_up` and a waiting backoff.
    Start {
        /// Who.
        agent: AgentName,
    },
    /// Goal down, kept across restarts of the supervisor. Answered when the agent is stopped.
    Stop {
        /// Who.
        agent: AgentName,
    },
    /// Stop, then start; answered when the new instance is spawned.
    Restart {
        /// Who.
        agent: AgentName,
    },
    /// No new runs or starts; a running instance goes on, or is frozen.
    Pause {
        /// Who.
        agent: AgentName,
        /// Whether the running tree is frozen too.
        freeze: Freeze,
    },
    /// Undo `Pause`.
    Resume {
        /// Who.
        agent: AgentName,
    },
    /// Turn the kill switch, whatever the agent does: from now on it does no more than the level
    /// allows. Answered when that is written down; a level that is in force is no change.
    Halt {
        /// Who.
        agent: AgentName,
        /// How, by whom and why; it counts from `since`.
        halt: Halt,
    },
    /// Undo `Halt`.
    Lift {
        /// Who.
        agent: AgentName,
        /// Who wants it.
        by: String,
    },
    /// Ask for one run.
    Trigger {
        /// Who.
        agent: AgentName,
        /// JSON for the run.
        payload: Option<String>,
        /// The id of the run, which nobody has used before; a new one without. Who derives it from
        /// the call finds a run that it has asked for already.
        run: Option<RunId>,
    },
    /// Cancel a queued or running run.
    Cancel {
        /// Whose run.
        agent: AgentName,
        /// Which.
        run: RunId,
    },
}

impl Command {
    /// The agent the command is about.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        match self {
            Self::Start { agent }
            | Self::Stop { agent }
            | Self::Restart { agent }
            | Self::Pause { agent, .. }
            | Self::Resume { agent }
            | Self::Halt { agent, .. }
            | Self::Lift { agent, .. }
            | Self::Trigger { agent, .. }
            | Self::Cancel { agent, .. } => agent,
        }
    }

    /// The same to another agent.
    #[must_use]
    pub fn to(&self, agent: AgentName) -> Self {
        match self {
            Self::Start { .. } => Self::Start { agent },
            Self::Stop { .. } => Self::Stop { agent },
            Self::Restart { .. } => Self::Restart { agent },
            Self::Pause { freeze, .. } => Self::Pause {
                agent,
                freeze: *freeze,
            },
            Self::Resume { .. } => Self::Resume { agent },
            Self::Halt { halt, .. } => Self::Halt {
                agent,
                halt: halt.clone(),
            },
            Self::Lift { by, .. } => Self::Lift {
                agent,
                by: by.clone(),
            },
            Self::Trigger { payload, run, .. } => Self::Trigger {
                agent,
                payload: payload.clone(),
                run: *run,
            },
            Self::Cancel { run, .. } => Self::Cancel { agent, run: *run },
        }
    }
}

/// Whether a pause stops the processes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freeze {
    /// The running instance goes on.
    #[default]
    No,
    /// The running tree is frozen.
    Yes,
}

/// What drivers and the journal report. Drivers tell what they saw, never what it means.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The journal holds the record, as durably as its class demands.
    Recorded(RecordId),
    /// The journal could not take the record.
    RecordFailed {
        /// Which record.
        record: RecordId,
        /// Why, for people.
        reason: String,
    },
    /// The start goes on, and takes long: an image is fetched or built. Said at least every 30
    /// seconds; a driver that is silent for a minute has lost the start.
    Preparing {
        /// Whose.
        instance: InstanceId,
        /// What is done, and how far it is: one line for people.
        detail: String,
    },
    /// Whoever runs the instance cannot be asked, so nobody knows whether it still runs.
    Unobserved {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        reason: String,
    },
    /// It can be asked again, and the instance runs.
    Observed {
        /// Which.
        instance: InstanceId,
    },
    /// The instance runs on, but whoever holds it cannot be talked to: it is ended when that is
    /// ordered, and nothing is heard of it before. Said once, and never taken back.
    NeedsRestart {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        reason: String,
    },
    /// The main process runs.
    Started {
        /// Whose.
        instance: InstanceId,
        /// Its process id on the host.
        pid: u32,
        /// When it was started.
        at: Wall,
        /// What it is made of, if it is a container.
        image: Option<Image>,
    },
    /// The instance could not be started, and nothing of it is left.
    SpawnFailed {
        /// Which.
        instance: InstanceId,
        /// Why.
        error: SpawnError,
    },
    /// The main process ended; its descendants may still run and are being ended.
    MainExited {
        /// Whose.
        instance: InstanceId,
        /// How.
        status: ExitStatus,
    },
    /// Nothing of the instance is left, and its output is in the log.
    Gone {
        /// Which.
        instance: InstanceId,
        /// What was observed.
        report: ExitReport,
    },
    /// The instance's shim died; its tree has been killed; how it ended is not known.
    Lost {
        /// Which.
        instance: InstanceId,
    },
    /// A probe ended.
    Probed {
        /// Whose.
        instance: InstanceId,
        /// Which.
        probe: ProbeKind,
        /// As in the order.
        sequence: u64,
        /// What it found.
        outcome: ProbeOutcome,
    },
    /// What is known of a worker's own readiness check has changed, or was found again.
    SelfChecked {
        /// Whose.
        instance: InstanceId,
        /// What.
        check: SelfCheck,
    },
    /// The agent sent a notification (`sd_notify(3)`), checked to come from its own tree.
    Notified {
        /// Who.
        instance: InstanceId,
        /// What.
        notification: Notification,
    },
    /// The agent gave evidence of work since the last such fact (a log line, for now).
    Progressed {
        /// Who.
        instance: InstanceId,
    },
    /// The agent broke the rules of its protocol so often that nothing can be expected of it.
    BrokeProtocol {
        /// Who.
        instance: InstanceId,
    },
    /// A worker has taken a run that was delivered to it. Evidence of work, and nothing more.
    RunTaken {
        /// Who.
        instance: InstanceId,
        /// Which run.
        run: RunId,
    },
    /// A worker gave evidence of work on a run.
    RunProgressed {
        /// Who.
        instance: InstanceId,
        /// Which run.
        run: RunId,
    },
    /// A worker is done with a run that was delivered to it.
    RunFinished {
        /// Who.
        instance: InstanceId,
        /// Which run.
        run: RunId,
        /// As in the delivery.
        attempt: u32,
        /// How, as the agent says.
        outcome: WorkOutcome,
    },
    /// A worker that an earlier supervisor had started is connected again, and says what it still
    /// works on. Awaited once after its adoption.
    Resumed {
        /// Who.
        instance: InstanceId,
        /// The runs, each with its attempt.
        running: Vec<(RunId, u32)>,
    },
    /// The gateway has seen something of an agent's use of models.
    ModelCall {
        /// Whose.
        instance: InstanceId,
        /// What.
        call: ModelCall,
    },
    /// A provider of models does not answer, or asked to be left alone. Said again as often as it
    /// is found so.
    ProviderDown {
        /// Which.
        provider: ProviderName,
        /// No call goes to it before this.
        until: Wall,
    },
    /// A provider that was down has answered.
    ProviderUp {
        /// Which.
        provider: ProviderName,
    },
    /// A hook ended.
    HookDone {
        /// For which life.
        instance: InstanceId,
        /// Which.
        hook: Hook,
        /// How.
        outcome: HookOutcome,
    },
}

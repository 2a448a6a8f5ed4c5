//! What the core wants done.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::Wall;
use crate::halt::HaltChange;
use crate::id::{InstanceId, RunId, Ticket};
use crate::name::AgentName;
use crate::order::{Order, ProbeKind};
use crate::record::{Record, RecordId};
use crate::refusal::Refusal;
use crate::run::Run;
use crate::status::AgentStatus;
use crate::{Cause, PublicState, Reason};

/// One thing to do. The host carries actions out in order and waits for none of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write to the journal; with an id, the journal answers `Recorded` or `RecordFailed`.
    Record {
        /// Asks for an answer.
        id: Option<RecordId>,
        /// What to write; its class of durability is `record.durability()`.
        record: Record,
    },
    /// Tell a driver.
    Order(Order),
    /// Answer a waiter.
    Reply {
        /// Whom.
        ticket: Ticket,
        /// The answer.
        result: Result<Answer, Refusal>,
    },
    /// Tell the world. Events, metrics, streams and audit derive from this and nothing else.
    Announce(Announcement),
    /// Every agent is down and the supervisor may end.
    AllStopped,
}

/// An answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The goal was taken up; the agent as it is now.
    Status(Box<AgentStatus>),
    /// The run was accepted and is durable.
    Run(Box<Run>),
    /// The configuration is in force; the agents that it adds, changes or removes.
    Configured {
        /// Started because they are new.
        added: Vec<AgentName>,
        /// Changed, live or by a restart.
        changed: Vec<AgentName>,
        /// Stopped because they are gone.
        removed: Vec<AgentName>,
    },
}

/// Something that happened to an agent, for everybody who listens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Announcement {
    /// When.
    pub at: Wall,
    /// To whom.
    pub agent: AgentName,
    /// What.
    pub happened: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Happened {
    /// Its public state, reason or readiness changed.
    StateChanged {
        /// The new state.
        state: PublicState,
        /// Ready for work.
        ready: bool,
        /// Why.
        reason: Reason,
    },
    /// An instance was started.
    Started {
        /// Which.
        instance: InstanceId,
        /// Its process id.
        pid: u32,
    },
    /// An instance taken over from an earlier supervisor.
    Adopted {
        /// Which.
        instance: InstanceId,
        /// Its process id.
        pid: u32,
    },
    /// An instance ended.
    Ended {
        /// Which.
        instance: InstanceId,
        /// Why.
        cause: Cause,
        /// Whether it counts as a failure.
        failed: bool,
    },
    /// A probe's verdict changed or it failed again.
    ProbeFailed {
        /// Which.
        probe: ProbeKind,
        /// What was seen.
        detail: String,
        /// Failures in a row.
        consecutive: u32,
    },
    /// A run was accepted, started or ended.
    RunChanged {
        /// The run as it is now.
        run: Arc<Run>,
    },
    /// The kill switch was turned: it was halted, halted at another level, or let go.
    SwitchTurned {
        /// What was changed.
        change: Box<HaltChange>,
    },
    /// A due slot of a schedule got its terminal record.
    SlotSettled {
        /// The planned time.
        slot: Wall,
        /// What became of it.
        fate: SlotFate,
        /// The run it became, if any.
        run: Option<RunId>,
    },
    /// A fact that fits nothing we know arrived; it was ignored and counted.
    StaleFact {
        /// For diagnosis.
        detail: String,
    },
}

/// What became of a due slot: each gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotFate {
    /// A run was started for it in time.
    Ran,
    /// The overlap rule dropped it.
    SkippedOverlap,
    /// It was due while nobody was there, or too late, and is not made up for.
    Missed,
    /// A run was started for it after a time nobody was there.
    CaughtUp,
    /// Its run was cut off by a death of the supervisor or the machine before it was started.
    Interrupted,
    /// The agent was paused or stopped.
    Held,
}

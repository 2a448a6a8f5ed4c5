//! Lifecycle events.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cause, Halt, Reason, Run, SlotFate, State, Time};

/// One event. The SSE stream sends it as `data`, with `id` and `type` as its `id` and `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number; grows by one for each event, and goes on growing when the supervisor restarts.
    pub id: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// To which agent; absent for `lagged`.
    pub agent: Option<String>,
    /// One sentence for people.
    pub text: String,
    /// What happened.
    #[serde(flatten)]
    pub happened: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Happened {
    /// The state, its reason or the readiness changed.
    StateChanged {
        /// The new state.
        state: State,
        /// Whether it may be given work.
        ready: bool,
        /// Why.
        reason: Reason,
    },
    /// An instance was started.
    Started {
        /// Which life of the agent.
        generation: u64,
        /// Its process id.
        pid: u32,
    },
    /// An instance was taken over from an earlier supervisor.
    Adopted {
        /// Which life of the agent.
        generation: u64,
        /// Its process id.
        pid: u32,
    },
    /// An instance ended.
    Ended {
        /// Which life of the agent.
        generation: u64,
        /// How.
        cause: Cause,
        /// Whether it counts as a failure.
        failed: bool,
    },
    /// A probe failed.
    ProbeFailed {
        /// Which probe.
        probe: Probe,
        /// What was seen.
        detail: String,
        /// Failures in a row.
        consecutive: u32,
    },
    /// A run was accepted, started or ended.
    RunChanged {
        /// The run as it is now.
        run: Box<Run>,
    },
    /// It was halted, or halted at another level.
    Halted {
        /// How.
        halt: Halt,
    },
    /// Its halt was lifted.
    HaltLifted {
        /// How it was halted.
        halt: Halt,
        /// Who lifted that.
        by: String,
    },
    /// A due slot of a schedule was settled.
    SlotSettled {
        /// The planned time.
        #[schema(value_type = String, format = DateTime)]
        slot: Time,
        /// What became of it.
        fate: SlotFate,
        /// The run it became.
        run_id: Option<String>,
    },
    /// A report that fits nothing the supervisor knows arrived and was ignored.
    StaleFact {
        /// For diagnosis.
        detail: String,
    },
    /// Events were lost to this reader: it was too slow, or asked for some that are forgotten.
    Lagged {
        /// How many.
        lost: u64,
    },
}

/// The probes of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Has it come up?
    Startup,
    /// Does it still work?
    Liveness,
    /// May it be given work?
    Readiness,
    /// Is there evidence of work?
    Progress,
}

impl Happened {
    /// The word in `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::StateChanged { .. } => "state_changed",
            Self::Started { .. } => "started",
            Self::Adopted { .. } => "adopted",
            Self::Ended { .. } => "ended",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::RunChanged { .. } => "run_changed",
            Self::Halted { .. } => "halted",
            Self::HaltLifted { .. } => "halt_lifted",
            Self::SlotSettled { .. } => "slot_settled",
            Self::StaleFact { .. } => "stale_fact",
            Self::Lagged { .. } => "lagged",
        }
    }
}

impl Event {
    /// Renders an announcement under its number.
    #[must_use]
    pub fn render(id: u64, announcement: &core::Announcement) -> Self {
        let happened = Happened::from(&announcement.happened);
        Self {
            id,
            at: announcement.at,
            agent: Some(announcement.agent.to_string()),
            text: sentence(announcement.agent.as_str(), &happened),
            happened,
        }
    }

    /// The event that tells a reader of its loss; `id` is the number of the last lost one.
    #[must_use]
    pub fn lagged(id: u64, lost: u64, at: Time) -> Self {
        let happened = Happened::Lagged { lost };
        Self {
            id,
            at,
            agent: None,
            text: sentence("", &happened),
            happened,
        }
    }
}

impl From<&core::action::Happened> for Happened {
    fn from(happened: &core::action::Happened) -> Self {
        use core::action::Happened as H;
        match happened {
            H::StateChanged {
                state,
                ready,
                reason,
            } => Self::StateChanged {
                state: (*state).into(),
                ready: *ready,
                reason: reason.into(),
            },
            H::Started { instance, pid } => Self::Started {
                generation: instance.generation.0,
                pid: *pid,
            },
            H::Adopted { instance, pid } => Self::Adopted {
                generation: instance.generation.0,
                pid: *pid,
            },
            H::Ended {
                instance,
                cause,
                failed,
            } => Self::Ended {
                generation: instance.generation.0,
                cause: cause.into(),
                failed: *failed,
            },
            H::ProbeFailed {
                probe,
                detail,
                consecutive,
            } => Self::ProbeFailed {
                probe: (*probe).into(),
                detail: detail.clone(),
                consecutive: *consecutive,
            },
            H::RunChanged { run } => Self::RunChanged {
                run: Box::new(run.as_ref().into()),
            },
            H::SwitchTurned { change } => match &**change {
                core::HaltChange::Halted(halt) => Self::Halted { halt: halt.into() },
                core::HaltChange::Lifted { by, halt, .. } => Self::HaltLifted {
                    halt: halt.into(),
                    by: by.clone(),
                },
            },
            H::SlotSettled { slot, fate, run } => Self::SlotSettled {
                slot: *slot,
                fate: (*fate).into(),
                run_id: run.map(|id| id.to_string()),
            },
            H::StaleFact { detail } => Self::StaleFact {
                detail: detail.clone(),
            },
        }
    }
}

fn sentence(agent: &str, happened: &Happened) -> String {
    match happened {
        Happened::StateChanged { state, reason, .. } => {
            format!("{agent} is {state}: {}", reason.text)
        }
        Happened::Started { generation, pid } => {
            format!("{agent}#{generation} was started with process id {pid}")
        }
        Happened::Adopted { generation, pid } => {
            format!("{agent}#{generation} was taken over with process id {pid}")
        }
        Happened::Ended {
            generation, cause, ..
        } => format!("{agent}#{generation} {}", cause.text),
        Happened::ProbeFailed {
            probe,
            detail,
            consecutive,
        } => format!(
            "{agent} failed its {} probe ({consecutive} in a row): {detail}",
            probe.as_str()
        ),
        Happened::RunChanged { run } => format!("run {} of {agent} is {}", run.id, run.state),
        Happened::Halted { halt } => format!("{agent} was halted: {halt}"),
        Happened::HaltLifted { halt, by } => {
            format!("the halt of {agent} was lifted by {by}; it was {halt}")
        }
        Happened::SlotSettled { slot, fate, .. } => {
            format!("the slot {slot} of {agent} {}", fate.sentence())
        }
        Happened::StaleFact { detail } => format!("{agent}: ignored {detail}"),
        Happened::Lagged { lost } => format!("{lost} events were lost to this reader"),
    }
}

impl Probe {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Progress => "progress",
        }
    }
}

impl From<core::ProbeKind> for Probe {
    fn from(probe: core::ProbeKind) -> Self {
        match probe {
            core::ProbeKind::Startup => Self::Startup,
            core::ProbeKind::Liveness => Self::Liveness,
            core::ProbeKind::Readiness => Self::Readiness,
            core::ProbeKind::Progress => Self::Progress,
        }
    }
}

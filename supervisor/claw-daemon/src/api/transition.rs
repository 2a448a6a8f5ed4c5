//! What happened to an agent lately, from the journal: the evidence behind `why`.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cause, Halt, Image, Time};

/// The last transitions of an agent, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransitionList {
    /// Whose.
    pub agent: String,
    /// The transitions.
    pub transitions: Vec<Transition>,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// One sentence for people.
    pub text: String,
    /// What happened.
    #[serde(flatten)]
    pub what: TransitionKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TransitionKind {
    /// An instance ended.
    Ended {
        /// Which life of the agent.
        generation: u64,
        /// How.
        cause: Cause,
        /// Whether it counts as a failure.
        failed: bool,
        /// What was observed, where anything was.
        exit: Option<Exit>,
        /// What it was made of; absent for processes, and when it was never started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<Image>,
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
    /// A due slot of the schedule was settled.
    Slot {
        /// The planned time.
        #[schema(value_type = String, format = DateTime)]
        slot: Time,
        /// What became of it.
        fate: SlotFate,
        /// The run it became.
        run_id: Option<String>,
    },
}

/// What was observed at the end of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// The exit code of the main process.
    pub exit_code: Option<u8>,
    /// The signal that ended the main process.
    pub signal: Option<i32>,
    /// Processes of its tree that the kernel killed for memory.
    pub oom_kills: u64,
    /// Processes that outlived the main process and had to be ended.
    pub leftovers: u32,
    /// Processor time of the whole tree, in seconds.
    pub cpu_seconds: f64,
    /// The most memory the tree used at once, in bytes; absent when it could not be measured.
    pub memory_peak_bytes: Option<u64>,
}

/// What became of a due slot of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// A death of the supervisor or the machine cut it off before its run was started.
    Interrupted,
    /// The agent was paused or stopped.
    Held,
}

impl SlotFate {
    /// What became of the slot, as the end of a sentence about it.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::SkippedOverlap => "was skipped: the run before it was still under way",
            Self::Missed => "was missed: nobody was there in time",
            Self::CaughtUp => "was caught up",
            Self::Interrupted => "was cut off before its run was started",
            Self::Held => "was held: the agent was paused or stopped",
        }
    }
}

impl From<&core::HaltChange> for Transition {
    fn from(change: &core::HaltChange) -> Self {
        let (text, what) = match change {
            core::HaltChange::Halted(halt) => (
                format!("was halted: {halt}"),
                TransitionKind::Halted { halt: halt.into() },
            ),
            core::HaltChange::Lifted { by, halt, .. } => (
                format!("was let go by {by}; it was halted: {halt}"),
                TransitionKind::HaltLifted {
                    halt: halt.into(),
                    by: by.clone(),
                },
            ),
        };
        Self {
            at: change.at(),
            text,
            what,
        }
    }
}

impl From<core::action::SlotFate> for SlotFate {
    fn from(fate: core::action::SlotFate) -> Self {
        match fate {
            core::action::SlotFate::Ran => Self::Ran,
            core::action::SlotFate::SkippedOverlap => Self::SkippedOverlap,
            core::action::SlotFate::Missed => Self::Missed,
            core::action::SlotFate::CaughtUp => Self::CaughtUp,
            core::action::SlotFate::Interrupted => Self::Interrupted,
            core::action::SlotFate::Held => Self::Held,
        }
    }
}

impl From<&core::ExitReport> for Exit {
    fn from(report: &core::ExitReport) -> Self {
        let (exit_code, signal) = match report.status {
            core::ExitStatus::Code(code) => (Some(code), None),
            core::ExitStatus::Signal(signal) => (None, Some(signal)),
        };
        Self {
            exit_code,
            signal,
            oom_kills: report.oom_kills,
            leftovers: report.leftovers,
            cpu_seconds: std::time::Duration::from_micros(report.cpu_us).as_secs_f64(),
            memory_peak_bytes: (report.memory_peak > 0).then_some(report.memory_peak),
        }
    }
}

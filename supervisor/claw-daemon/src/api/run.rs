//! Runs: one unit of work each.

use claw_core as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::agent::seconds_between;
use super::{Cause, Image, Time};

/// One page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<Run>,
    /// Give this as `before` to get the next page; absent on the last.
    pub next: Option<String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its id, a UUID that sorts by time.
    pub id: String,
    /// Whose work it is.
    pub agent: String,
    /// What caused it.
    pub trigger: Trigger,
    /// The JSON handed to it.
    pub payload: Option<serde_json::Value>,
    /// Where it stands, or how it ended.
    pub state: RunState,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub queued_at: Time,
    /// When it started: the first attempt of a finished run, the present one of a running run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Time>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Time>,
    /// When the next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Time>,
    /// Seconds from start to end, once ended.
    pub duration_seconds: Option<f64>,
    /// How often it was started.
    pub attempts: u32,
    /// The instance of its last attempt.
    pub generation: Option<u64>,
    /// What that instance was made of; absent for processes, and before it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Why it failed, was cancelled or is to be tried again.
    pub cause: Option<Cause>,
    /// Where the output of its last attempt lies in the agent's log.
    pub log: Option<LogRange>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, not started.
    Queued,
    /// Its process runs.
    Running,
    /// An attempt failed and the next is due.
    Retrying,
    /// It did its work.
    Succeeded,
    /// Its last attempt failed.
    Failed,
    /// It was ended before it was done, or never started.
    Cancelled,
    /// The supervisor or the machine died under it and how it ended is not known.
    Interrupted,
}

impl RunState {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the run has ended for good.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Retrying => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Interrupted => true,
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What caused a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trigger {
    /// The kind of trigger.
    pub kind: TriggerKind,
    /// The planned time, for `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub slot: Option<Time>,
}

/// Kinds of triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// Somebody called `trigger`.
    Manual,
    /// A slot of the schedule.
    Schedule,
    /// The agent came up and runs once at start.
    Start,
}

impl TriggerKind {
    /// The word, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Start => "start",
        }
    }
}

/// A stretch of an agent's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRange {
    /// Which of the agent's log lanes; parallel runs write to different ones.
    pub lane: u32,
    /// The offset of the first byte.
    pub from: u64,
    /// The offset after the last byte.
    pub to: u64,
}

impl From<&core::Run> for Run {
    fn from(run: &core::Run) -> Self {
        let course = Course::of(&run.phase);
        Self {
            id: run.id.to_string(),
            agent: run.agent.to_string(),
            trigger: (&run.trigger).into(),
            payload: run.payload.as_deref().map(payload_value),
            state: course.state,
            queued_at: run.queued_at,
            started_at: course.started_at,
            ended_at: course.ended_at,
            retry_at: course.retry_at,
            duration_seconds: course
                .started_at
                .zip(course.ended_at)
                .map(|(start, end)| seconds_between(start, end)),
            attempts: run.attempts,
            generation: run.generation.map(|generation| generation.0),
            image: run.image.as_ref().map(Into::into),
            cause: course.cause,
            log: run.log.map(Into::into),
        }
    }
}

/// The payload was checked to be JSON when it came in; one that is not is shown as text.
fn payload_value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_not_json| text.into())
}

/// The phase of a run, spread over the flat fields of the wire model.
struct Course {
    state: RunState,
    started_at: Option<Time>,
    ended_at: Option<Time>,
    retry_at: Option<Time>,
    cause: Option<Cause>,
}

impl Course {
    fn of(phase: &core::RunPhase) -> Self {
        let queued = Self {
            state: RunState::Queued,
            started_at: None,
            ended_at: None,
            retry_at: None,
            cause: None,
        };
        match phase {
            core::RunPhase::Queued => queued,
            core::RunPhase::Running { since } => Self {
                state: RunState::Running,
                started_at: Some(*since),
                ..queued
            },
            core::RunPhase::Retrying { next, cause } => Self {
                state: RunState::Retrying,
                retry_at: Some(*next),
                cause: Some(cause.into()),
                ..queued
            },
            core::RunPhase::Finished {
                started,
                at,
                outcome,
            } => {
                let (state, cause) = verdict(outcome);
                Self {
                    state,
                    started_at: *started,
                    ended_at: Some(*at),
                    cause: cause.map(Into::into),
                    ..queued
                }
            }
        }
    }
}

const fn verdict(outcome: &core::RunOutcome) -> (RunState, Option<&core::Cause>) {
    match outcome {
        core::RunOutcome::Succeeded => (RunState::Succeeded, None),
        core::RunOutcome::Failed { cause } => (RunState::Failed, Some(cause)),
        core::RunOutcome::Cancelled { cause } => (RunState::Cancelled, Some(cause)),
        core::RunOutcome::Interrupted { cause } => (RunState::Interrupted, Some(cause)),
    }
}

impl From<&core::Trigger> for Trigger {
    fn from(trigger: &core::Trigger) -> Self {
        let (kind, slot) = match trigger {
            core::Trigger::Manual => (TriggerKind::Manual, None),
            core::Trigger::Schedule { slot } => (TriggerKind::Schedule, Some(*slot)),
            core::Trigger::Start => (TriggerKind::Start, None),
        };
        Self { kind, slot }
    }
}

impl From<core::death::LogRange> for LogRange {
    fn from(range: core::death::LogRange) -> Self {
        Self {
            lane: range.lane,
            from: range.from,
            to: range.to,
        }
    }
}

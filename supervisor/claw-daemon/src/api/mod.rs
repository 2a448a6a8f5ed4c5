//! The wire model of the control API: what the daemon answers and its clients read.
//!
//! Shared by the server (`http/`) and the CLI, so that neither can drift from the other. The
//! types are plain data. Field names are snake_case and stable; times are RFC 3339 text in UTC;
//! durations are seconds, sizes are bytes. A field may be added in any version, so clients
//! ignore what they do not know; none is renamed or given another meaning.

mod abilities;
mod agent;
mod config;
mod confinement;
mod engine;
mod event;
pub mod exec;
mod halt;
mod health;
mod image;
mod learned;
mod llm;
mod log;
mod problem;
mod reason;
mod run;
mod sandbox;
mod stored;
mod transition;
mod upgrade;

pub mod routes;

pub use abilities::{SandboxPart, SandboxReport};
pub(crate) use agent::seconds_between;
pub use agent::{
    Agent, AgentList, Container, ContainerNetwork, Death, Instance, Named, ProbeState, ResourceUse,
    RunCounts, State,
};
pub use config::{Applied, Change, ChangeKind, Plan, ReloadClass, RunningConfig};
pub use confinement::{Denial, DenialList, ProcessSandbox, SandboxLevel, SandboxLoss};
pub use engine::{Engine, EngineReport};
pub use event::{Event, Happened, Probe};
pub use halt::{Halt, HaltLevel, HaltRequest, Halted, HaltedList, Held, LiftRequest};
pub use health::{Degraded, Health, Lockdown, Overall, Part, Ready};
pub use image::Image;
pub use learned::{LearnedCall, LearnedCallList};
pub use llm::{
    LlmAlert, LlmBudgets, LlmCall, LlmCallList, LlmPeriod, LlmPrice, LlmPriceList, LlmPriceOrigin,
    LlmPricing, LlmRates, LlmReconcile, LlmReconciled, LlmScope, LlmTokens, LlmUsage, LlmUsageBy,
    LlmUsageList, LlmWindow, LlmWindowName, Usd,
};
pub use log::{LogLine, LogStream};
pub use problem::{Code, FieldError, Problem};
pub use reason::{Cause, Reason};
pub use run::{LogRange, Run, RunList, RunState, Trigger, TriggerKind};
pub use sandbox::{Bytes, Sandbox, SandboxCommand, SandboxFile, SandboxList, SandboxOutcome};
pub use stored::{
    BusEvent, DeadLetter, DeadLetterChoice, DeadLetterCount, DeadLetterList, HookTaken, Publish,
    Published, Replay, Replayed, Rollback, StateChange, StateDiff, StateKey, StateKeyList,
    StateVersion, StateVersionList, StateWritten,
};
pub use transition::{Exit, SlotFate, Transition, TransitionKind, TransitionList};
pub use upgrade::{DataCheck, DataFile, UpgradeBegun, UpgradeRequest};

/// A point in time as it travels: RFC 3339, in UTC.
pub type Time = jiff::Timestamp;

//! The pure core of the supervisor: it decides, and does nothing else.
//!
//! Everything outside reaches it as an [`Event`] together with the [`Now`] at
//! which it happened; everything it wants done leaves it as a list of
//! [`Action`]s. It has no clock, no IO, no async runtime and no `unsafe`, so a
//! seed and a list of events replay exactly.
#![forbid(unsafe_code)]

mod agent;
mod gates;
mod random;

pub mod action;
pub mod clock;
pub mod deadline;
pub mod death;
pub mod event;
pub mod fleet;
pub mod halt;
pub mod id;
pub mod image;
pub mod memory;
pub mod models;
pub mod name;
pub mod notification;
pub mod order;
pub mod plan;
pub mod record;
pub mod redact;
pub mod refusal;
pub mod restart;
pub mod run;
pub mod sandbox;
pub mod slots;
pub mod spec;
pub mod status;

pub use action::{Action, Announcement, Answer};
pub use clock::{Mono, Now, Wall};
pub use deadline::Why;
pub use death::{Cause, ExitReport, ExitStatus, NoProgress, SpawnError, SpawnStage};
pub use event::{Command, Event, Fact};
pub use fleet::Fleet;
pub use halt::{Halt, HaltChange, HaltLevel, KillSwitch};
pub use id::{Generation, InstanceId, RunId, Ticket};
pub use image::Image;
pub use memory::Inheritance;
pub use models::{CallFailure, CallId, GateStage, ModelCall, ProviderName, RequestHash};
pub use name::AgentName;
pub use order::{Hook, Order, ProbeKind, ProbeOutcome, SelfCheck};
pub use record::{Durability, Record, RecordId};
pub use refusal::Refusal;
pub use run::{Run, RunOutcome, RunPhase, Trigger, WorkOutcome};
pub use spec::{AgentSpec, FleetSpec};
pub use status::{AgentStatus, PublicState, Reason};

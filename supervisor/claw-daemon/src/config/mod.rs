//! The fleet file: read, checked, and turned into a [`claw_core::FleetSpec`].
//!
//! ```text
//! text ─ parse ─► tree ─ include, merge, defaults ─► tree ─ interpolate ─► tree ─ readers ─► spec
//! ```
//!
//! A tree knows where each of its keys and values was written. The readers walk it section by
//! section, report what they cannot use and go on, so that all problems are shown at once. Which
//! keys there are stands in the tables of `keys*.rs`, and nowhere else.

mod agent;
mod apart;
mod build;
mod confine;
mod container;
mod container_network;
mod delivery;
mod depends;
mod diagnostic;
mod dotenv;
mod environment;
mod fleet;
mod free;
mod fuzz;
mod health;
mod hide;
mod include;
mod inside;
mod interpolate;
mod item;
mod keys;
mod keys_agent;
mod keys_container;
mod keys_events;
mod keys_health;
mod keys_life;
mod keys_llm;
mod keys_sandbox;
mod launch;
mod limits;
mod llm;
mod load;
mod merge;
mod narrow;
mod parse;
mod python;
mod reader;
mod render;
mod replicas;
mod resolved;
mod restart;
mod sandbox;
mod sandboxes;
mod schedule;
mod schema;
mod section;
mod source;
mod supervisor;
mod syntax;
mod tree;
mod value;
mod variables;
mod volumes;
mod webhook;
mod worker;

pub(crate) use container::user_id;
pub use delivery::Delivery;
pub use diagnostic::{Code, Diagnostic, Diagnostics, Place, Problem, Severity};
pub use environment::{Environment, Privilege, ProviderKeys};
pub use fuzz::fuzz;
pub use llm::{LlmConfig, MODELS_PORT, Unpriced};
pub use load::{Loaded, data_dir_of, load, load_str};
pub use render::Style;
pub use replicas::{Replica, Replicas};
pub use schedule::{DeclaredTiming, declared_schedule};
pub use schema::schema;
pub use supervisor::{Lockdown, OnExit, Reload, SupervisorConfig};
pub use value::parse_duration;
pub use webhook::{Webhook, WebhookTarget};
pub use worker::{KeyPattern, Managed, ReadinessCheck, Scheduled, WorkerConfig};

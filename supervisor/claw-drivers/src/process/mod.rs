//! Agents as child processes.
//!
//! ```text
//!  ProcessDriver ──launch──► spawner (our executable, re-entered before any thread existed,
//!       ▲                       │      below a respawner that starts it again when it dies)
//!       │                       │ fork
//!       └───facts, requests──► shim, one per instance ──fork, exec──► agent and its tree
//!                               │                                      in cgroups of its own
//!                               ├─ writes the log, keeps the exit status
//!                               └─ survives the supervisor, waits for the next one
//! ```
//!
//! The supervisor is in no data path and is no agent's parent, so its death or upgrade is nothing
//! to an agent. What must be known after it stands in the instance directory; see `record`.
//!
//! A program that hosts a [`ProcessDriver`] begins its `main` with [`reenter`].

mod account;
mod cgroup;
mod cleanup;
mod config;
mod confine;
mod descriptors;
mod driver;
mod entry;
mod environment;
mod execute;
mod fork;
mod inspect;
mod instance;
mod launch;
mod learned;
mod link;
mod mute;
mod paths;
mod procfs;
mod protocol;
mod record;
mod recover;
mod respawn;
mod run_dir;
mod session;
mod shim;
mod signal;
mod spawner;
mod succession;
mod turn;
mod usage;
mod wire;

pub use cgroup::{Backend, Capabilities, CgroupChoice, Enforcement, KillMethod};
pub use config::{EgressChange, ProcessConfig, StartError, UID_RANGE};
pub use descriptors::close_on_exec;
pub use driver::ProcessDriver;
pub use entry::reenter;
pub use execute::Executed;
pub use link::LinkError;
pub use procfs::{boot_id, is_confined};
pub use succession::{Outcome, Successor};

pub(crate) use cgroup::usage_of_process;
pub(crate) use driver::Inner;
pub(crate) use execute::{Execution, Kind, connect, describe, execute};
pub(crate) use fork::{Forked, fork_apart};
pub(crate) use paths::{hash, log_dir, project as project_of};
pub(crate) use procfs::{ProcessIdentity, descendants};
pub(crate) use shim::reason;
pub(crate) use signal::{KILL, pause, send as send_signal};
pub(crate) use wire::ExecEnd;

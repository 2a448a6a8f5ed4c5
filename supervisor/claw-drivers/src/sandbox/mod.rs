//! Sandboxes of agents that are processes: what a machine can do, and doing it.
//!
//! ```text
//!  claw-core: plan(wish, abilities) ──► the supervisor works out a confinement
//!                                            │ with the launch
//!                                            ▼
//!  shim ──► keeper ──► the agent's process applies it to itself, then executes its program
//! ```
//!
//! Nothing here decides what an agent gets, and nothing is left out silently: a step that fails is
//! a start that fails.

mod calls;
mod causes;
mod confine;
mod confinement;
mod count;
mod disk;
mod fault;
mod filter;
mod hidden;
mod learn;
mod listener;
mod lockdown;
mod mount;
pub(crate) mod network;
pub(crate) mod privileges;
mod probe;
mod root_dir;
mod rules;
mod system;
pub(crate) mod trial;
mod users;

pub use learn::{LearnedCall, Verdict, merged};
pub use lockdown::lock_down;
pub use network::{Captured, Listeners};
pub use probe::probe;

pub(crate) use causes::setting_against_namespaces;
pub(crate) use confine::{Egress, NOTIFY, Notify, Request, confine};
pub(crate) use confinement::{Confinement, Filter, Guest, Namespaces, Network, Walls};
pub(crate) use fault::Fault;
pub(crate) use filter::install;
pub(crate) use learn::Lessons;
pub(crate) use listener::{Listening, answer, can_go_on, take_over};
pub(crate) use network::{Ports, Sockets, Taken, proxy_variables};
pub(crate) use probe::TRIAL;
pub(crate) use root_dir::{Sources, enter};
pub(crate) use rules::apply;
pub(crate) use system::{HOME, System, USER};
pub(crate) use users::AgentUsers;

/// Whether a name is one of a system call that a fleet file may allow beside those of the list.
#[must_use]
pub fn is_system_call(name: &str) -> bool {
    calls::number(name).is_some()
}

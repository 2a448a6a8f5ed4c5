//! A fleet under the real supervisor, in a folder of its own, watched from outside.
//!
//! ```text
//!  Fleet ── writes openclaw.yaml, starts and kills `clawctl up`
//!    ├── api       asks over the control socket
//!    ├── command   runs `clawctl` as a user would
//!    ├── process   finds every process of the fleet by a mark in its environment
//!    └── patience  waits for conditions, with a bound
//! ```
//!
//! A fleet that goes out of scope is ended in order, and must leave no process behind.

mod api;
mod command;
mod configuration;
mod engine;
mod folder;
mod history;
mod observed;
mod patience;
mod process;
mod registry;
mod remains;
mod supervisor;

pub(crate) use api::Api;
pub(crate) use command::{Ran, clawctl};
pub(crate) use configuration::{agent, steps};
pub(crate) use engine::{Engine, IMAGE};
pub(crate) use folder::{free_port, program, root};
pub(crate) use patience::{PATIENCE, Waited, holds_for, until, within};
pub(crate) use process::Process;
pub(crate) use registry::{Access, Registry};
pub(crate) use supervisor::Fleet;

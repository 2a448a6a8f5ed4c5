//! The shim: one small process per instance, between the supervisor and the agent.
//!
//! ```text
//!            Starting ──exec succeeds──► Running ──main exits──► Ending ──tree empty──► exit
//!               │                                                  │
//!               └──exec fails──► report, exit                      ├ stop signal to what is left
//!                                                                  └ after a while: kill the tree
//! ```
//!
//! It is the agent's parent and the subreaper of its tree, the only writer of the agent's log, the
//! only reader of its notifications, and the keeper of its exit status. It waits for nobody: a
//! supervisor that is slow, dead or replaced finds out by asking again.

mod child;
mod command;
mod confined;
mod connect;
mod deadline;
mod exec;
mod farewell;
mod guest;
mod keeper;
mod learner;
mod main_process;
mod notify;
mod output;
mod peer;
mod prepare;
mod session;
mod tree;
mod watch;

pub(super) use command::run_command;
pub(super) use connect::connect;
pub(crate) use exec::{DEFAULT_PATH, reason};
pub(super) use session::run_session;
pub(super) use watch::run;

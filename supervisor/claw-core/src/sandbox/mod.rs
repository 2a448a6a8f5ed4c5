//! What of a sandbox a machine can do, and what follows from what it cannot.
//!
//! The drivers find out once what the machine can do; here it is decided, without asking
//! anything, which layers an agent gets or why it is not started.

mod ability;
mod count;
mod models;
mod plan;
mod shortfall;

pub use ability::{Abilities, Ability, Lack, Privilege};
pub use count::{UserOf, counts_processes};
pub use models::let_call_models;
pub use plan::{Layer, Level, Loss, Plan, plan};
pub use shortfall::{Need, Shortfall};

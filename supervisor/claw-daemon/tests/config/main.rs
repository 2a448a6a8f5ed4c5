//! Fleet files: what they become, what they draw in, and what is said about those that are refused.

mod broken;
mod containers;
mod files;
mod fleets;
mod fuzz;
mod processes;

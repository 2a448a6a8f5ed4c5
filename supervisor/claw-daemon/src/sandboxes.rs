//! Starts the sandboxes of the supervisor.

use std::path::Path;

use claw_drivers::container::pool::{SandboxConfig, Sandboxes};

/// Sandboxes on the engine of this machine. No engine is asked before there is one in the fleet
/// file.
pub(crate) fn start(data_dir: &Path) -> Sandboxes {
    Sandboxes::start(SandboxConfig {
        engine: None,
        data_dir: data_dir.to_owned(),
    })
}

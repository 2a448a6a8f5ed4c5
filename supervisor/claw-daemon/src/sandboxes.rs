//! Starts the sandboxes of the supervisor.

use std::path::Path;

use claw_drivers::container::pool::{SandboxConfig, Sandboxes};

/// Sandboxes on the engine of the fleet file, or else of this machine. None is asked before there
/// is a sandbox in the file.
pub(crate) fn start(data_dir: &Path, engine: Option<String>) -> Sandboxes {
    Sandboxes::start(SandboxConfig {
        engine,
        data_dir: data_dir.to_owned(),
    })
}

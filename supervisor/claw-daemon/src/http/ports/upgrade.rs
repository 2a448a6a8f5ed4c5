//! What the API asks of upgrades.

use std::path::PathBuf;
use std::time::Duration;

use claw_core::SpawnError;

/// What is to take the place of this supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeQuestion {
    /// The executable.
    pub binary: PathBuf,
    /// How long it may take until it is ready.
    pub patience: Duration,
}

/// Why this supervisor goes on as it is.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeRefusal {
    /// A service manager watches the process.
    #[error(
        "the supervisor runs as a service: put the new executable in the place of the old one, then \
         `systemctl restart` the unit; agents go on"
    )]
    Service,
    /// Somebody else watches the process.
    #[error(
        "the supervisor runs in the foreground, and whoever started it would take another process for \
         its end: `clawctl down --keep`, then start `{} up` where this one ran; agents go on", binary.display()
    )]
    Foreground {
        /// What was to take its place.
        binary: PathBuf,
    },
    /// It is done already.
    #[error("an upgrade is under way")]
    UnderWay,
    /// The executable is none, or not ours.
    #[error("{} is not a clawctl that can take over: {detail}", binary.display())]
    NotOurs {
        /// Which.
        binary: PathBuf,
        /// What it did when it was asked.
        detail: String,
    },
    /// The executable cannot read our data.
    #[error(
        "{} is of version {version}, which understands {} up to version {known}; the file has version \
         {found}: use a newer executable, or restore the backup made before the last upgrade",
        binary.display(), file.display()
    )]
    TooOld {
        /// Which.
        binary: PathBuf,
        /// Its version.
        version: String,
        /// What it cannot read.
        file: PathBuf,
        /// The version of that.
        found: i64,
        /// The newest that it understands.
        known: i64,
    },
    /// Nobody can start the executable when we have ended.
    #[error("nothing has changed: {}", .0.detail)]
    Spawn(SpawnError),
}

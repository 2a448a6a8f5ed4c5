//! Another executable in place of the supervisor's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to take the place of the running supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// The executable, an absolute path.
    #[schema(value_type = String)]
    pub binary: PathBuf,
    /// Seconds that it may take until it is ready, 1 to 600; 30 if nothing is said. The way
    /// back may take a minute at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// An upgrade that has begun: the supervisor is ending, its agents go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeBegun {
    /// The version of the executable.
    pub version: String,
    /// Where it is written, as JSON, what the upgrade came to.
    #[schema(value_type = String)]
    pub outcome: PathBuf,
    /// The databases that the new supervisor brings to a newer version. The old one cannot read
    /// them after that.
    #[schema(value_type = Vec<String>)]
    pub migrates: Vec<PathBuf>,
}

/// What an executable says of a data directory: the output of `clawctl check-data DIR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataCheck {
    /// Always [`DataCheck::PROGRAM`].
    pub program: String,
    /// The version of the executable.
    pub version: String,
    /// The databases that are there.
    pub files: Vec<DataFile>,
}

/// A database, and how far it is understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub found: i64,
    /// The newest version that the executable understands.
    pub known: i64,
}

impl DataCheck {
    /// What tells our executables from others.
    pub const PROGRAM: &str = "clawctl";
}

//! The container engine, as health and `clawctl doctor` tell of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The container engine of agents with an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Engine {
    /// It answers.
    Reachable(EngineReport),
    /// There is none, it does not answer, or it cannot be used.
    Unreachable {
        /// Why, with its address.
        detail: String,
    },
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "two independent answers of the engine, passed on as they came"
)]
pub struct EngineReport {
    /// Where it listens, as in `DOCKER_HOST`.
    pub address: String,
    /// `Docker` or `Podman`.
    pub name: String,
    /// Its own version, such as `20.10.24`.
    pub version: String,
    /// The newest API version that it speaks, such as `1.41`.
    pub api_version: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Where images are kept, such as `overlay2`.
    pub storage_driver: String,
    /// Whether containers survive its restart.
    pub live_restore: bool,
    /// Whether it runs without root.
    pub rootless: bool,
    /// What it lacks, in sentences.
    pub warnings: Vec<String>,
}

impl From<Result<claw_drivers::container::EngineReport, claw_drivers::container::EngineError>>
    for Engine
{
    fn from(
        answer: Result<claw_drivers::container::EngineReport, claw_drivers::container::EngineError>,
    ) -> Self {
        match answer {
            Ok(report) => Self::Reachable(report.into()),
            Err(error) => Self::Unreachable {
                detail: error.to_string(),
            },
        }
    }
}

impl From<claw_drivers::container::EngineReport> for EngineReport {
    fn from(report: claw_drivers::container::EngineReport) -> Self {
        let mut warnings = report.warnings;
        // Containers of Podman have no daemon to survive.
        if !report.live_restore && report.name == "Docker" {
            warnings.push(LIVE_RESTORE.to_owned());
        }
        Self {
            address: report.address,
            name: report.name,
            version: report.version,
            api_version: report.api_version,
            cgroup_version: report.cgroup_version,
            storage_driver: report.storage_driver,
            live_restore: report.live_restore,
            rootless: report.rootless,
            warnings,
        }
    }
}

const LIVE_RESTORE: &str = "containers end when it is restarted; write `\"live-restore\": true` into /etc/docker/daemon.json to keep them";

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reachable(report) => report.fmt(f),
            Self::Unreachable { detail } => write!(f, "engine       none: {detail}"),
        }
    }
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rootless = if self.rootless { ", without root" } else { "" };
        writeln!(f, "engine       {} {}{rootless}", self.name, self.version)?;
        writeln!(f, "  address    {}", self.address)?;
        writeln!(f, "  api        {}", self.api_version)?;
        writeln!(f, "  cgroups    v{}", self.cgroup_version)?;
        write!(f, "  storage    {}", self.storage_driver)?;
        for warning in &self.warnings {
            write!(f, "\n  note       {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str) -> claw_drivers::container::EngineReport {
        claw_drivers::container::EngineReport {
            address: "unix:///e.sock".to_owned(),
            name: name.to_owned(),
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            cgroup_version: "1".to_owned(),
            storage_driver: "overlay2".to_owned(),
            live_restore: false,
            rootless: false,
            warnings: vec!["no swap limit support".to_owned()],
        }
    }

    #[test]
    fn only_a_docker_without_live_restore_is_told_to_have_it() {
        let warnings = |report| EngineReport::from(report).warnings.len();
        let with = claw_drivers::container::EngineReport {
            live_restore: true,
            ..report("Docker")
        };
        assert_eq!(warnings(report("Docker")), 2);
        assert_eq!(warnings(with), 1);
        assert_eq!(warnings(report("Podman")), 1);
    }

    #[test]
    fn it_is_told_by_its_state() {
        let json = serde_json::to_value(Engine::Reachable(report("Docker").into())).unwrap();
        assert_eq!(
            (&json["state"], &json["version"]),
            (&"reachable".into(), &"20.10.24".into())
        );
        let detail = "there is none".to_owned();
        let json = serde_json::to_value(Engine::Unreachable { detail }).unwrap();
        assert_eq!(json["state"], "unreachable");
    }
}

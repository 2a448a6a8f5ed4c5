//! The connection to the engine, made when it is first needed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::models::SystemVersion;
use bollard::{ClientVersion, Docker};

use super::address;
use super::fault::EngineError;
use crate::container::lock;

/// The oldest API that has everything that is used.
const OLDEST: (usize, usize) = (1, 41);

/// The newest API that is spoken; an older engine is met with its own.
const NEWEST: &ClientVersion = bollard::API_DEFAULT_VERSION;

/// The library's own limit for the begin of an answer. Ours are shorter, but for the ones that
/// cannot have any: a pull answers when its registry has.
const LIBRARY_LIMIT_SECONDS: u64 = 1800;

/// For questions that an engine answers from memory. A machine that is busy may take its time.
pub(super) const QUICK: Duration = Duration::from_secs(5);

/// For work: creating, starting, removing.
pub(super) const SLOW: Duration = Duration::from_secs(60);

/// For a report that somebody waits for.
const REPORT: Duration = Duration::from_secs(2);

/// The engine, whether it is there or not.
#[derive(Debug)]
pub(super) struct Engine {
    configured: Option<String>,
    client: Mutex<Option<Arc<Client>>>,
}

/// A connection that was made once, to an engine of a known version.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) docker: Docker,
    pub(super) address: String,
    pub(super) make: Make,
}

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Docker,
    Podman,
}

/// What the engine at this address is, as [`ContainerConfig::engine`](super::ContainerConfig::engine)
/// names it, without a driver. Takes some seconds at most.
///
/// # Errors
///
/// There is none, it does not answer, or it cannot be used.
pub async fn report(address: Option<String>) -> Result<EngineReport, EngineError> {
    Engine::new(address).report().await
}

impl Engine {
    pub(super) const fn new(configured: Option<String>) -> Self {
        Self {
            configured,
            client: Mutex::new(None),
        }
    }

    /// The connection; finds out the engine's version if nobody has yet.
    pub(super) async fn client(&self) -> Result<Arc<Client>, EngineError> {
        if let Some(known) = lock(&self.client).clone() {
            return Ok(known);
        }
        let client = Arc::new(self.connect(QUICK).await?.0);
        *lock(&self.client) = Some(Arc::clone(&client));
        Ok(client)
    }

    /// The engine may come back as another version.
    pub(super) fn forget(&self) {
        *lock(&self.client) = None;
    }

    async fn connect(&self, limit: Duration) -> Result<(Client, SystemVersion), EngineError> {
        let address = address::resolve(self.configured.as_deref());
        let path = address::socket(&address).ok_or_else(|| EngineError::Address {
            address: address.clone(),
        })?;
        let path = path.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, LIBRARY_LIMIT_SECONDS, NEWEST)
            .map_err(|error| EngineError::of(&address, error))?;
        let asked = within(&address, limit, docker.negotiate_version()).await?;
        let version = within(&address, limit, asked.version()).await?;
        if !is_new_enough(version.api_version.as_deref().unwrap_or_default()) {
            let api = version.api_version.unwrap_or_default();
            return Err(EngineError::TooOld { address, api });
        }
        let client = Client {
            docker: asked,
            make: make(&version),
            address,
        };
        Ok((client, version))
    }

    /// What it is and what it can do. Asks anew each time, and takes four seconds at most.
    pub(super) async fn report(&self) -> Result<EngineReport, EngineError> {
        let (client, version) = self.connect(REPORT).await?;
        let info = client.within(REPORT, client.docker.info()).await?;
        let options = info.security_options.unwrap_or_default();
        Ok(EngineReport {
            address: client.address,
            name: match client.make {
                Make::Docker => "Docker".to_owned(),
                Make::Podman => "Podman".to_owned(),
            },
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            // Engines older than version 2 of cgroups do not say which they use.
            cgroup_version: info
                .cgroup_version
                .map(|version| version.to_string())
                .filter(|version| !version.is_empty())
                .unwrap_or_else(|| "1".to_owned()),
            storage_driver: info.driver.unwrap_or_default(),
            live_restore: info.live_restore_enabled.unwrap_or(false),
            rootless: options.iter().any(|option| option.contains("rootless")),
            warnings: info.warnings.unwrap_or_default(),
        })
    }
}

impl Client {
    /// Makes a request that may take so long.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        within(&self.address, limit, call).await
    }

    /// An error of a request without a limit, in our words.
    pub(super) fn fault(&self, error: bollard::errors::Error) -> EngineError {
        EngineError::of(&self.address, error)
    }
}

async fn within<T>(
    address: &str,
    limit: Duration,
    call: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| EngineError::of(address, error)),
        Err(_elapsed) => Err(EngineError::Silent {
            address: address.to_owned(),
            after: limit,
        }),
    }
}

fn is_new_enough(api: &str) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok());
    let mut parts = api.split('.');
    let found = (number(parts.next()), number(parts.next()));
    matches!(found, (Some(major), Some(minor)) if (major, minor) >= OLDEST)
}

fn make(version: &SystemVersion) -> Make {
    let components = version.components.iter().flatten();
    let podman = components
        .filter(|component| component.name.contains("Podman"))
        .count();
    if podman > 0 {
        Make::Podman
    } else {
        Make::Docker
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The newest API version it speaks, such as `1.41`.
    pub api_version: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Such as `overlay2`.
    pub storage_driver: String,
    /// Whether containers survive its restart.
    pub live_restore: bool,
    /// Whether it runs without root.
    pub rootless: bool,
    /// What it warns of, such as limits that the kernel cannot hold.
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("1.41") && is_new_enough("1.100") && is_new_enough("2.0"));
        assert!(!is_new_enough("1.40") && !is_new_enough("1.5") && !is_new_enough(""));
    }
}

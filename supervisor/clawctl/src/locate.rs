//! Finds the fleet file and the supervisor that runs it.

use std::path::{Path, PathBuf};

use claw_daemon::api::routes;
use claw_daemon::config::{self, Environment};

use crate::args::Global;
use crate::exit::{Exit, Failure};

/// The name of a fleet file.
pub(crate) const FLEET_FILE: &str = "openclaw.yaml";

/// Where a supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Its unix socket.
    Socket(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// The fleet file named, or that of this folder or the nearest above.
///
/// # Errors
///
/// There is none.
pub(crate) fn fleet_file(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(file) = &global.file {
        return Ok(file.clone());
    }
    let here = std::env::current_dir()?;
    let found = here
        .ancestors()
        .map(|folder| folder.join(FLEET_FILE))
        .find(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::new(
            Exit::InvalidConfig,
            format!("there is no {FLEET_FILE} in {} or above", here.display()),
        )
        .hint("name one with `--file FILE`")
    })
}

/// The supervisor: `--host`, else the socket of the project this folder belongs to.
///
/// # Errors
///
/// `--host` cannot be read, or there is no project.
pub(crate) fn supervisor(global: &Global) -> Result<Target, Failure> {
    match &global.host {
        Some(host) => parse_host(host),
        None => Ok(Target::Socket(socket_of(&fleet_file(global)?))),
    }
}

/// The control socket of the project of `file`.
pub(crate) fn socket_of(file: &Path) -> PathBuf {
    config::data_dir_of(file, &Environment::variables_of_process()).join(routes::SOCKET_NAME)
}

fn parse_host(host: &str) -> Result<Target, Failure> {
    if let Some(path) = host.strip_prefix("unix:") {
        return Ok(Target::Socket(PathBuf::from(path.trim_start_matches("//"))));
    }
    let address = host
        .strip_prefix("http://")
        .unwrap_or(host)
        .trim_end_matches('/');
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() || address.contains("://") {
        return Err(Failure::new(
            Exit::Usage,
            format!("`{host}` is not an address of a supervisor"),
        )
        .hint("use `http://127.0.0.1:8400` or `unix:/path/to/control.sock`"));
    }
    Ok(Target::Tcp(address.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_users_write_them() {
        let tcp = |text: &str| Target::Tcp(text.to_owned());
        assert_eq!(
            parse_host("http://127.0.0.1:8400/").unwrap(),
            tcp("127.0.0.1:8400")
        );
        assert_eq!(parse_host("localhost:1").unwrap(), tcp("localhost:1"));
        let socket = Target::Socket(PathBuf::from("/run/x.sock"));
        assert_eq!(parse_host("unix:/run/x.sock").unwrap(), socket);
        assert_eq!(parse_host("unix:///run/x.sock").unwrap(), socket);
    }

    #[test]
    fn other_hosts_are_usage_errors() {
        for bad in ["", "localhost", "https://localhost:8400", "localhost:port"] {
            assert_eq!(
                parse_host(bad).map_err(|failure| failure.exit),
                Err(Exit::Usage),
                "{bad}"
            );
        }
    }
}

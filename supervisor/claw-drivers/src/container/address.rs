//! Where the engine listens.

use std::path::{Path, PathBuf};

/// Docker's own socket; also what is named when there is none at all.
const DOCKER: &str = "/var/run/docker.sock";

/// An address as in `DOCKER_HOST`, resolved when it is needed: the engine may be installed, or
/// started by its socket, after the supervisor.
pub(super) fn resolve(configured: Option<&str>) -> String {
    let given = configured.map(str::to_owned);
    given
        .or_else(|| variable("DOCKER_HOST"))
        .unwrap_or_else(|| {
            let found = usual().into_iter().find(|path| path.exists());
            let path = found.unwrap_or_else(|| PathBuf::from(DOCKER));
            format!("unix://{}", path.display())
        })
}

/// The path of a socket; `None` for an address of another kind.
pub(super) fn socket(address: &str) -> Option<&Path> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    path.starts_with('/').then(|| Path::new(path))
}

fn usual() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(DOCKER)];
    if let Some(dir) = variable("XDG_RUNTIME_DIR") {
        found.push(Path::new(&dir).join("docker.sock"));
        found.push(Path::new(&dir).join("podman/podman.sock"));
    }
    found.push(PathBuf::from("/run/podman/podman.sock"));
    found
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_comes_first_and_only_sockets_have_a_path() {
        assert_eq!(resolve(Some("unix:///x/y.sock")), "unix:///x/y.sock");
        assert_eq!(socket("unix:///x/y.sock"), Some(Path::new("/x/y.sock")));
        assert_eq!(socket("/x/y.sock"), Some(Path::new("/x/y.sock")));
        assert_eq!(socket("tcp://127.0.0.1:2375"), None);
    }
}

//! The address of a container engine.

use super::Rejected;

/// Reads `unix:///PATH`.
pub(in crate::config) fn address(text: &str) -> Result<String, Rejected> {
    let form = "write `unix:///var/run/docker.sock`, or the path of another socket";
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') && path.len() > 1 => Ok(text.to_owned()),
        Some(("unix", _)) => Err(Rejected::new("its path is not absolute").help(form)),
        None if text.starts_with('/') => {
            Err(Rejected::new("it has no scheme").help(format!("did you mean `unix://{text}`?")))
        }
        Some(_) | None => Err(Rejected::new("only unix sockets are spoken to").help(form)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unix_sockets_are_spoken_to() {
        assert!(address("unix:///run/podman/podman.sock").is_ok());
        for text in [
            "",
            "unix://",
            "unix:///",
            "unix://x",
            "/x",
            "tcp://127.0.0.1:2375",
            "ssh://h",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}

//! What the engine's errors mean for a start, in words that name what is wrong.

use std::path::Path;

use claw_core::{AgentSpec, SpawnError, SpawnStage};

use super::auth;
use super::credentials::HelperError;
use super::fault::EngineError;

/// Why an image could not be had, perhaps because a helper gave no credentials.
pub(super) fn image(image: &str, error: &EngineError, helper: Option<&HelperError>) -> SpawnError {
    let registry = auth::registry(image);
    let said = error.to_string();
    let text = said.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let hint = helper.map_or_else(String::new, |helper| format!("; {helper}"));
    // A helper that failed may do better the next time, and one that is not there will not.
    let denied = match helper {
        Some(HelperError::Failed { .. }) => SpawnStage::Engine,
        Some(HelperError::Missing { .. }) | None => SpawnStage::Image,
    };
    let (stage, detail) = if !matches!(error, EngineError::Refused { .. }) {
        (SpawnStage::Engine, said)
    } else if has(&[
        "invalid reference",
        "invalid repository",
        "repository name must",
    ]) {
        let detail = format!("`{image}` is no name of an image: {said}");
        (SpawnStage::Image, detail)
    } else if has(&["unauthorized", "no basic auth", "access denied", "denied:"]) {
        let detail = format!(
            "there is no image `{image}`, or {registry} does not give it to us: {said}{hint}"
        );
        (denied, detail)
    } else if has(&[
        "manifest unknown",
        "not found",
        "no such image",
        "no matching manifest",
    ]) && error.status() < 500
        || has(&["manifest unknown", "manifest for"])
    {
        let detail = format!("{registry} has no image `{image}` for this machine: {said}");
        (SpawnStage::Image, detail)
    } else {
        let detail = format!("the image `{image}` could not be fetched: {said}{hint}");
        (SpawnStage::Engine, detail)
    };
    SpawnError {
        stage,
        errno: 0,
        detail,
    }
}

/// Why a container could not be created or started.
pub(super) fn start(spec: &AgentSpec, program: &str, error: &EngineError) -> SpawnError {
    let said = tail(&error.to_string());
    let text = said.to_lowercase();
    let has = |part: &str| text.contains(part);
    let (stage, errno, detail) = if !matches!(error, EngineError::Refused { .. }) {
        (SpawnStage::Engine, 0, said)
    } else if has("no such image") {
        (SpawnStage::Image, 0, said)
    } else if has("bind source path does not exist") || has("invalid mount") || has("mounting") {
        (
            SpawnStage::Prepare,
            0,
            format!("a mount cannot be made: {said}{}", in_container()),
        )
    } else if has("port is already allocated") || has("address already in use") {
        let detail = format!("a port of the host is taken: {said}");
        (SpawnStage::Prepare, 0, detail)
    } else if has("unable to find user")
        || has("unable to find group")
        || has("no matching entries")
    {
        let user = spec.launch.user.as_deref().unwrap_or("1000:1000");
        let detail = format!("the image has no user `{user}`: {said}");
        (SpawnStage::User, 0, detail)
    } else if has("chdir") || has("working directory") || has("working dir") {
        let detail = format!("the working directory cannot be entered: {said}");
        (SpawnStage::WorkingDir, 0, detail)
    } else if has("no command specified") {
        let detail =
            "the image has no program of its own: say which to run in `command`".to_owned();
        (SpawnStage::Exec, 0, detail)
    } else if has("executable file not found") || has("no such file or directory") {
        let errno = nix::libc::ENOENT;
        let detail = format!("cannot execute `{program}` in the image: no such file ({said})");
        (SpawnStage::Exec, errno, detail)
    } else if has("permission denied") || has("exec format error") || has("is a directory") {
        let errno = nix::libc::EACCES;
        let detail = format!("cannot execute `{program}` in the image: {said}");
        (SpawnStage::Exec, errno, detail)
    } else if error.status() >= 500 {
        (
            SpawnStage::Engine,
            0,
            format!("the container engine failed: {said}"),
        )
    } else {
        (
            SpawnStage::Prepare,
            0,
            format!("the container engine refused: {said}"),
        )
    };
    SpawnError {
        stage,
        errno,
        detail,
    }
}

/// To the engine, every path is one of its own machine.
fn in_container() -> &'static str {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if marks.iter().any(|mark| Path::new(mark).exists()) {
        "; the supervisor runs in a container itself, so its folder has to be mounted into that \
         under the path that it has on the host"
    } else {
        ""
    }
}

/// The end of a chain of causes, which is the part that says what is wrong.
fn tail(text: &str) -> String {
    let marks = [
        "unable to start container process: ",
        "starting container process caused: ",
        "OCI runtime create failed: ",
    ];
    let found = marks.iter().find_map(|mark| {
        let (_, rest) = text.split_once(mark)?;
        Some(rest.trim_end_matches(": unknown").to_owned())
    });
    found.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, message: &str) -> EngineError {
        EngineError::Refused {
            status,
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_registry_that_cannot_be_reached_says_nothing_about_the_image() {
        for (status, message, stage) in [
            (
                404,
                "manifest for a/b:1 not found: manifest unknown: manifest unknown",
                SpawnStage::Image,
            ),
            (
                0,
                "no matching manifest for linux/amd64 in the manifest list entries",
                SpawnStage::Image,
            ),
            (
                404,
                "pull access denied for a/b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                SpawnStage::Image,
            ),
            (400, "invalid reference format", SpawnStage::Image),
            (
                500,
                "Get \"https://ghcr.io/v2/\": dial tcp: lookup ghcr.io: no such host",
                SpawnStage::Engine,
            ),
            (
                500,
                "Get \"https://ghcr.io/v2/\": net/http: request canceled while waiting for connection",
                SpawnStage::Engine,
            ),
            (
                0,
                "toomanyrequests: You have reached your pull rate limit.",
                SpawnStage::Engine,
            ),
            (
                500,
                "error pulling image configuration: Get \"https://cdn/x\": 404 not found",
                SpawnStage::Engine,
            ),
        ] {
            let error = image("ghcr.io/a/b:1", &refused(status, message), None);
            assert_eq!(error.stage, stage, "{message}");
            assert!(error.detail.contains("ghcr.io/a/b:1"), "{error}");
        }
    }

    #[test]
    fn a_helper_that_failed_is_named_and_may_do_better() {
        let error = refused(500, "unauthorized: authentication required");
        let (program, server) = ("docker-credential-pass".to_owned(), "quay.io".to_owned());
        let helper = HelperError::Failed {
            program: program.clone(),
            server: server.clone(),
            why: "locked".to_owned(),
        };
        let told = image("quay.io/a/b:1", &error, Some(&helper));
        assert_eq!(told.stage, SpawnStage::Engine);
        assert!(told.detail.contains("docker-credential-pass"), "{told}");
        let helper = HelperError::Missing { program, server };
        let told = image("quay.io/a/b:1", &error, Some(&helper));
        assert_eq!(told.stage, SpawnStage::Image);
        assert!(told.detail.contains("not on PATH"), "{told}");
    }

    #[test]
    fn of_a_long_chain_the_end_is_told() {
        let said = "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"x\": executable file not found in $PATH: unknown";
        assert_eq!(
            tail(said),
            "exec: \"x\": executable file not found in $PATH"
        );
        assert_eq!(tail("driver failed"), "driver failed");
    }
}

//! What the engine's errors mean for a start, in words that name what is wrong.

use claw_core::{AgentSpec, SpawnError, SpawnStage};

use super::auth;
use super::fault::EngineError;

/// Why an image could not be had. `helper` has credentials that were not asked for.
pub(super) fn image(image: &str, error: &EngineError, helper: Option<&str>) -> SpawnError {
    let registry = auth::registry(image);
    let said = error.to_string();
    let text = said.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let hint = helper.map_or_else(String::new, |helper| {
        format!(
            "; the credentials for {registry} are kept by `{helper}`, which is not asked: fetch the \
             image with `docker pull {image}`, or put them into the configuration file"
        )
    });
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
        (SpawnStage::Image, detail)
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
            format!("a mount cannot be made: {said}"),
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

/// The end of a chain of causes, which is the part that says what is wrong.
fn tail(text: &str) -> String {
    let marks = [
        "starting container process caused: ",
        "OCI runtime create failed: ",
    ];
    let found = marks.iter().find_map(|mark| {
        let (_, rest) = text.split_once(mark)?;
        Some(rest.trim_end_matches(": unknown").to_owned())
    });
    found.unwrap_or_else(|| text.to_owned())
}

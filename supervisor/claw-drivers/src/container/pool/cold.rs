//! A command in a container of its own, made when it is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{AttachContainerOptionsBuilder, InspectContainerOptions};
use claw_core::ExitStatus;
use tokio::time::Instant;

use super::super::engine::QUICK;
use super::super::state::status;
use super::capture::Capture;
use super::command::Command;
use super::container::{NotReady, Sandbox};
use super::execute::{self, Attempt, Watched, cannot_start, kill, watch};
use super::housing::Housing;
use super::outcome::{Outcome, RunError, Temperature};
use super::spec::SandboxSpec;
use crate::process::KILL;

/// Between two looks whether a container whose output has ended has ended too.
const LOOK: Duration = Duration::from_millis(5);

/// How a container ended.
struct End {
    status: ExitStatus,
    out_of_memory: bool,
}

/// Makes a container for a command and runs it.
pub(super) async fn run(
    housing: &Arc<Housing>,
    name: &str,
    spec: &SandboxSpec,
    command: &Command,
) -> Result<Outcome, RunError> {
    if command.has_files() {
        return run_with_files(housing, name, spec, command).await;
    }
    let what = (command.program.as_slice(), command.variables());
    let sandbox = Sandbox::cold(housing, name, spec, what).await?;
    let client = &sandbox.client;
    let options = AttachContainerOptionsBuilder::new()
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    let attached = client.docker.attach_container(&sandbox.id, Some(options));
    let attached = client.within(QUICK, attached).await?;
    let begun = Instant::now();
    let deadline = begun + command.limit(spec);
    if let Err(error) = sandbox.start().await {
        if error.status() != 400 && !error.to_string().contains("exec") {
            return Err(error.into());
        }
        let said = error.to_string();
        return Ok(Outcome {
            status: cannot_start(&said),
            timed_out: false,
            out_of_memory: false,
            stdout: Vec::new(),
            stderr: format!("{said}\n").into_bytes(),
            truncated: false,
            duration: begun.elapsed(),
            temperature: Temperature::Cold,
            files: BTreeMap::new(),
        });
    }
    let mut capture = Capture::new(spec.max_output);
    let streams = (attached.output, attached.input);
    let end = match watch(streams, command, &mut capture, deadline).await {
        Watched::Ended => end_of(&sandbox, deadline).await?,
        Watched::OutOfTime => None,
        Watched::Broken(error) => return Err(client.fault(error).into()),
    };
    if end.is_none() {
        kill(&sandbox).await?;
    }
    Ok(Outcome {
        status: end
            .as_ref()
            .map_or(ExitStatus::Signal(KILL), |end| end.status),
        timed_out: end.is_none(),
        out_of_memory: end.is_some_and(|end| end.out_of_memory),
        stdout: capture.stdout,
        stderr: capture.stderr,
        truncated: capture.truncated,
        duration: begun.elapsed(),
        temperature: Temperature::Cold,
        files: BTreeMap::new(),
    })
}

/// Files go in before the command and come out after it, so its container has to wait as those
/// that are ready do.
async fn run_with_files(
    housing: &Arc<Housing>,
    name: &str,
    spec: &SandboxSpec,
    command: &Command,
) -> Result<Outcome, RunError> {
    let sandbox = match Sandbox::ready(housing, name, spec).await {
        Ok(sandbox) => sandbox,
        Err(NotReady::CannotWait) => {
            let detail = "files need an image with `sleep` and `tar`, and this one has no `sleep`";
            return Err(RunError::Unusable(detail.to_owned()));
        }
        Err(NotReady::Failed(error)) => return Err(error),
    };
    match execute::run(&sandbox, spec, command).await? {
        Attempt::Ran(outcome) => Ok(Outcome {
            temperature: Temperature::Cold,
            ..outcome
        }),
        Attempt::Gone => Err(RunError::Unusable(
            "somebody removed the container before the command was run".to_owned(),
        )),
    }
}

/// How a container ended whose output has; `None`: its time is over first.
async fn end_of(sandbox: &Sandbox, deadline: Instant) -> Result<Option<End>, RunError> {
    let client = &sandbox.client;
    loop {
        let asked = client
            .docker
            .inspect_container(&sandbox.id, None::<InspectContainerOptions>);
        let found = client.within(QUICK, asked).await?;
        let state = found.state.unwrap_or_default();
        if state.running == Some(false) {
            return Ok(Some(End {
                status: status(state.exit_code.unwrap_or(0)),
                out_of_memory: state.oom_killed.unwrap_or(false),
            }));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(LOOK).await;
    }
}

//! Probes of containers: commands inside, connections to their own loopback.

use std::sync::Arc;
use std::time::Instant;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use claw_core::spec::container::Network;
use claw_core::spec::{Check, Probe};
use claw_core::{AgentSpec, InstanceId, ProbeKind, ProbeOutcome};
use futures_util::StreamExt;

use super::driver::{Inner, RunningContainer};
use super::engine::{Client, QUICK};
use super::fault::EngineError;
use super::state;
use super::usage::is_inside;
use crate::probe::{self, Reach};
use crate::process::{KILL, descendants, describe, send_signal};

/// So much of the end of a command's output is told.
const OUTPUT_LIMIT: usize = 1024;

/// Makes a check.
pub(super) async fn run(
    inner: &Arc<Inner>,
    instance: &InstanceId,
    kind: ProbeKind,
    spec: &AgentSpec,
) -> ProbeOutcome {
    let probe = match probe::wanted(kind, spec) {
        Ok(probe) => probe,
        Err(outcome) => return outcome,
    };
    let Some(container) = inner.running(instance) else {
        return ProbeOutcome::Unknown("its container is not known to run".to_owned());
    };
    match &probe.check {
        Check::Exec { command } => execute(inner, &container, command, probe).await,
        Check::Http { host, .. } | Check::Tcp { host, .. } => {
            match reach(&container, host, spec, probe).await {
                Ok(reach) => probe::connect(probe, &reach).await,
                Err(why) => ProbeOutcome::Unknown(why),
            }
        }
        Check::Heartbeat => probe::heartbeat(),
    }
}

/// How a host of a check is reached: loopback is the container's own.
async fn reach(
    container: &RunningContainer,
    host: &str,
    spec: &AgentSpec,
    probe: &Probe,
) -> Result<Reach, String> {
    if !probe::is_loopback(host) {
        return Ok(Reach::Host);
    }
    let (pid, id, limit) = (container.pid, container.id.clone(), probe.timeout);
    let opened = tokio::task::spawn_blocking(move || {
        if !is_inside(pid, &id) {
            return Err("its processes are not on this machine".to_owned());
        }
        Reach::namespace(pid, limit).map_err(|error| error.to_string())
    });
    let why = match opened.await {
        Ok(Ok(reach)) => return Ok(reach),
        Ok(Err(why)) => why,
        Err(_ending) => "the supervisor is ending".to_owned(),
    };
    let bridged = spec.launch.container.as_ref();
    let hint = match bridged.map(|container| &container.network) {
        Some(Network::Bridge) => "publish the port and probe that, or use an exec probe",
        Some(Network::None | Network::Listed(_)) | None => "use an exec probe",
    };
    Err(format!(
        "the container's own network cannot be entered: {why}; run the supervisor as root, {hint}"
    ))
}

async fn execute(
    inner: &Arc<Inner>,
    container: &RunningContainer,
    command: &[String],
    probe: &Probe,
) -> ProbeOutcome {
    let client = match inner.engine.client().await {
        Ok(client) => client,
        Err(error) => return ProbeOutcome::Unknown(error.to_string()),
    };
    let begun = Instant::now();
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let asked = client.docker.create_exec(&container.id, options);
    let exec = match client.within(QUICK, asked).await {
        Ok(exec) => exec.id,
        // It is paused, it has ended, or the engine is away: nothing was checked.
        Err(error) => return ProbeOutcome::Unknown(error.to_string()),
    };
    let left = probe.timeout.saturating_sub(begun.elapsed());
    let mut output = Vec::new();
    match tokio::time::timeout(left, run_to_end(&client, &exec, &mut output)).await {
        Ok(Ok(Some(code))) => judge(code, &output),
        Ok(Ok(None)) => ProbeOutcome::Unknown("the engine does not say how it ended".to_owned()),
        Ok(Err(error)) if error.is_away() => ProbeOutcome::Unknown(error.to_string()),
        Ok(Err(error)) => ProbeOutcome::Failure(error.to_string()),
        Err(_elapsed) => {
            end(&client, &exec, container).await;
            probe::timed_out(probe.timeout, begun.elapsed())
        }
    }
}

fn judge(code: i64, output: &[u8]) -> ProbeOutcome {
    if code == 0 {
        return ProbeOutcome::Success;
    }
    let text = String::from_utf8_lossy(output);
    ProbeOutcome::Failure(describe(state::status(code), &text))
}

/// Runs a command that was prepared; its exit code.
async fn run_to_end(
    client: &Client,
    exec: &str,
    output: &mut Vec<u8>,
) -> Result<Option<i64>, EngineError> {
    let started = client
        .docker
        .start_exec(exec, Some(StartExecOptions::default()));
    let started = started.await.map_err(|error| client.fault(error))?;
    if let StartExecResults::Attached {
        output: mut stream, ..
    } = started
    {
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| client.fault(error))?;
            keep(output, &bytes(piece));
        }
    }
    let found = client
        .within(QUICK, client.docker.inspect_exec(exec))
        .await?;
    Ok(found.exit_code)
}

fn bytes(piece: LogOutput) -> Bytes {
    piece.into_bytes()
}

fn keep(output: &mut Vec<u8>, piece: &[u8]) {
    output.extend_from_slice(piece);
    let surplus = output.len().saturating_sub(OUTPUT_LIMIT);
    output.drain(..surplus);
}

/// Kills a command that takes too long, with what it started as far as that can be found: the
/// engine itself has no way to do it.
pub(super) async fn end(client: &Client, exec: &str, container: &RunningContainer) {
    for pid in processes_of(client, exec, container).await {
        send_signal(pid, KILL);
    }
}

/// A command and what it has started, as far as they are on this machine.
pub(super) async fn processes_of(
    client: &Client,
    exec: &str,
    container: &RunningContainer,
) -> Vec<i32> {
    let asked = client.docker.inspect_exec(exec);
    let found = client.within(QUICK, asked).await.ok();
    let Some(pid) = found.and_then(|found| i32::try_from(found.pid?).ok()) else {
        return Vec::new();
    };
    let id = container.id.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut all = descendants(pid);
        all.push(pid);
        all.retain(|pid| u32::try_from(*pid).is_ok_and(|number| is_inside(number, &id)));
        all
    });
    // Fails only when the runtime ends.
    looking.await.unwrap_or_default()
}

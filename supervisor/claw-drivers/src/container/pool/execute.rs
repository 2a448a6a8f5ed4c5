//! A command in a container that waits.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::KillContainerOptionsBuilder;
use claw_core::ExitStatus;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::super::engine::QUICK;
use super::super::fault::EngineError;
use super::super::state::status;
use super::super::usage::is_inside;
use super::capture::Capture;
use super::command::Command;
use super::container::Sandbox;
use super::files::{self, OutFile};
use super::outcome::{Outcome, RunError, Temperature};
use super::spec::{SandboxSpec, WORKING_DIR};
use crate::process::{KILL, usage_of_process};

/// Between two looks whether the engine knows the end of a command whose output has ended.
const LOOK: Duration = Duration::from_millis(3);

/// How long files may take on their way in, and on their way out.
const FILES_TIME: Duration = Duration::from_secs(30);

/// How much is kept of what `tar` says of files that it does not take.
const MOST_SAID: u64 = 4096;

/// The engine's words for a program that it cannot start, on the program's own output.
const CANNOT_START: &[u8] = b"OCI runtime exec failed";

/// Shells' code for a command that is there and cannot be executed.
const CODE_NOT_EXECUTABLE: u8 = 126;

/// Shells' code for a command that is not there.
const CODE_NOT_FOUND: u8 = 127;

pub(super) type Output =
    Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The command ran.
    Ran(Outcome),
    /// The container was not there any more; nothing has run.
    Gone,
}

/// Runs a command in a container that waits.
pub(super) async fn run(
    sandbox: &Sandbox,
    spec: &SandboxSpec,
    command: &Command,
) -> Result<Attempt, RunError> {
    if !command.files.is_empty() {
        let mut said = Capture::new(MOST_SAID);
        let deadline = Instant::now() + FILES_TIME;
        let unpacking = files::unpack(&command.files)?;
        match call(sandbox, &unpacking, &mut said, deadline).await? {
            Called::Gone => return Ok(Attempt::Gone),
            Called::Ended(ExitStatus::Code(0)) => {}
            Called::Ended(_) | Called::OutOfTime => return Err(not_unpacked(&said)),
        }
    }
    let begun = Instant::now();
    let mut capture = Capture::new(spec.max_output);
    let called = call(sandbox, command, &mut capture, begun + command.limit(spec)).await?;
    let ended = match called {
        Called::Gone => return Ok(Attempt::Gone),
        Called::Ended(status) => Some(status),
        Called::OutOfTime => None,
    };
    let duration = begun.elapsed();
    let files = match ended {
        Some(_) if !command.outputs.is_empty() => take_out(sandbox, &command.outputs).await?,
        Some(_) | None => BTreeMap::new(),
    };
    let mut outcome = Outcome {
        status: ended.unwrap_or(ExitStatus::Signal(KILL)),
        timed_out: ended.is_none(),
        out_of_memory: out_of_memory(sandbox).await,
        stdout: capture.stdout,
        stderr: capture.stderr,
        truncated: capture.truncated,
        duration,
        temperature: Temperature::Ready,
        files,
    };
    as_a_shell_says(&mut outcome);
    Ok(Attempt::Ran(outcome))
}

/// What became of one program in a container.
enum Called {
    Ended(ExitStatus),
    /// Everything in the container was killed.
    OutOfTime,
    /// The container was not there any more.
    Gone,
}

async fn call(
    sandbox: &Sandbox,
    command: &Command,
    capture: &mut Capture,
    deadline: Instant,
) -> Result<Called, RunError> {
    let client = &sandbox.client;
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.program.clone()),
        env: Some(command.variables()),
        working_dir: Some(WORKING_DIR.to_owned()),
        ..CreateExecOptions::default()
    };
    let created = client.docker.create_exec(&sandbox.id, options);
    let exec = match client.within(QUICK, created).await {
        Ok(exec) => exec.id,
        Err(error) if matches!(error.status(), 404 | 409) => return Ok(Called::Gone),
        Err(error) => return Err(error.into()),
    };
    let started = client
        .docker
        .start_exec(&exec, Some(StartExecOptions::default()));
    let StartExecResults::Attached { output, input } = client.within(QUICK, started).await? else {
        let detail = "the engine gave no output of the command".to_owned();
        return Err(RunError::Unusable(detail));
    };
    let ended = match watch((output, input), command, capture, deadline).await {
        Watched::Ended => ended_as(sandbox, &exec, deadline).await?,
        Watched::OutOfTime => None,
        Watched::Broken(error) => return Err(client.fault(error).into()),
    };
    if let Some(status) = ended {
        return Ok(Called::Ended(status));
    }
    kill(sandbox).await?;
    Ok(Called::OutOfTime)
}

fn not_unpacked(said: &Capture) -> RunError {
    let said = [said.stdout.as_slice(), &said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    RunError::Unusable(format!(
        "the files could not be put into it, with the `tar` of its image: {}",
        said.trim()
    ))
}

async fn take_out(
    sandbox: &Sandbox,
    outputs: &[String],
) -> Result<BTreeMap<String, OutFile>, RunError> {
    let mut packed = Capture::new(files::most_packed());
    let deadline = Instant::now() + FILES_TIME;
    let packing = files::pack(outputs);
    let called = call(sandbox, &packing, &mut packed, deadline).await?;
    // It ends with a fault when a file is not there, and packs the others all the same.
    let why = match called {
        Called::Ended(_) if !packed.stdout.starts_with(CANNOT_START) => {
            let cut = packed.truncated.then(files::too_much);
            let absent = cut.as_deref().unwrap_or(files::NO_SUCH_FILE);
            return Ok(files::read(&packed.stdout, absent, outputs));
        }
        Called::Ended(_) => "its image has no `tar`",
        Called::OutOfTime => "packing it took too long",
        Called::Gone => "the command has ended its sandbox",
    };
    let missing = |name: &String| (name.clone(), OutFile::Missing(why.to_owned()));
    Ok(outputs.iter().map(missing).collect())
}

/// Why nothing more comes of a command.
#[derive(Debug)]
pub(super) enum Watched {
    /// Its output has ended.
    Ended,
    /// Its time is over.
    OutOfTime,
    /// The engine hung up.
    Broken(bollard::errors::Error),
}

/// Feeds a command and takes what it writes, until its output ends or its time is over.
pub(super) async fn watch(
    (mut output, mut input): (Output, Input),
    command: &Command,
    capture: &mut Capture,
    deadline: Instant,
) -> Watched {
    let feeding = async move {
        // A command that does not read its input is none the worse for it.
        input.write_all(&command.stdin).await.ok();
        input.shutdown().await.ok();
        // Hanging up would end the output too.
        std::future::pending::<()>().await;
    };
    let reading = async {
        while let Some(piece) = output.next().await {
            match piece {
                Ok(piece) => capture.take(&piece),
                Err(error) => return Watched::Broken(error),
            }
        }
        Watched::Ended
    };
    tokio::select! {
        watched = reading => watched,
        () = feeding => Watched::OutOfTime,
        () = tokio::time::sleep_until(deadline) => Watched::OutOfTime,
    }
}

/// How a command ended whose output has; `None`: its time is over first, as when it has closed
/// its output and goes on.
async fn ended_as(
    sandbox: &Sandbox,
    exec: &str,
    deadline: Instant,
) -> Result<Option<ExitStatus>, RunError> {
    let client = &sandbox.client;
    loop {
        let asked = client.docker.inspect_exec(exec);
        let found = match client.within(QUICK, asked).await {
            Ok(found) => found,
            // The whole container has ended, and its command with it.
            Err(error) if error.status() == 404 => return Ok(Some(ExitStatus::Signal(KILL))),
            Err(error) => return Err(error.into()),
        };
        match (found.running, found.exit_code) {
            (Some(false), Some(code)) => return Ok(Some(status(code))),
            (_, _) if Instant::now() >= deadline => return Ok(None),
            (_, _) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Ends everything in the container, before its caller hears of it. An error: the engine is away,
/// and nobody knows whether it has ended.
pub(super) async fn kill(sandbox: &Sandbox) -> Result<(), EngineError> {
    let options = KillContainerOptionsBuilder::new().signal("KILL").build();
    let killing = sandbox
        .client
        .docker
        .kill_container(&sandbox.id, Some(options));
    match sandbox.client.within(QUICK, killing).await {
        Err(error) if error.is_away() => Err(error),
        Err(error) => {
            // It has ended already.
            tracing::debug!(container = sandbox.name, %error, "a sandbox was not killed");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the kernel has killed something in it for memory.
async fn out_of_memory(sandbox: &Sandbox) -> bool {
    let (pid, id) = (sandbox.pid, sandbox.id.clone());
    let read = tokio::task::spawn_blocking(move || {
        is_inside(pid, &id) && usage_of_process(pid).is_some_and(|group| group.oom_kills > 0)
    });
    // Fails only when the runtime ends.
    read.await.unwrap_or(false)
}

/// A program that cannot be started ends as in a shell, with the reason on its standard error.
fn as_a_shell_says(outcome: &mut Outcome) {
    let could_not = [
        ExitStatus::Code(CODE_NOT_EXECUTABLE),
        ExitStatus::Code(CODE_NOT_FOUND),
    ];
    if !could_not.contains(&outcome.status) || !outcome.stdout.starts_with(CANNOT_START) {
        return;
    }
    outcome.stderr = std::mem::take(&mut outcome.stdout);
    outcome.status = cannot_start(&String::from_utf8_lossy(&outcome.stderr));
}

/// The code for a program that could not be started.
pub(super) fn cannot_start(said: &str) -> ExitStatus {
    let missing = ["executable file not found", "no such file or directory"];
    if missing.iter().any(|part| said.contains(part)) {
        ExitStatus::Code(CODE_NOT_FOUND)
    } else {
        ExitStatus::Code(CODE_NOT_EXECUTABLE)
    }
}

//! Opening a session in a container that runs.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use claw_core::{InstanceId, SpawnError, SpawnStage};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};

use super::driver::{ContainerDriver, RunningContainer};
use super::engine::{Client, QUICK};
use super::fault::EngineError;
use super::probe::{end, processes_of};
use super::state;
use crate::process::send_signal;
use crate::session::{Input, Output, Session, SessionEnd, SessionOptions, Steer, TerminalSize};

/// Output that waits for who reads it; a command that prints faster waits.
const PIECES: usize = 16;

impl ContainerDriver {
    /// Runs a command in the container of a live instance, as the engine does it: as the user and
    /// with the limits of the container.
    ///
    /// # Errors
    ///
    /// The container is not known to run, or the engine does not start the command.
    pub async fn open_session(
        &self,
        instance: &InstanceId,
        command: &[String],
        options: SessionOptions,
    ) -> Result<Session, SpawnError> {
        let inner = &self.inner;
        let container = inner
            .running(instance)
            .ok_or_else(|| failed("its container is not known to run".to_owned()))?;
        let client = inner.engine.client().await.map_err(|error| of(&error))?;
        open(client, container, command, options)
            .await
            .map_err(|error| of(&error))
    }
}

async fn open(
    client: Arc<Client>,
    container: RunningContainer,
    command: &[String],
    options: SessionOptions,
) -> Result<Session, EngineError> {
    let terminal = options.terminal.as_ref();
    let env = terminal.map(|terminal| vec![format!("TERM={}", terminal.kind)]);
    let wanted = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal.is_some()),
        env,
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let asked = client.docker.create_exec(&container.id, wanted);
    let exec = client.within(QUICK, asked).await?.id;
    let start = StartExecOptions {
        tty: terminal.is_some(),
        ..StartExecOptions::default()
    };
    let started = client.docker.start_exec(&exec, Some(start)).await;
    let started = started.map_err(|error| client.fault(error))?;
    let StartExecResults::Attached { mut output, input } = started else {
        return Err(EngineError::Silent {
            address: client.address.clone(),
            after: QUICK,
        });
    };
    if let Some(terminal) = terminal {
        resize(&client, &exec, terminal.size).await;
    }
    let (pieces_in, pieces) = mpsc::channel(PIECES);
    let (drained_in, drained) = oneshot::channel();
    tokio::spawn(async move {
        while let Some(Ok(piece)) = output.next().await {
            if pieces_in.send(of_engine(piece)).await.is_err() {
                break;
            }
        }
        // Whoever looked on may be gone.
        drained_in.send(()).ok();
    });
    let (steering, told) = mpsc::unbounded_channel();
    let (tell_end, ended) = oneshot::channel();
    let running = Running {
        client,
        exec,
        container,
    };
    tokio::spawn(async move {
        let end = running.steer(drained, told, options.timeout).await;
        tell_end.send(end).ok();
    });
    let output = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    Ok(Session {
        input: Input::of_engine(input),
        output: Box::pin(output),
        steering,
        ended: Box::pin(async move {
            let died = || Err(failed("the supervisor is ending".to_owned()));
            ended.await.unwrap_or_else(|_ending| died())
        }),
    })
}

/// A command that the engine runs.
struct Running {
    client: Arc<Client>,
    exec: String,
    container: RunningContainer,
}

impl Running {
    /// Passes on what the command is told until it has printed everything and ended.
    async fn steer(
        &self,
        mut drained: oneshot::Receiver<()>,
        mut told: mpsc::UnboundedReceiver<Steer>,
        timeout: Option<Duration>,
    ) -> Result<SessionEnd, SpawnError> {
        let over = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                _ = &mut drained => return self.outcome().await,
                () = &mut over => {
                    end(&self.client, &self.exec, &self.container).await;
                    return Ok(SessionEnd::Killed);
                }
                steer = told.recv() => match steer {
                    Some(Steer::Resize(size)) => resize(&self.client, &self.exec, size).await,
                    Some(Steer::Signal(signal)) => {
                        let pids = processes_of(&self.client, &self.exec, &self.container).await;
                        for pid in pids {
                            send_signal(pid, signal.number());
                        }
                    }
                    None => {
                        end(&self.client, &self.exec, &self.container).await;
                        return Ok(SessionEnd::Killed);
                    }
                },
            }
        }
    }

    async fn outcome(&self) -> Result<SessionEnd, SpawnError> {
        let asked = self.client.docker.inspect_exec(&self.exec);
        let found = self.client.within(QUICK, asked).await;
        let found = found.map_err(|error| of(&error))?;
        let unknown = || failed("the engine does not say how it ended".to_owned());
        let code = found.exit_code.ok_or_else(unknown)?;
        Ok(SessionEnd::Exited(state::status(code)))
    }
}

async fn resize(client: &Client, exec: &str, size: TerminalSize) {
    let options = ResizeExecOptions {
        height: size.rows,
        width: size.columns,
    };
    // A terminal of the wrong size is better than none.
    let asked = client.docker.resize_exec(exec, options);
    client.within(QUICK, asked).await.ok();
}

fn of_engine(piece: LogOutput) -> Output {
    match piece {
        LogOutput::StdErr { message } => Output::Stderr(message),
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => Output::Stdout(message),
    }
}

fn of(error: &EngineError) -> SpawnError {
    failed(error.to_string())
}

fn failed(detail: String) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Exec,
        errno: 0,
        detail,
    }
}

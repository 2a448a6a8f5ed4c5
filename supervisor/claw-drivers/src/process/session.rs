//! Opening a session in the sandbox of an instance that runs.

use claw_core::{AgentSpec, InstanceId, SpawnError, SpawnStage};
use tokio::sync::{mpsc, oneshot};

use super::confine::{self, Purpose};
use super::driver::{Inner, ProcessDriver};
use super::instance::Connection;
use super::launch;
use super::wire::{ExecEnd, Report, Request, SessionTask, Task, Watchdog};
use crate::sandbox::Notify;
use crate::session::{Ends, Session, SessionEnd, SessionOptions, Steer, resize};

impl ProcessDriver {
    /// Runs a command beside a live instance, in the same sandbox if it has one. Nothing of it is
    /// left when it has ended, or when nobody looks on any more.
    ///
    /// # Errors
    ///
    /// There was no process for it. That it could not be executed is said by its end.
    pub async fn open_session(
        &self,
        instance: &InstanceId,
        spec: &AgentSpec,
        command: &[String],
        options: SessionOptions,
    ) -> Result<Session, SpawnError> {
        open(&self.inner, instance, spec, command, options).await
    }
}

async fn open(
    inner: &Inner,
    instance: &InstanceId,
    spec: &AgentSpec,
    command: &[String],
    options: SessionOptions,
) -> Result<Session, SpawnError> {
    let nowhere = (Notify::Nowhere, Purpose::Command);
    let mut cover = confine::cover(inner, instance, spec, nowhere).await?;
    cover.join(inner.inside(instance), inner.way_out_of(instance, spec));
    if cover.is_apart() {
        return Err(failed(format!(
            "the sandbox of `{instance}` is not to be found; it is being started, or has just ended"
        )));
    }
    let account = &cover.account;
    let mut environment = inner.base_env.of(instance, spec, account);
    cover.describe(spec, &mut environment);
    if let Some(terminal) = &options.terminal {
        environment.set_unless_written(spec, "TERM", &terminal.kind);
    }
    let task = SessionTask {
        timeout: options.timeout,
        group: inner
            .cgroups
            .group(instance, "", &launch::resources(inner, spec, &cover))?,
        confinement: cover.confinement.clone(),
        terminal: options.terminal.map(|terminal| terminal.size),
        owner: account.owner(),
    };
    let program = launch::program(command.to_vec(), environment, spec, account, Watchdog::Off);
    let stream = inner
        .link
        .launch(&Task::Session(Box::new(task)), &program, None)
        .await
        .map_err(|error| launch::link_failure(instance, &error))?;
    let mut connection = Connection::new(stream);
    match connection.next().await {
        Some(Report::Opened) => {}
        Some(Report::Executed(report)) => {
            return Err(match report.end {
                ExecEnd::Failed(error) => error,
                ExecEnd::Exited(_) | ExecEnd::TimedOut => died(),
            });
        }
        Some(Report::SpawnFailed(error)) => return Err(error),
        Some(_) | None => return Err(died()),
    }
    let ends = Ends::new(connection.take_descriptors());
    let ends = ends.map_err(|error| failed(format!("its streams cannot be used: {error}")))?;
    let (steering, told) = mpsc::unbounded_channel();
    let (tell_end, ended) = oneshot::channel();
    let terminal = ends.terminal.clone();
    tokio::spawn(async move {
        let end = steer(connection, told, terminal.as_deref()).await;
        // Nobody looks on any more.
        tell_end.send(end).ok();
    });
    Ok(Session {
        input: ends.input,
        output: ends.output,
        steering,
        ended: Box::pin(async move { ended.await.unwrap_or_else(|_ending| Err(died())) }),
    })
}

type Terminal = tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>;

/// Passes on what the command is told until it has ended; its shim ends it when we hang up.
async fn steer(
    mut connection: Connection,
    mut told: mpsc::UnboundedReceiver<Steer>,
    terminal: Option<&Terminal>,
) -> Result<SessionEnd, SpawnError> {
    loop {
        tokio::select! {
            report = connection.next() => match report {
                Some(Report::Executed(report)) => return match report.end {
                    ExecEnd::Exited(status) => Ok(SessionEnd::Exited(status)),
                    ExecEnd::TimedOut => Ok(SessionEnd::Killed),
                    ExecEnd::Failed(error) => Err(error),
                },
                Some(_) => {}
                None => return Err(died()),
            },
            steer = told.recv() => match (steer, terminal) {
                (Some(Steer::Signal(signal)), _) => {
                    connection.send(&Request::Signal(signal.number())).await;
                }
                (Some(Steer::Resize(size)), Some(terminal)) => resize(terminal, size),
                (Some(Steer::Resize(_)), None) => {}
                (None, _) => return Ok(SessionEnd::Killed),
            },
        }
    }
}

fn died() -> SpawnError {
    failed("the process that ran the command died".to_owned())
}

fn failed(detail: String) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail,
    }
}

//! Running one command for an agent: a probe, or a hook.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use claw_core::order::HookOutcome;
use claw_core::{AgentSpec, ExitReport, ExitStatus, Hook, InstanceId, SpawnError};

use super::confine::{self, Purpose};
use super::driver::Inner;
use super::environment::Environment;
use super::instance::Connection;
use super::launch;
use crate::sandbox::Notify;

use super::procfs::ProcessIdentity;
use super::wire::{
    ConnectTask, ExecEnd, ExecReport, ExecTask, GroupOwnership, Program, Report, Task, Watchdog,
};

/// How a command beside an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// How it ended by itself; `None`: it took too long and was killed with its tree.
    pub status: Option<ExitStatus>,
    /// The end of what it printed, at most 4 KiB.
    pub output: String,
}

/// A command to be run.
pub(crate) struct Execution<'a> {
    pub(crate) instance: &'a InstanceId,
    pub(crate) spec: &'a AgentSpec,
    pub(crate) command: &'a [String],
    pub(crate) timeout: Duration,
    pub(crate) kind: Kind<'a>,
}

/// What a command is run for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// A probe: in the agent's own group.
    Probe,
    /// A hook: in a group of its own with the agent's limits, since the agent's is not there yet
    /// or no more. `ended` says how the life before it ended, where that is known.
    Hook {
        hook: Hook,
        ended: Option<&'a ExitReport>,
    },
}

/// Runs a command to its end or its timeout; nothing of it is left after.
pub(crate) async fn execute(inner: &Inner, execution: Execution<'_>) -> ExecReport {
    match try_execute(inner, execution).await {
        Ok(report) => report,
        Err(error) => ExecReport {
            end: ExecEnd::Failed(error),
            output: String::new(),
        },
    }
}

async fn try_execute(inner: &Inner, execution: Execution<'_>) -> Result<ExecReport, SpawnError> {
    let Execution {
        instance,
        spec,
        command,
        timeout,
        kind,
    } = execution;
    let nowhere = (Notify::Nowhere, Purpose::Command);
    let mut cover = confine::cover(inner, instance, spec, nowhere).await?;
    if let Kind::Probe = kind {
        cover.join(inner.inside(instance), inner.way_out_of(instance, spec));
    }
    let account = &cover.account;
    let mut environment = inner.base_env.of(instance, spec, account);
    cover.describe(spec, &mut environment);
    let (what, suffix, ownership) = match kind {
        Kind::Probe => ("the probe".to_owned(), String::new(), GroupOwnership::Guest),
        Kind::Hook { hook, ended } => {
            if let Some(ended) = ended {
                tell_of_end(&mut environment, ended);
            }
            (
                format!("the hook {hook}"),
                format!(".{hook}"),
                GroupOwnership::Owner,
            )
        }
    };
    let task = ExecTask {
        what,
        timeout,
        group: inner
            .cgroups
            .group(instance, &suffix, &launch::resources(inner, spec, &cover))?,
        ownership,
        confinement: cover.confinement.clone(),
    };
    let program = launch::program(command.to_vec(), environment, spec, account, Watchdog::Off);
    let stream = inner
        .link
        .launch(&Task::Exec(task), &program, None)
        .await
        .map_err(|error| launch::link_failure(instance, &error))?;
    let mut connection = Connection::new(stream);
    match connection.next().await {
        Some(Report::Executed(report)) => Ok(report),
        Some(Report::SpawnFailed(error)) => Err(error),
        Some(_) | None => Err(SpawnError {
            stage: claw_core::SpawnStage::Fork,
            errno: 0,
            detail: "the process that ran the command died".to_owned(),
        }),
    }
}

/// The variables that systemd sets for `ExecStopPost=`.
fn tell_of_end(environment: &mut Environment, ended: &ExitReport) {
    let killed_for_memory = ended.oom_kills > 0;
    let (result, code, status) = match ended.status {
        ExitStatus::Code(0) => ("success", "exited", "0".to_owned()),
        ExitStatus::Code(code) => ("exit-code", "exited", code.to_string()),
        ExitStatus::Signal(nix::libc::SIGKILL) if killed_for_memory => {
            ("oom-kill", "killed", "KILL".to_owned())
        }
        ExitStatus::Signal(signal) => ("signal", "killed", signal_name(signal)),
    };
    environment.set("SERVICE_RESULT", result);
    environment.set("EXIT_CODE", code);
    environment.set("EXIT_STATUS", status);
}

/// `TERM` for 15; the number where there is no name.
fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal).map_or_else(
        |_unnamed| signal.to_string(),
        |named| named.as_str().trim_start_matches("SIG").to_owned(),
    )
}

/// A hook's report, in the core's words.
pub(crate) fn hook_outcome(report: &ExecReport, timeout: Duration) -> HookOutcome {
    match &report.end {
        ExecEnd::Exited(ExitStatus::Code(0)) => HookOutcome::Success,
        ExecEnd::Exited(status) => HookOutcome::Failure(describe(*status, &report.output)),
        ExecEnd::TimedOut => HookOutcome::TimedOut(timeout),
        ExecEnd::Failed(error) => HookOutcome::Failure(error.detail.clone()),
    }
}

/// How a command ended, with the end of what it printed.
pub(crate) fn describe(status: ExitStatus, output: &str) -> String {
    let ended = match status {
        ExitStatus::Code(code) => format!("exited with code {code}"),
        ExitStatus::Signal(signal) => format!("was ended by signal {}", signal_name(signal)),
    };
    let output = output.trim();
    if output.is_empty() {
        ended
    } else {
        format!("{ended}: {output}")
    }
}

/// Connects in the network of an instance; each address may take `limit`.
///
/// # Errors
///
/// What the connection to the first address failed with, or the way there.
pub(crate) async fn connect(
    inner: &Inner,
    (keeper, main): (ProcessIdentity, ProcessIdentity),
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> io::Result<TcpStream> {
    let task = Task::Connect(ConnectTask {
        keeper,
        main,
        addresses,
        limit,
    });
    let stream = inner.link.launch(&task, &Program::none(), None).await;
    let stream = stream.map_err(|error| io::Error::other(error.sentence()))?;
    let mut connection = Connection::new(stream);
    match connection.next().await {
        Some(Report::Connected(Ok(()))) => {
            let connected = connection.connected();
            connected.ok_or_else(|| io::ErrorKind::NotConnected.into())
        }
        Some(Report::Connected(Err(errno))) => Err(io::Error::from_raw_os_error(errno)),
        Some(_) | None => Err(io::ErrorKind::Interrupted.into()),
    }
}

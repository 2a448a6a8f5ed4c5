//! From a spec to what the shim and its child are told.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use claw_core::order::RunContext;
use claw_core::spec::{OnFull, Resources};
use claw_core::{AgentSpec, InstanceId, SpawnError, SpawnStage, redact};
use tokio::net::UnixStream;

use super::account::Account;
use super::confine::{self, Cover, Purpose};
use super::driver::Inner;
use super::link::LinkError;
use super::record::NOTIFY_SOCKET;
use crate::sandbox::{self, Notify};

use super::wire::{BlockWhenFull, LogSettings, NotifyAddress, Program, ShimTask, Task, Watchdog};

/// Socket addresses hold 108 bytes, one of them the end; agents use them whole.
const SOCKET_PATH_LIMIT: usize = 107;

/// Reports of progress come at least this far apart, however short the silence that is allowed.
/// Far below the shortest silence that makes sense: a report that comes when the silence is over
/// would end an agent that works.
const SHORTEST_PROGRESS: std::time::Duration = std::time::Duration::from_millis(50);

/// Starts an instance; what comes back is the stream to its shim.
pub(super) async fn launch(
    inner: &Inner,
    instance: &InstanceId,
    spec: &AgentSpec,
    run: Option<&RunContext>,
) -> Result<UnixStream, SpawnError> {
    let dir = inner.paths.instance(instance);
    let Address { notify, cover } = settle(inner, instance, spec, &dir).await?;
    let account = &cover.account;
    let group = inner
        .cgroups
        .group(instance, "", &resources(inner, spec, &cover))?;
    let mut environment = inner.base_env.of(instance, spec, account);
    cover.describe(spec, &mut environment);
    let socket = match &notify {
        NotifyAddress::Path if cover.is_apart() => sandbox::NOTIFY.to_owned(),
        NotifyAddress::Path => dir.join(NOTIFY_SOCKET).to_string_lossy().into_owned(),
        NotifyAddress::Abstract(name) => format!("@{name}"),
    };
    if let Some(confinement) = &cover.confinement {
        inner.note_plan(instance, &confinement.plan);
    }
    let watchdog = environment.set_notify(&socket, &spec.probes);
    if let Some(run) = run {
        environment.set_run(run);
    }
    let progress = spec.probes.progress.as_ref();
    let task = ShimTask {
        instance: instance.clone(),
        dir,
        notify,
        log_dir: inner.paths.log(&instance.agent),
        log: LogSettings {
            max_size: spec.logging.max_size,
            max_files: spec.logging.max_files,
            retention: spec.logging.retention,
            block_when_full: match spec.logging.on_full {
                OnFull::Drop => BlockWhenFull::No,
                OnFull::Block => BlockWhenFull::Yes,
            },
        },
        masked: redact::values(&spec.launch),
        data_dirs: [
            &spec.launch.data_dirs[..],
            &cover.directories(spec, inner.paths.data_dir()),
        ]
        .concat(),
        own_dir: inner.paths.data_dir().to_owned(),
        owner: account.owner(),
        group,
        boot_id: inner.boot_id.clone(),
        stop_signal: spec.shutdown.signal,
        stop_grace: spec.shutdown.timeout,
        // Four reports in the allowed silence, so that one that is late does no harm.
        confinement: cover.confinement.clone(),
        progress: progress.map(|progress| (progress.max_silence / 4).max(SHORTEST_PROGRESS)),
    };
    let program = program(
        spec.launch.command.clone(),
        environment,
        spec,
        account,
        watchdog,
    );
    let payload = run.and_then(|run| run.payload.as_deref());
    let sent = inner
        .link
        .launch(&Task::Shim(Box::new(task)), &program, payload)
        .await;
    sent.map_err(|error| link_failure(instance, &error))
}

/// As whom an instance runs, how, and where it sends its notifications.
struct Address {
    notify: NotifyAddress,
    cover: Cover,
}

async fn settle(
    inner: &Inner,
    instance: &InstanceId,
    spec: &AgentSpec,
    dir: &Path,
) -> Result<Address, SpawnError> {
    let socket = Notify::Path(dir.join(NOTIFY_SOCKET));
    let mut cover = confine::cover(inner, instance, spec, (socket, Purpose::Agent)).await?;
    // In a root directory of its own the socket has a path that is short and that it can use.
    let notify = if cover.is_apart() {
        NotifyAddress::Path
    } else {
        notify_address(inner, instance, dir, &cover.account)
    };
    if let (NotifyAddress::Abstract(_), Some(_)) = (&notify, &cover.confinement) {
        cover = confine::cover(inner, instance, spec, (Notify::Name, Purpose::Agent)).await?;
    }
    Ok(Address { notify, cover })
}

/// What a group may use. The process that keeps namespaces is none of the agent's own, and what is
/// limited otherwise needs no group.
pub(super) fn resources(inner: &Inner, spec: &AgentSpec, cover: &Cover) -> Resources {
    let mut resources = inner.cgroups.limits_of(spec);
    if cover.counts_processes() {
        resources.pids = None;
    }
    if cover.is_apart() {
        resources.pids = resources.pids.map(|pids| pids.saturating_add(1));
    }
    resources
}

/// A program run for an agent: the agent itself, a probe or a hook.
pub(super) fn program(
    command: Vec<String>,
    environment: super::environment::Environment,
    spec: &AgentSpec,
    account: &Account,
    watchdog: Watchdog,
) -> Program {
    Program {
        command,
        env: environment.into_entries(),
        watchdog,
        working_dir: spec.launch.working_dir.clone(),
        user: account.identity.clone(),
    }
}

/// The fork server could not take a launch.
pub(super) fn link_failure(instance: &InstanceId, error: &LinkError) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Fork,
        errno: error.errno(),
        detail: format!("`{instance}` could not be started: {}", error.sentence()),
    }
}

/// A path where the agent can use one, an abstract name where it cannot.
fn notify_address(
    inner: &Inner,
    instance: &InstanceId,
    dir: &Path,
    account: &Account,
) -> NotifyAddress {
    let length = dir.as_os_str().len() + 1 + NOTIFY_SOCKET.len();
    let passable = account.identity.is_none() || inner.run_dir_is_passable;
    if length <= SOCKET_PATH_LIMIT && passable {
        return NotifyAddress::Path;
    }
    NotifyAddress::Abstract(format!(
        "openclaw/{}/{}-{}",
        inner.paths.project(),
        instance.agent,
        instance.generation
    ))
}

/// Whether other users can go through the directory and all above it.
pub(super) fn is_passable(path: &Path) -> bool {
    path.ancestors()
        .all(|dir| dir.metadata().is_ok_and(|found| found.mode() & 0o001 != 0))
}

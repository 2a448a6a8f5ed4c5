//! Taking over from the supervisor before this one.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_core::memory::Recovered;
use claw_core::{InstanceId, Wall};
use tokio::task::JoinSet;

use super::cleanup;
use super::driver::Inner;
use super::inspect::{self, Found};
use super::instance::{self, Connection};
use super::paths::instance_of_group;
use super::record::RunRecord;
use super::signal;
use super::wire::{self, Report, Request, Standing};
use crate::driver::OpenInstance;

/// How long a shim may take to say where its instance stands; it says so at once unless it is
/// stopped, or still starting its agent.
const STANDING_PATIENCE: Duration = Duration::from_secs(5);

/// How long a shim may take to end its tree when nothing else can.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);

/// Between looks at its lock.
const SHIM_STEP: Duration = Duration::from_millis(5);

/// How many instances are looked at together: each look may take a thread.
const AT_ONCE: usize = 64;

/// What was found of one open instance, and the connection to it if it lives.
pub(super) struct Answer {
    pub(super) open: OpenInstance,
    pub(super) recovered: Recovered,
    pub(super) alive: Option<(Connection, Option<Standing>)>,
}

/// Looks at every open instance.
pub(super) async fn look(inner: &Arc<Inner>, open: Vec<OpenInstance>) -> Vec<Answer> {
    let mut looks = JoinSet::new();
    let mut answers = Vec::with_capacity(open.len());
    for each in open {
        if looks.len() >= AT_ONCE
            && let Some(Ok(answer)) = looks.join_next().await
        {
            answers.push(answer);
        }
        looks.spawn(look_at(Arc::clone(inner), each));
    }
    while let Some(joined) = looks.join_next().await {
        // A look that panicked has said so; its instance is then missing, and the sweep ends it.
        answers.extend(joined.ok());
    }
    answers
}

async fn look_at(inner: Arc<Inner>, open: OpenInstance) -> Answer {
    let same_boot = open.boot_id == inner.boot_id;
    let instance = open.instance.clone();
    let worker = Arc::clone(&inner);
    let found = tokio::task::spawn_blocking(move || {
        if same_boot {
            return Some(inspect::inspect(&worker, &instance));
        }
        cleanup::remove(&worker.paths.instance(&instance));
        None
    });
    let found = found.await;
    if let Ok(Some(Found::Alive {
        record: Some(record),
        ..
    })) = &found
        && let Some(plan) = &record.plan
    {
        inner.note_plan(&open.instance, plan);
    }
    let (recovered, alive) = match found {
        Ok(None) => (Recovered::Rebooted, None),
        Ok(Some(found)) => settle(found).await,
        Err(_) => (Recovered::Lost, None),
    };
    if let Recovered::Ended(report) = &recovered {
        inner.remember_end(&open.instance, report);
    }
    Answer {
        open,
        recovered,
        alive,
    }
}

async fn settle(found: Found) -> (Recovered, Option<(Connection, Option<Standing>)>) {
    let (stream, record) = match found {
        Found::Alive { stream, record } => (stream, record),
        Found::Ended(report) => return (Recovered::Ended(report), None),
        Found::Lost => return (Recovered::Lost, None),
        Found::NeverStarted => return (Recovered::NeverStarted, None),
    };
    let Some(mut connection) = instance::connect(stream) else {
        return (Recovered::Lost, None);
    };
    let first = tokio::time::timeout(STANDING_PATIENCE, connection.next()).await;
    match (first, record) {
        (Ok(Some(Report::Started(standing))), _) => {
            let alive = Recovered::Alive {
                pid: standing.main.pid.unsigned_abs(),
                at: standing.at,
            };
            (alive, Some((connection, Some(standing))))
        }
        (Ok(Some(Report::SpawnFailed(_))), _) => (Recovered::NeverStarted, None),
        // The shim says nothing yet, or something else first: its record says the same.
        (_, Some(record)) => {
            let alive = Recovered::Alive {
                pid: record.main.pid.unsigned_abs(),
                at: record.at,
            };
            (alive, Some((connection, None)))
        }
        (_, None) => {
            let alive = Recovered::Alive {
                pid: 0,
                at: Wall::now(),
            };
            (alive, Some((connection, None)))
        }
    }
}

/// Ends and removes whatever is below our own directories and belongs to none of `kept`. Blocks.
pub(super) fn sweep(inner: &Inner, kept: &BTreeSet<InstanceId>) {
    for instance in inner.paths.all_instances() {
        if kept.contains(&instance) {
            continue;
        }
        tracing::info!(%instance, "ending what an earlier supervisor left");
        if let Found::Alive { stream, record } = inspect::inspect(inner, &instance) {
            end_alive(inner, &instance, stream, record.as_deref());
        }
        cleanup::remove(&inner.paths.instance(&instance));
    }
    for name in inner.cgroups.names() {
        let owner = instance_of_group(&name);
        if owner.is_none_or(|instance| !kept.contains(&instance) || name.contains('.')) {
            inspect::end_tree(&inner.cgroups.every(&name), None);
        }
    }
}

/// Ends a tree whose shim lives. The shim is asked, because without cgroups it alone knows the
/// whole tree; the group is killed all the same, in case the shim is stopped or stuck.
fn end_alive(
    inner: &Inner,
    instance: &InstanceId,
    mut stream: UnixStream,
    record: Option<&RunRecord>,
) {
    // One that hangs up is ending already.
    stream.write_all(&wire::line(&Request::Kill)).ok();
    let group = inner.cgroups.every(&inspect::group_name(instance));
    if group.tree.is_some() {
        inspect::end_tree(&group, record);
    }
    // Its last act is to leave a report in the directory that is about to go.
    let deadline = Instant::now() + SHIM_PATIENCE;
    while inspect::is_locked(inner, instance) && Instant::now() < deadline {
        signal::pause(SHIM_STEP);
    }
    inspect::end_tree(&group, record);
}

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
use super::mute::Mute;
use super::paths::instance_of_group;
use super::procfs::ProcessIdentity;
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

/// What was found of one open instance.
pub(super) struct Answer {
    pub(super) open: OpenInstance,
    pub(super) recovered: Recovered,
    pub(super) alive: Option<Touch>,
}

/// How an instance that lives is followed from here on.
pub(super) enum Touch {
    /// By its shim, which may have said already where it stands.
    Heard(Connection, Option<Standing>),
    /// Without its shim.
    Mute(Mute),
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

async fn settle(found: Found) -> (Recovered, Option<Touch>) {
    let (stream, record) = match found {
        Found::Alive { stream, record } => (stream, record),
        Found::Foreign { head, gap } => {
            let mute = Mute {
                main: head.main,
                gap,
            };
            return (alive(head.main, head.at), Some(Touch::Mute(mute)));
        }
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
            let recovered = alive(standing.main, standing.at);
            let touch = match standing.protocol.gap() {
                None => Touch::Heard(connection, Some(standing)),
                Some(gap) => Touch::Mute(Mute {
                    main: standing.main,
                    gap,
                }),
            };
            (recovered, Some(touch))
        }
        (Ok(Some(Report::SpawnFailed(_))), _) => (Recovered::NeverStarted, None),
        // The shim says nothing yet, or something else first: its record says the same.
        (_, Some(record)) => (
            alive(record.main, record.at),
            Some(Touch::Heard(connection, None)),
        ),
        (_, None) => {
            let unknown = ProcessIdentity { pid: 0, start: 0 };
            (
                alive(unknown, Wall::now()),
                Some(Touch::Heard(connection, None)),
            )
        }
    }
}

fn alive(main: ProcessIdentity, at: Wall) -> Recovered {
    Recovered::Alive {
        pid: main.pid.unsigned_abs(),
        at,
        image: None,
    }
}

/// Ends and removes whatever is below our own directories and belongs to none of `kept`. Blocks.
pub(super) fn sweep(inner: &Inner, kept: &BTreeSet<InstanceId>) {
    for instance in inner.paths.all_instances() {
        if kept.contains(&instance) {
            continue;
        }
        tracing::info!(%instance, "ending what an earlier supervisor left");
        match inspect::inspect(inner, &instance) {
            Found::Alive { stream, record } => {
                let main = record.map(|record| record.main);
                end_alive(inner, &instance, Some(stream), main);
            }
            Found::Foreign { head, .. } => end_alive(inner, &instance, None, Some(head.main)),
            Found::Ended(_) | Found::Lost | Found::NeverStarted => {}
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

/// Ends a tree whose shim lives. A shim that can be talked to is asked, because without cgroups it
/// alone knows the whole tree; the group is killed all the same, in case the shim is stopped or
/// stuck.
fn end_alive(
    inner: &Inner,
    instance: &InstanceId,
    stream: Option<UnixStream>,
    main: Option<ProcessIdentity>,
) {
    let group = inner.cgroups.every(&inspect::group_name(instance));
    // Open until it is over: a shim that cannot say where it stands to whoever has connected does
    // not hear him out.
    let asked = stream.map(|mut stream| {
        // One that hangs up is ending already.
        stream.write_all(&wire::line(&Request::Kill)).ok();
        stream
    });
    if asked.is_none() || group.tree.is_some() {
        inspect::end_tree(&group, main);
    }
    // Its last act is to leave a report in the directory that is about to go.
    let deadline = Instant::now() + SHIM_PATIENCE;
    while inspect::is_locked(inner, instance) && Instant::now() < deadline {
        signal::pause(SHIM_STEP);
    }
    drop(asked);
    inspect::end_tree(&group, main);
}

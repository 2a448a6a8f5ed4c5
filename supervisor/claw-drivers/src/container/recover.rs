//! Taking over from the supervisor before this one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use claw_core::memory::Recovered;
use claw_core::{ExitReport, InstanceId, RunId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::driver::Inner;
use super::instance::Look;
use super::notify::Notify;
use super::output::{Output, Progress};
use super::record::{Record, Stage};
use super::state::{self, Ending, Standing};
use super::{name, sweep};
use crate::driver::OpenInstance;

/// The supervisor waits for this before it does anything else; an engine that takes longer is
/// treated as away, and its containers as running unseen.
const PATIENCE: Duration = Duration::from_secs(4);

/// What of an instance was found.
enum Answer {
    /// It runs, or may do so.
    Alive {
        container: String,
        at: claw_core::Wall,
        pid: u32,
        record: Box<Record>,
    },
    Ended(ExitReport),
    /// Nothing of it runs; its container and record are removed.
    Over(Recovered),
    /// It ended, and its output is still to be taken over.
    Exited(Box<Record>, String, Ending),
}

/// See [`Driver::recover`](crate::Driver::recover).
pub(super) async fn recover(
    inner: &Arc<Inner>,
    open: Vec<OpenInstance>,
) -> Vec<(InstanceId, Option<RunId>, Recovered)> {
    let deadline = Instant::now() + PATIENCE;
    let worker = Arc::clone(inner);
    let listed = tokio::task::spawn_blocking(move || worker.records.all()).await;
    let recorded: BTreeSet<InstanceId> = listed.unwrap_or_default().into_iter().collect();
    let wanted: BTreeSet<InstanceId> = open.iter().map(|each| each.instance.clone()).collect();
    inner.inherit(&wanted);
    let mut looks = JoinSet::new();
    for each in open {
        looks.spawn(look_at(Arc::clone(inner), each, deadline));
    }
    let mut recovered = Vec::new();
    while let Some(joined) = looks.join_next().await {
        // A look that panicked has said so; its instance is then missing, and the sweep ends it.
        recovered.extend(joined.ok());
    }
    inner.inherit(&BTreeSet::new());
    let left: Vec<_> = recorded.difference(&wanted).cloned().collect();
    if !left.is_empty() {
        clear(inner, left, deadline).await;
    }
    recovered
}

/// Ends and removes what an earlier supervisor left; what takes too long is done later.
async fn clear(inner: &Arc<Inner>, left: Vec<InstanceId>, deadline: Instant) {
    for instance in left {
        tracing::info!(%instance, "ending what an earlier supervisor left");
        Inner::doom(inner, instance);
    }
    let cleared = tokio::time::timeout_at(deadline, async {
        let client = inner.engine.client().await?;
        sweep::sweep(inner, &client).await
    });
    match cleared.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "containers could not be removed yet"),
        Err(_elapsed) => tracing::warn!("containers could not be removed in time"),
    }
}

async fn look_at(
    inner: Arc<Inner>,
    open: OpenInstance,
    deadline: Instant,
) -> (InstanceId, Option<RunId>, Recovered) {
    let OpenInstance {
        instance,
        run,
        boot_id,
        spec,
    } = open;
    if let Some(spec) = spec {
        inner.mask(&instance, &spec);
    }
    let recovered = match find(&inner, &instance, &boot_id, deadline).await {
        Answer::Alive {
            container,
            at,
            pid,
            record,
        } => {
            let image = record.made_of();
            adopt(&inner, *record, container, pid).await;
            Recovered::Alive { pid, at, image }
        }
        Answer::Ended(report) => {
            inner.forget(&instance);
            inner.remember_end(&instance, &report);
            Recovered::Ended(report)
        }
        Answer::Over(recovered) => {
            if inner.records.has(&instance) {
                Inner::doom(&inner, instance.clone());
            }
            recovered
        }
        Answer::Exited(record, container, ending) => {
            exited(&inner, *record, container, ending, deadline).await
        }
    };
    inner.settle(&instance);
    (instance, run, recovered)
}

async fn find(
    inner: &Arc<Inner>,
    instance: &InstanceId,
    boot_id: &str,
    deadline: Instant,
) -> Answer {
    let Some(record) = inner.read(instance).await else {
        return Answer::Over(Recovered::NeverStarted);
    };
    if boot_id != inner.boot_id {
        return Answer::Over(Recovered::Rebooted);
    }
    if let Stage::Ended(report) = record.stage {
        return Answer::Ended(report);
    }
    let container = record
        .id
        .clone()
        .unwrap_or_else(|| name::container(&inner.project, instance));
    let looked = tokio::time::timeout_at(deadline, async {
        let client = inner.engine.client().await?;
        state::look(&client, &inner.project, &container).await
    });
    let found = match looked.await {
        Ok(Ok(found)) => found.filter(|found| found.owner.as_ref() == Some(instance)),
        // Nobody knows: it is followed, and looked at when the engine answers.
        Ok(Err(_)) | Err(_) => return unseen(container, record),
    };
    let Some(found) = found else {
        return Answer::Over(match record.stage {
            Stage::Intended => Recovered::NeverStarted,
            Stage::Created | Stage::Started { .. } | Stage::Ended(_) => Recovered::Lost,
        });
    };
    match found.standing {
        Standing::Running { pid, at, .. } => Answer::Alive {
            container: found.id,
            at,
            pid,
            record: Box::new(record),
        },
        Standing::Ended(ending) => Answer::Exited(Box::new(record), found.id, ending),
        Standing::Created => Answer::Over(Recovered::NeverStarted),
        Standing::Leaving => Answer::Over(Recovered::Lost),
    }
}

fn unseen(container: String, record: Record) -> Answer {
    let (pid, at) = match record.stage {
        Stage::Started { pid, at } => (pid, at),
        Stage::Intended | Stage::Created | Stage::Ended(_) => (0, record.at),
    };
    Answer::Alive {
        container,
        at,
        pid,
        record: Box::new(record),
    }
}

/// Opens the log where it was left.
async fn reopen(inner: &Arc<Inner>, record: &Record) -> Option<Output> {
    let progress = Progress {
        facts: inner.facts.clone(),
        instance: record.instance.clone(),
        interval: record.progress,
        last: None,
    };
    let place = inner.place(record);
    let known = record.output;
    let opened = tokio::task::spawn_blocking(move || Output::open(&place, known, progress));
    opened.await.ok()
}

async fn adopt(inner: &Arc<Inner>, record: Record, container: String, pid: u32) {
    let Some(output) = reopen(inner, &record).await else {
        return;
    };
    let instance = record.instance.clone();
    let dir = inner.records.notify(&instance);
    let bound = tokio::task::spawn_blocking(move || Notify::bind(&dir)).await;
    let mut follower = Inner::follower(inner, record);
    match bound {
        Ok(Ok(notify)) => follower.notify = Some(notify),
        Ok(Err(error)) => {
            tracing::warn!(%instance, %error, "its notifications cannot be received any more");
        }
        // The runtime is ending.
        Err(_ending) => {}
    }
    follower.wants.look = Look::Wanted;
    if let Some(image) = &follower.record.image {
        inner.note_image(&instance, image);
    }
    inner.note_running(&instance, &container, pid);
    inner.start_task(follower.follow(container, output));
}

/// Takes the last output over and reports; when that takes too long, the follower does it.
async fn exited(
    inner: &Arc<Inner>,
    mut record: Record,
    container: String,
    ending: Ending,
    deadline: Instant,
) -> Recovered {
    let instance = record.instance.clone();
    let Some(mut output) = reopen(inner, &record).await else {
        return Recovered::Lost;
    };
    let caught_up = tokio::time::timeout_at(deadline, async {
        let client = inner.engine.client().await?;
        output.catch_up(&client, &container).await
    });
    if !matches!(caught_up.await, Ok(Ok(()))) {
        drop(output);
        let (at, image) = (ending.at, record.made_of());
        adopt(inner, record, container, 0).await;
        return Recovered::Alive { pid: 0, at, image };
    }
    let report = ExitReport {
        status: ending.status,
        at: ending.at,
        oom_kills: u64::from(ending.out_of_memory),
        leftovers: 0,
        cpu_us: 0,
        memory_peak: 0,
        log: output.finish().await,
    };
    record.stage = Stage::Ended(report.clone());
    let worker = Arc::clone(inner);
    let written = tokio::task::spawn_blocking(move || worker.records.update(&record)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%instance, %error, "its record cannot be written");
    }
    inner.forget(&instance);
    inner.remember_end(&instance, &report);
    Recovered::Ended(report)
}

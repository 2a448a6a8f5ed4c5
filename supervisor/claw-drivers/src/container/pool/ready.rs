//! One kind of sandbox: what waits, what runs, and what has been.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::lock;
use super::command::Command;
use super::container::Sandbox;
use super::execute::{self, Attempt};
use super::housing::Housing;
use super::outcome::{Outcome, RunError, Temperature};
use super::queue::Queue;
use super::sandboxes::SandboxStatus;
use super::spec::SandboxSpec;
use super::{cold, keeper};

/// The sandboxes of one name.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) spec: SandboxSpec,
    pub(super) housing: Arc<Housing>,
    /// Something has changed that the keeper should look at.
    pub(super) changed: Notify,
    queue: Queue,
    kept: Mutex<Kept>,
    keeper: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Kept {
    ready: VecDeque<Sandbox>,
    /// When a command was asked for last, or the sandbox came into the configuration.
    asked: Instant,
    stock: Stock,
    counts: Counts,
}

/// How the keeper does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stock {
    /// It keeps what is asked for.
    Kept,
    /// It cannot, for the time being.
    Failing(String),
    /// The image has no program that waits: every command is run cold.
    CannotWait,
    /// The sandbox is not in the configuration any more.
    Closed,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    runs: u64,
    cold: u64,
    timeouts: u64,
    out_of_memory: u64,
    refused: u64,
    removed_idle: u64,
    removed_old: u64,
}

/// What the keeper has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Start one more.
    Start,
    /// Nothing until then, or until something changes; `None`: until something changes.
    Rest(Option<Instant>),
}

impl Pool {
    /// A pool whose keeper is at work.
    pub(super) fn open(name: String, spec: SandboxSpec, housing: &Arc<Housing>) -> Arc<Self> {
        let pool = Arc::new(Self {
            queue: Queue::new(spec.max_running),
            name,
            spec,
            housing: Arc::clone(housing),
            changed: Notify::new(),
            kept: Mutex::new(Kept {
                ready: VecDeque::new(),
                asked: Instant::now(),
                stock: Stock::Kept,
                counts: Counts::default(),
            }),
            keeper: Mutex::new(None),
        });
        if pool.spec.ready > 0 {
            let keeping = housing.runtime.spawn(keeper::keep(Arc::clone(&pool)));
            *lock(&pool.keeper) = Some(keeping.abort_handle());
        }
        pool
    }

    /// Keeps nothing from now on; commands that run go on.
    pub(super) fn close(&self) {
        if let Some(keeper) = lock(&self.keeper).take() {
            keeper.abort();
        }
        let ready = {
            let mut kept = lock(&self.kept);
            kept.stock = Stock::Closed;
            std::mem::take(&mut kept.ready)
        };
        drop(ready);
    }

    /// Runs a command.
    pub(super) async fn run(&self, command: &Command) -> Result<Outcome, RunError> {
        command.check(&self.spec)?;
        let turn = self.queue.turn().await.map_err(|full| {
            lock(&self.kept).counts.refused += 1;
            RunError::Busy {
                sandbox: self.name.clone(),
                running: full.running,
                waiting: full.waiting,
            }
        })?;
        lock(&self.kept).asked = Instant::now();
        let ran = self.run_now(command).await;
        drop(turn);
        self.changed.notify_one();
        let outcome = ran?;
        self.count(&outcome);
        Ok(outcome)
    }

    async fn run_now(&self, command: &Command) -> Result<Outcome, RunError> {
        while let Some(sandbox) = self.take() {
            // It is removed when it is dropped, whatever has become of the command.
            match execute::run(&sandbox, &self.spec, command).await? {
                Attempt::Ran(outcome) => return Ok(outcome),
                Attempt::Gone => {
                    tracing::debug!(container = sandbox.name, "a ready sandbox was gone");
                }
            }
        }
        cold::run(&self.housing, &self.name, &self.spec, command).await
    }

    fn take(&self) -> Option<Sandbox> {
        let taken = lock(&self.kept).ready.pop_front();
        self.changed.notify_one();
        taken
    }

    fn count(&self, outcome: &Outcome) {
        let counts = &mut lock(&self.kept).counts;
        counts.runs += 1;
        counts.cold += u64::from(outcome.temperature == Temperature::Cold);
        counts.timeouts += u64::from(outcome.timed_out);
        counts.out_of_memory += u64::from(outcome.out_of_memory);
    }

    /// Adds one that is ready.
    pub(super) fn put(&self, sandbox: Sandbox) {
        let surplus = {
            let mut kept = lock(&self.kept);
            match kept.stock {
                Stock::Closed => Some(sandbox),
                Stock::Kept | Stock::Failing(_) | Stock::CannotWait => {
                    kept.stock = Stock::Kept;
                    kept.ready.push_back(sandbox);
                    None
                }
            }
        };
        drop(surplus);
    }

    pub(super) fn note(&self, stock: Stock) {
        let mut kept = lock(&self.kept);
        if kept.stock != Stock::Closed {
            kept.stock = stock;
        }
    }

    /// Removes what is idle or old, and says what is to be done next.
    pub(super) fn tend(&self, now: Instant) -> Task {
        let mut removed = Vec::new();
        let mut kept = lock(&self.kept);
        let idle_at = kept.asked + self.spec.idle;
        if now >= idle_at {
            kept.counts.removed_idle += kept.ready.len() as u64;
            removed.extend(kept.ready.drain(..));
        }
        let old = |sandbox: &Sandbox| now.duration_since(sandbox.born) >= self.spec.max_age;
        while kept.ready.front().is_some_and(old) {
            kept.counts.removed_old += 1;
            removed.extend(kept.ready.pop_front());
        }
        let idle = now >= idle_at;
        let few = (kept.ready.len() as u64) < u64::from(self.spec.ready);
        let task = match kept.stock {
            Stock::CannotWait | Stock::Closed => Task::Rest(None),
            Stock::Kept | Stock::Failing(_) if idle => Task::Rest(None),
            Stock::Kept | Stock::Failing(_) if few => Task::Start,
            Stock::Kept | Stock::Failing(_) => {
                let oldest = kept.ready.front().map(|sandbox| sandbox.born);
                let old_at = oldest.map(|born| born + self.spec.max_age);
                Task::Rest(Some(old_at.map_or(idle_at, |at| at.min(idle_at))))
            }
        };
        drop(kept);
        drop(removed);
        task
    }

    /// Drops those that do not run any more.
    pub(super) fn keep_only(&self, running: &BTreeSet<String>, asked: Instant) {
        let mut gone = Vec::new();
        let mut kept = lock(&self.kept);
        let (alive, dead) = kept
            .ready
            .drain(..)
            // One that came after the question is not in its answer.
            .partition(|sandbox| sandbox.born > asked || running.contains(&sandbox.name));
        kept.ready = alive;
        drop(kept);
        gone.extend::<VecDeque<_>>(dead);
        drop(gone);
    }

    pub(super) fn has_ready(&self) -> bool {
        !lock(&self.kept).ready.is_empty()
    }

    /// How it does.
    pub(super) fn status(&self) -> SandboxStatus {
        let kept = lock(&self.kept);
        let note = match &kept.stock {
            Stock::Kept | Stock::Closed => None,
            Stock::Failing(why) => Some(why.clone()),
            Stock::CannotWait => Some(
                "the image has no `sleep`, so nothing is kept ready: each command has a container \
                 made for it"
                    .to_owned(),
            ),
        };
        SandboxStatus {
            name: self.name.clone(),
            image: self.spec.container.image.clone(),
            ready: kept.ready.len(),
            wanted: usize::try_from(self.spec.ready).unwrap_or(usize::MAX),
            running: self.queue.running(),
            waiting: self.queue.waiting(),
            max_running: usize::try_from(self.spec.max_running).unwrap_or(usize::MAX),
            idle: kept.asked.elapsed() >= self.spec.idle,
            runs: kept.counts.runs,
            cold: kept.counts.cold,
            timeouts: kept.counts.timeouts,
            out_of_memory: kept.counts.out_of_memory,
            refused: kept.counts.refused,
            removed_idle: kept.counts.removed_idle,
            removed_old: kept.counts.removed_old,
            note,
        }
    }
}

/// How often the engine is asked whether those that wait still run.
pub(super) const CHECK: Duration = Duration::from_secs(30);

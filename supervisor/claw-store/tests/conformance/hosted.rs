//! The store behind the process that hosts it. In a run under kills that process is killed between
//! operations, again and again: its successor opens what the file system holds of the files, and
//! the replicas, which live on, say what they have in hand. Kills within an operation are in
//! `durability.rs`, with a real process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use claw_store::bus::{
    Completed, DeadLetter, Delivery, Done, Event, Figures, Force, GroupConfig, LastReport, LeaseId,
    Level, Member, NewEvent, Pause, Publisher, Pulled, Readiness, Receipt, Removed, Resumed, Seq,
    Settle, Settled, Start, Subscription, Which,
};
use claw_store::state::{
    At, Commit, CommitCause, Difference, Export, KeyInfo, Mark, Namespace, NamespaceInfo, Pruned,
    Snapshot, Value, Version, VersionInfo, Versions, WriterId,
};
use claw_store::store::{EventLimits, ManualClock, StoreCloseError};
use claw_store::{Store, StoreError};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::support::{Chance, open, scaled};

/// Whether this is the run under kills.
pub(crate) fn under_kills() -> bool {
    env!("CARGO_CRATE_NAME") == "under_kills"
}

/// A bigger store is left alone: copying it would take longer than its test.
const BIGGEST: u64 = 32 * 1024 * 1024;

/// How long replicas have to say what they have in hand. The clock stands still until they have.
const GRACE: Duration = Duration::from_millis(1);

/// What a test calls as it would call the store. Clones are the same.
#[derive(Clone)]
pub(crate) struct Hosted {
    host: Arc<Host>,
}

struct Host {
    life: RwLock<Life>,
    fate: Mutex<Fate>,
    clock: ManualClock,
    limits: EventLimits,
}

/// One life of the process.
struct Life {
    store: Store,
    path: PathBuf,
}

/// When the process is killed, and what others tell its successor.
struct Fate {
    chance: Chance,
    /// Operations until the next kill is due.
    left: u64,
    kills: u64,
    members: BTreeSet<Member>,
    rates: BTreeMap<String, Option<u32>>,
    readiness: BTreeMap<Member, Readiness>,
}

impl Hosted {
    pub(crate) fn open(path: &Path, clock: &ManualClock, limits: &EventLimits) -> Self {
        let mut chance = Chance(seed());
        let left = chance.below(4);
        let fate = Fate {
            chance,
            left,
            kills: 0,
            members: BTreeSet::new(),
            rates: BTreeMap::new(),
            readiness: BTreeMap::new(),
        };
        Self::with(path, clock, limits, fate)
    }

    fn with(path: &Path, clock: &ManualClock, limits: &EventLimits, fate: Fate) -> Self {
        let store = open(path, clock, limits).unwrap();
        let path = path.to_owned();
        let host = Host {
            life: RwLock::new(Life { store, path }),
            fate: Mutex::new(fate),
            clock: clock.clone(),
            limits: limits.clone(),
        };
        Self {
            host: Arc::new(host),
        }
    }

    /// A clean stop and a start, of the replicas too.
    pub(crate) fn restart(self, limits: &EventLimits) -> Self {
        let path = self.path();
        let mut old = self.fate();
        let fate = Fate {
            chance: Chance(old.chance.draw()),
            left: old.left,
            kills: old.kills,
            // They hold nothing now, which another successor has to be told as well.
            members: old.members.clone(),
            rates: BTreeMap::new(),
            readiness: BTreeMap::new(),
        };
        drop(old);
        let clock = self.host.clock.clone();
        self.close().unwrap();
        Self::with(&path, &clock, limits, fate)
    }

    /// How often the process was killed.
    pub(crate) fn kills(&self) -> u64 {
        self.fate().kills
    }

    /// No kill comes from now on, because the rest of the test is about what a kill changes by
    /// design; the reason says what that is.
    pub(crate) fn spared(&self, reason: &str) {
        assert!(!reason.is_empty());
        self.fate().left = u64::MAX;
    }

    pub(crate) fn path(&self) -> PathBuf {
        let life = self.host.life.try_read().expect("no kill is under way");
        life.path.clone()
    }

    /// A clean stop.
    pub(crate) fn close(self) -> Result<(), StoreCloseError> {
        let host = Arc::into_inner(self.host).expect("no operation is under way");
        host.life.into_inner().store.close()
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.host.fate.lock().unwrap()
    }

    /// The process of now, which may be another one than a moment ago.
    async fn alive(&self) -> RwLockReadGuard<'_, Life> {
        if under_kills() && self.fate().strikes() {
            self.kill().await;
        }
        self.host.life.read().await
    }

    /// Kills the process, unless an operation is under way.
    async fn kill(&self) {
        let Ok(mut life) = self.host.life.try_write() else {
            self.fate().left = 0;
            return;
        };
        let size = std::fs::metadata(&life.path).unwrap().len();
        if size > BIGGEST {
            return;
        }
        let (members, rates, readiness) = {
            let fate = self.fate();
            (
                fate.members.clone(),
                fate.rates.clone(),
                fate.readiness.clone(),
            )
        };
        // Tests that moved the clock count on it that what is due happened before the kill.
        life.store.tick().await.unwrap();
        let mut in_hand = Vec::new();
        for member in members {
            // A group may be gone, and its members with it.
            if let Ok(held) = life.store.held(&member).await {
                in_hand.push((member, held.iter().map(|one| one.lease).collect()));
            }
        }
        let mut limits = self.host.limits.clone();
        limits.adopt_grace = limits.adopt_grace.max(GRACE);
        let path = left_of(&life.path);
        let store = open(&path, &self.host.clock, &limits).unwrap();
        for (source, rate) in rates {
            store.set_rate(source, rate).await.unwrap();
        }
        for (member, held) in in_hand {
            let resumed = store.resume(&member, held).await.unwrap();
            assert_eq!(resumed.abandoned, vec![], "{member} had it in hand");
        }
        for (member, readiness) in readiness {
            store.set_ready(&member, readiness).await.unwrap();
        }
        *life = Life { store, path };
        self.fate().kills += 1;
    }
}

impl Fate {
    fn strikes(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        let most = scaled(60, 15);
        self.left = if self.kills < most {
            // Close together at first, because most tests are short; then further apart.
            self.chance.below(4 << (self.kills / 5))
        } else {
            u64::MAX
        };
        true
    }
}

/// What a killed process leaves: its files as they are, copied while nothing is under way. The log
/// comes first: a checkpoint in between only repeats in the database what is in it.
fn left_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap();
    let folder = path.parent().unwrap();
    let next = (0..)
        .map(|number| folder.join(format!("kill-{number}")))
        .find(|next| !next.exists())
        .unwrap();
    std::fs::create_dir(&next).unwrap();
    let mut wal = name.to_owned();
    wal.push("-wal");
    std::fs::copy(folder.join(&wal), next.join(&wal)).unwrap();
    std::fs::copy(path, next.join(name)).unwrap();
    next.join(name)
}

/// `CLAW_TEST_SEED`, or another one each time; it is printed.
fn seed() -> u64 {
    let given = std::env::var("CLAW_TEST_SEED").ok();
    let seed = given.map_or_else(
        || {
            u64::from(std::process::id())
                ^ u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos())
        },
        |text| text.parse().expect("a number"),
    );
    say_seed(seed);
    seed
}

#[expect(clippy::print_stdout, reason = "it is shown when a test fails")]
fn say_seed(seed: u64) {
    if under_kills() {
        println!("CLAW_TEST_SEED={seed}");
    }
}

macro_rules! offered {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Hosted {$(
            pub(crate) async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                let life = self.alive().await;
                life.store.$name($($argument),*).await
            }
        )*}
    };
}

offered! {
    checkpoint(namespace: &Namespace, mark: Mark, label: Option<String>) -> Option<Version>;
    commit(commit: Commit) -> Version;
    dead_letters(group: &str, limit: u32) -> Vec<DeadLetter>;
    diff(namespace: &Namespace, before: At, after: At) -> Vec<Difference>;
    discard(group: &str, which: Which) -> u64;
    drop_group(name: &str) -> ();
    enforce_retention(force: Force) -> Removed;
    export(namespace: &Namespace, at: At) -> Export;
    fence(namespace: &Namespace, epoch: u64) -> ();
    figures(name: &str) -> Figures;
    get(namespace: &Namespace, key: &str, at: At) -> Option<Value>;
    groups() -> Vec<String>;
    held(member: &Member) -> Vec<Delivery>;
    import(namespace: &Namespace, export: Export, writer: WriterId, cause: CommitCause) -> Version;
    import_events(events: Vec<Arc<Event>>) -> u64;
    last_report(work: &str, attempt: u32) -> Option<LastReport>;
    list(namespace: &Namespace, prefix: &str, at: At) -> Vec<KeyInfo>;
    namespaces() -> Vec<NamespaceInfo>;
    orphan_group(name: &str) -> ();
    prune() -> Pruned;
    publish(events: Vec<NewEvent>, level: Level, publisher: Publisher) -> Vec<Receipt>;
    read_events(from: Seq, subscription: Option<Subscription>, limit: u32) -> Vec<Arc<Event>>;
    redrive(group: &str, which: Which) -> u64;
    release_replica(member: &Member) -> ();
    renew(member: &Member) -> ();
    resume(member: &Member, running: Vec<LeaseId>) -> Resumed;
    rollback(namespace: &Namespace, to: At, writer: WriterId, cause: CommitCause) -> Version;
    seek(name: &str, to: Start) -> ();
    set_paused(name: &str, pause: Pause) -> ();
    set_quota(namespace: &Namespace, max_bytes: u64) -> ();
    settle(member: &Member, lease: LeaseId, settle: Settle) -> Settled;
    settle_all(member: &Member, settles: Vec<(LeaseId, Settle)>) -> Vec<Result<Settled, StoreError>>;
    snapshot(namespace: &Namespace, at: At) -> Snapshot;
    tick() -> ();
    transact(done: Done) -> Completed;
    upsert_group(name: &str, config: GroupConfig, start: Start) -> ();
    versions(namespace: &Namespace, which: Versions) -> Vec<VersionInfo>;
}

/// What the host has to be told again after a kill.
impl Hosted {
    pub(crate) async fn pull(&self, member: &Member, max: usize) -> Result<Pulled, StoreError> {
        self.fate().members.insert(member.clone());
        self.alive().await.store.pull(member, max).await
    }

    pub(crate) async fn next(
        &self,
        member: &Member,
        max: usize,
        wait: Duration,
    ) -> Result<Pulled, StoreError> {
        self.fate().members.insert(member.clone());
        self.alive().await.store.next(member, max, wait).await
    }

    pub(crate) async fn set_rate(
        &self,
        source: String,
        per_minute: Option<u32>,
    ) -> Result<(), StoreError> {
        let life = self.alive().await;
        self.fate().rates.insert(source.clone(), per_minute);
        life.store.set_rate(source, per_minute).await
    }

    pub(crate) async fn set_ready(
        &self,
        member: &Member,
        readiness: Readiness,
    ) -> Result<(), StoreError> {
        let life = self.alive().await;
        self.fate().readiness.insert(member.clone(), readiness);
        life.store.set_ready(member, readiness).await
    }
}

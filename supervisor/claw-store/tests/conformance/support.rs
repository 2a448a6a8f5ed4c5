//! A store in a directory of its own with a clock that is moved by hand, and short words for what
//! every test does. Another backend would be put under the suite here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use claw_store::bus::{
    Delivery, GroupConfig, Level, Member, NewEvent, Publisher, Receipt, RetryPolicy, Settle,
    Settled, Start, TopicFilter,
};
use claw_store::state::{Commit, CommitCause, Expect, Namespace, StateOp, Version, WriterId};
use claw_store::store::{EventLimits, ManualClock, UnixMs};
use claw_store::{Store, StoreError, StoreOptions};
use tempfile::TempDir;

use crate::hosted::Hosted;

/// The test values of the design.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
pub(crate) const BASE: Duration = Duration::from_millis(100);
pub(crate) const WINDOW: Duration = Duration::from_secs(2);

/// Long enough for any machine, so that only a fault reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const BEGAN: UnixMs = UnixMs(1_800_000_000_000);

/// The count that a statement names, or fewer in an ordinary run.
pub(crate) fn scaled(full: u64, ordinary: u64) -> u64 {
    match std::env::var("CLAW_CONFORMANCE") {
        Ok(wish) if wish == "full" => full,
        Ok(_) | Err(_) => ordinary,
    }
}

pub(crate) struct Bench {
    _directory: TempDir,
    pub(crate) clock: ManualClock,
    pub(crate) store: Hosted,
    pub(crate) limits: EventLimits,
}

pub(crate) fn limits() -> EventLimits {
    EventLimits {
        dedup_window: WINDOW,
        ..EventLimits::default()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(limits())
    }

    pub(crate) fn with(limits: EventLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(BEGAN);
        let store = Hosted::open(&directory.path().join("store.db"), &clock, &limits);
        Self {
            _directory: directory,
            clock,
            store,
            limits,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.store.path()
    }

    /// A clean stop and a start.
    pub(crate) fn restart(self) -> Self {
        let store = self.store.restart(&self.limits);
        Self { store, ..self }
    }

    pub(crate) async fn advance(&self, span: Duration) {
        self.clock.advance(span);
        self.store.tick().await.unwrap();
    }

    pub(crate) async fn group(&self, name: &str, config: GroupConfig) {
        self.store
            .upsert_group(name, config, Start::Now)
            .await
            .unwrap();
    }

    pub(crate) async fn publish(&self, events: Vec<NewEvent>) -> Vec<Receipt> {
        let published = self.store.publish(events, Level::Os, Publisher::Outside);
        published.await.unwrap()
    }

    /// Publishes events `from..to` of a topic, named by their numbers.
    pub(crate) async fn numbers(&self, topic: &str, numbers: std::ops::Range<u64>) {
        let numbers: Vec<u64> = numbers.collect();
        for some in numbers.chunks(500) {
            let events = some.iter().map(|n| event(topic, *n)).collect();
            self.publish(events).await;
        }
    }

    pub(crate) async fn pull(&self, member: &Member, max: usize) -> Vec<Delivery> {
        self.store.pull(member, max).await.unwrap().deliveries
    }

    pub(crate) async fn one(&self, member: &Member) -> Delivery {
        let mut found = self.pull(member, 1).await;
        found.pop().expect("a delivery")
    }

    pub(crate) async fn nothing(&self, member: &Member) {
        assert_eq!(self.pull(member, 10).await, vec![], "for {member}");
    }

    pub(crate) async fn ack(&self, member: &Member, delivery: &Delivery) {
        let settled = self.store.settle(member, delivery.lease, Settle::Ack).await;
        assert_eq!(settled, Ok(Settled::Done));
    }

    pub(crate) async fn nak(&self, member: &Member, delivery: &Delivery) -> Settled {
        let nak = Settle::Nak {
            delay: None,
            error: "it failed".into(),
        };
        self.store
            .settle(member, delivery.lease, nak)
            .await
            .unwrap()
    }

    /// Everything there is for a replica, acknowledged one by one.
    pub(crate) async fn drain(&self, member: &Member) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let deliveries = self.pull(member, 100).await;
            if deliveries.is_empty() {
                return seen;
            }
            for delivery in deliveries {
                self.ack(member, &delivery).await;
                seen.push(delivery.event.id.clone());
            }
        }
    }

    pub(crate) async fn set(&self, key: &str, value: &str) -> Version {
        self.store.commit(set(key, value)).await.unwrap()
    }

    pub(crate) async fn text(&self, key: &str, at: claw_store::state::At) -> Option<String> {
        let value = self.store.get(&space(), key, at).await.unwrap()?;
        Some(String::from_utf8(value.bytes.to_vec()).unwrap())
    }
}

pub(crate) fn open(
    path: &std::path::Path,
    clock: &ManualClock,
    limits: &EventLimits,
) -> Result<Store, claw_store::store::OpenError> {
    Store::open(path, options(clock, limits))
}

pub(crate) fn options(clock: &ManualClock, limits: &EventLimits) -> StoreOptions {
    let options = StoreOptions::default().with_clock(clock.clone());
    options.with_events(limits.clone()).with_seed(7)
}

pub(crate) fn event(topic: &str, n: u64) -> NewEvent {
    NewEvent {
        id: format!("{topic}-{n}"),
        source: "test".into(),
        topic: topic.into(),
        data: format!("{{\"n\":{n}}}").into_bytes(),
        ..NewEvent::default()
    }
}

pub(crate) fn keyed(topic: &str, key: &str, n: u64) -> NewEvent {
    NewEvent {
        id: format!("{topic}-{key}-{n}"),
        key: Some(key.into()),
        ..event(topic, n)
    }
}

/// A group with the test values.
pub(crate) fn config(filter: &str) -> GroupConfig {
    GroupConfig {
        retry: RetryPolicy {
            max_attempts: 3,
            base: BASE,
            max: Duration::from_secs(10),
            jitter_percent: 20,
        },
        lease: LEASE,
        ..GroupConfig::new(TopicFilter::try_new(filter).unwrap())
    }
}

/// With many hands, where the test is not about concurrency.
pub(crate) fn wide(filter: &str) -> GroupConfig {
    GroupConfig {
        concurrency: 1_000,
        ..config(filter)
    }
}

/// One that gives up nothing.
pub(crate) fn patient(config: GroupConfig) -> GroupConfig {
    GroupConfig {
        retry: RetryPolicy {
            max_attempts: 1_000,
            ..config.retry
        },
        ..config
    }
}

pub(crate) fn member(group: &str, replica: u32) -> Member {
    Member::new(group, replica)
}

pub(crate) fn names(topic: &str, numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("{topic}-{n}")).collect()
}

pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|one| one.event.id.clone()).collect()
}

pub(crate) fn space() -> Namespace {
    Namespace::agent("a")
}

pub(crate) fn writer() -> WriterId {
    WriterId {
        name: "a/0".into(),
        epoch: 1,
    }
}

pub(crate) fn op(key: &str, value: &str) -> StateOp {
    StateOp::Set {
        key: key.into(),
        value: value.as_bytes().to_vec(),
        ttl: None,
        expect: Expect::Anything,
    }
}

pub(crate) fn delete(key: &str) -> StateOp {
    StateOp::Delete {
        key: key.into(),
        expect: Expect::Anything,
    }
}

pub(crate) fn commit(ops: Vec<StateOp>) -> Commit {
    Commit {
        namespace: space(),
        writer: writer(),
        ops,
        cause: CommitCause::default(),
    }
}

pub(crate) fn set(key: &str, value: &str) -> Commit {
    commit(vec![op(key, value)])
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, StoreError>) -> &'static str {
    result.unwrap_err().code()
}

/// Counts how often each is there.
pub(crate) fn tally(names: impl IntoIterator<Item = String>) -> BTreeMap<String, u64> {
    let mut tally = BTreeMap::new();
    for name in names {
        *tally.entry(name).or_default() += 1;
    }
    tally
}

/// SplitMix64, so that a seed replays exactly.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

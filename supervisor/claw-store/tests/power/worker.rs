//! A process that works with a store while everything it asks of the disk is recorded.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use claw_store::bus::{Level, NewEvent, Publisher};
use claw_store::state::{Commit, CommitCause, Expect, Namespace, StateOp, WriterId};
use claw_store::{Store, StoreOptions};

use crate::disk::Recording;
use crate::source;

/// Enough for the log to be moved to the database several times.
const ROUNDS: u64 = 48;
/// Small events of a round, by tasks that publish at the same time, before a big one.
const EVENTS: u64 = 15;
const TASKS: u64 = 4;
/// Bytes of an event.
const SMALL: usize = 100;
const BIG: usize = 1_000_000;

/// Whether the process syncs when it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    Honest,
    Pretended,
}

/// Something that the store has answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    Event {
        number: u64,
        seq: u64,
    },
    /// A key with the name of this number.
    State(u64),
}

impl Acknowledged {
    /// What was written in one piece.
    pub(crate) fn read(text: &str) -> impl Iterator<Item = Self> {
        text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["event", number, seq] => Self::Event {
                    number: number.parse().unwrap(),
                    seq: seq.parse().unwrap(),
                },
                ["state", number] => Self::State(number.parse().unwrap()),
                _ => panic!("{line}"),
            }
        })
    }
}

pub(crate) fn name(number: u64) -> String {
    format!("event-{number}")
}

/// Lets the process work and returns what it asked of the disk.
pub(crate) fn record(level: Level, syncs: Syncs) -> Recording {
    let directory = tempfile::tempdir().unwrap();
    let recorder = directory.path().join("record.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&recorder)
        .arg(source("record.c"))
        .args(["-ldl", "-pthread"])
        .status()
        .unwrap();
    assert!(compiled.success(), "record.c does not compile");
    let recording = directory.path().join("recording");
    let worked = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "worker::work"])
        .env("LD_PRELOAD", &recorder)
        .env("CLAW_RECORD", &recording)
        .env("CLAW_WORKER_DIRECTORY", directory.path())
        .env("CLAW_WORKER_LEVEL", format!("{level:?}"))
        .env("CLAW_WORKER_SYNCS", format!("{syncs:?}"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(worked.success(), "the worker failed");
    Recording::read(&std::fs::read(recording).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the recorded process of other tests"]
async fn work() {
    let Some(directory) = std::env::var_os("CLAW_WORKER_DIRECTORY") else {
        return;
    };
    let directory = Path::new(&directory);
    let level = match std::env::var("CLAW_WORKER_LEVEL").unwrap().as_str() {
        "Disk" => Level::Disk,
        "Os" => Level::Os,
        other => panic!("{other}"),
    };
    let honest = std::env::var("CLAW_WORKER_SYNCS").unwrap() == format!("{:?}", Syncs::Honest);
    // Through the C library, where it is recorded.
    let sync = move |file: &File| if honest { file.sync_data() } else { Ok(()) };
    let options = StoreOptions::default().with_fdatasync(sync);
    let store = Store::open(&directory.join("store.db"), options).unwrap();
    let list = File::create(directory.join("acknowledged")).unwrap();
    let worker = Arc::new(Worker { store, level, list });
    let next = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        let big = round * (EVENTS + 1) + EVENTS;
        let tasks = (0..TASKS).map(|_| {
            let (worker, next) = (Arc::clone(&worker), Arc::clone(&next));
            tokio::spawn(async move { worker.small_ones(&next, big).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        worker.publish(big, BIG).await;
        next.store(big + 1, Relaxed);
        // A log that is wholly moved meanwhile is begun anew by the next commit.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The power is cut while it works; closing would sync everything.
    std::process::exit(0);
}

struct Worker {
    store: Store,
    level: Level,
    list: File,
}

impl Worker {
    async fn small_ones(&self, next: &AtomicU64, end: u64) {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= end {
                return;
            }
            self.publish(number, SMALL).await;
            if self.level == Level::Disk && number.is_multiple_of(7) {
                self.store.commit(set(number)).await.unwrap();
                self.say(&format!("state {number}\n"));
            }
        }
    }

    async fn publish(&self, number: u64, bytes: usize) {
        let event = NewEvent {
            id: name(number),
            source: "worker".into(),
            topic: "t".into(),
            data: vec![b'1'; bytes],
            ..NewEvent::default()
        };
        let published = self
            .store
            .publish(vec![event], self.level, Publisher::Outside);
        let seq = published.await.unwrap()[0].seq.unwrap();
        self.say(&format!("event {number} {seq}\n"));
    }

    /// In one piece, so that it is one step of the record.
    fn say(&self, line: &str) {
        (&self.list).write_all(line.as_bytes()).unwrap();
    }
}

fn set(number: u64) -> Commit {
    Commit {
        namespace: Namespace::agent("a"),
        writer: WriterId::default(),
        ops: vec![StateOp::Set {
            key: name(number),
            value: number.to_string().into_bytes(),
            ttl: None,
            expect: Expect::Anything,
        }],
        cause: CommitCause::default(),
    }
}

//! A process that works with a store until it is killed, and what it said before.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use claw_store::Store;
use claw_store::bus::{Done, Level, Outcome, Publisher, Settle};
use claw_store::store::ManualClock;

use crate::support::*;

/// What a child does, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Publishes event n, every other one at the level of the disk.
    Events,
    /// Sets key `n` to n.
    State,
    /// Sets key `n` to n and emits event n.
    Both,
    /// Acknowledges what group `g` has.
    Acks,
}

/// Tasks of a child that work at the same time, where order does not matter.
const TASKS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of other tests"]
async fn work_until_killed() {
    let Ok(path) = std::env::var("CLAW_CHILD_STORE") else {
        return;
    };
    let work = match std::env::var("CLAW_CHILD_WORK").unwrap().as_str() {
        "Events" => Work::Events,
        "State" => Work::State,
        "Both" => Work::Both,
        "Acks" => Work::Acks,
        other => panic!("{other}"),
    };
    let first: u64 = std::env::var("CLAW_CHILD_FIRST").unwrap().parse().unwrap();
    let store = open(Path::new(&path), &ManualClock::new(BEGAN), &limits()).unwrap();
    let next = Arc::new(AtomicU64::new(first));
    let tasks = match work {
        Work::Events => TASKS,
        Work::State | Work::Both | Work::Acks => 1,
    };
    say("ready");
    let working = (0..tasks).map(|_| tokio::spawn(forever(store.clone(), work, next.clone())));
    for task in working.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn forever(store: Store, work: Work, next: Arc<AtomicU64>) {
    loop {
        let n = next.fetch_add(1, Relaxed);
        match work {
            Work::Events => {
                let level = if n.is_multiple_of(2) {
                    Level::Os
                } else {
                    Level::Disk
                };
                store
                    .publish(vec![event("t", n)], level, Publisher::Outside)
                    .await
                    .unwrap();
                say(&n.to_string());
            }
            Work::State => {
                store.commit(set("n", &n.to_string())).await.unwrap();
                say(&n.to_string());
            }
            Work::Both => {
                let done = Done {
                    member: member("g", 0),
                    work: Some(format!("run-{n}")),
                    look: None,
                    attempt: 1,
                    settle: None,
                    commits: vec![set("n", &n.to_string())],
                    events: vec![event("t", n)],
                    outcome: Outcome::Succeeded,
                };
                store.transact(done).await.unwrap();
                say(&n.to_string());
            }
            Work::Acks => {
                let who = member("g", 0);
                let pulled = store.next(&who, 5, PATIENCE).await.unwrap();
                for delivery in pulled.deliveries {
                    store
                        .settle(&who, delivery.lease, Settle::Ack)
                        .await
                        .unwrap();
                    let id = &delivery.event.id;
                    say(id.strip_prefix("t-").unwrap());
                }
            }
        }
    }
}

fn say(word: &str) {
    let mut output = std::io::stdout().lock();
    output
        .write_all(format!("said {word}\n").as_bytes())
        .unwrap();
    output.flush().unwrap();
}

/// Lets a child work for a while, kills it and returns what it had said.
pub(crate) fn killed_after(path: &Path, work: Work, first: u64, span: Duration) -> BTreeSet<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "child::work_until_killed",
            "--nocapture",
        ])
        .env("CLAW_CHILD_STORE", path)
        .env("CLAW_CHILD_WORK", format!("{work:?}"))
        .env("CLAW_CHILD_FIRST", first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut said = BTreeSet::new();
    let mut began = None;
    for line in output.lines().map_while(Result::ok) {
        let Some(word) = line.split("said ").nth(1) else {
            continue;
        };
        said.extend(word.parse::<u64>());
        let began = *began.get_or_insert_with(Instant::now);
        // A busy machine does little in a span; what is killed must have done something.
        let enough = said.len() as u128 >= span.as_millis() / 4;
        if enough && began.elapsed() >= span {
            // It may be killed already; its last words are still read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    said
}

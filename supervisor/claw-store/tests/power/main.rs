//! Power cuts: every write, truncation and sync of a store at work is recorded, and what a disk may
//! hold after a cut at any of these points is built from the record and opened.
//!
//! What was synced is there. Of what was not, each write may be there, be missing, or be there in
//! some of its sectors, in any order: that is all a disk promises.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, in its helpers too"
)]

mod disk;
mod worker;

use std::path::Path;

use claw_store::bus::Level;
use claw_store::state::{At, Namespace};
use claw_store::{Store, StoreOptions};

use disk::{Left, Recording, Trust};
use worker::{Acknowledged, Syncs, record};

/// Cuts in an ordinary run; `CLAW_CONFORMANCE=full` makes many more.
fn cuts() -> u64 {
    match std::env::var("CLAW_CONFORMANCE") {
        Ok(wish) if wish == "full" => 2_000,
        Ok(_) | Err(_) => 40,
    }
}

/// What is wrong with a store after a cut.
#[derive(Debug)]
#[expect(dead_code, reason = "it is shown when a test fails")]
enum Fault {
    DoesNotOpen(String),
    Hole { expected: u64, found: u64 },
    Lost(Acknowledged),
    Damaged(String),
}

#[tokio::test(flavor = "multi_thread")]
async fn at_level_disk_no_cut_loses_an_acknowledged_event_or_state() {
    let recording = record(Level::Disk, Syncs::Honest);
    let beginnings = recording.beginnings_of_the_log();
    assert!(beginnings > 1, "the log was never begun anew");
    for seed in 0..cuts() {
        let left = recording.cut(seed, Trust::EverySync);
        let faults = faults(&left).await;
        assert!(faults.is_empty(), "cut {seed}: {faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_level_os_a_cut_leaves_a_store_that_opens_with_a_beginning_of_the_events() {
    let recording = record(Level::Os, Syncs::Honest);
    let mut lost = 0;
    for seed in 0..cuts() {
        let left = recording.cut(seed, Trust::EverySync);
        for fault in faults(&left).await {
            match fault {
                Fault::Lost(_) => lost += 1,
                Fault::DoesNotOpen(_) | Fault::Hole { .. } | Fault::Damaged(_) => {
                    panic!("cut {seed}: {fault:?}")
                }
            }
        }
    }
    assert!(lost > 0, "the cuts cut nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_sync_is_caught() {
    let recording = record(Level::Disk, Syncs::Pretended);
    assert!(is_caught(&recording, Trust::EverySync).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_ignores_the_syncs_of_checkpoints_is_caught() {
    let recording = record(Level::Disk, Syncs::Honest);
    assert!(is_caught(&recording, Trust::SyncsOfTheLog).await);
}

async fn is_caught(recording: &Recording, trust: Trust) -> bool {
    for seed in 0..cuts() {
        if !faults(&recording.cut(seed, trust)).await.is_empty() {
            return true;
        }
    }
    false
}

/// Opens what a cut left and looks for everything that was acknowledged before it.
async fn faults(left: &Left) -> Vec<Fault> {
    let path = left.directory.path().join("store.db");
    let store = match Store::open(&path, StoreOptions::default()) {
        Ok(store) => store,
        Err(error) => return vec![Fault::DoesNotOpen(error.to_string())],
    };
    let events = match events(&store).await {
        Ok(events) => events,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    for one in &left.acknowledged {
        let found = match one {
            Acknowledged::Event { number, seq } => {
                let place = usize::try_from(*seq - 1).unwrap();
                Ok(events.get(place) == Some(&worker::name(*number)))
            }
            Acknowledged::State(number) => {
                let space = Namespace::agent("a");
                let value = store.get(&space, &worker::name(*number), At::Head).await;
                value.map(|value| value.is_some())
            }
        };
        match found {
            Ok(true) => {}
            Ok(false) => faults.push(Fault::Lost(*one)),
            Err(error) => faults.push(Fault::Damaged(error.to_string())),
        }
    }
    store.close().unwrap();
    faults
}

/// The ids of all events, in their order, without a hole.
async fn events(store: &Store) -> Result<Vec<String>, Fault> {
    let mut events = Vec::new();
    loop {
        let next = events.len() as u64 + 1;
        let some = store.read_events(next, None, 1_000).await;
        let some = some.map_err(|error| Fault::Damaged(error.to_string()))?;
        if some.is_empty() {
            return Ok(events);
        }
        for event in some {
            let (expected, found) = (events.len() as u64 + 1, event.seq);
            if found != expected {
                return Err(Fault::Hole { expected, found });
            }
            events.push(event.id.clone());
        }
    }
}

/// The path of a file beside the tests' sources.
fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/power")
        .join(name)
}

//! Statements 1, 2, 11 and 17, and S6: what survives a kill at any point, and a power cut.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claw_store::bus::{Level, Publisher, Start, Stored};
use claw_store::state::{At, Versions};
use claw_store::store::ManualClock;
use claw_store::{Store, StoreOptions};

use crate::child::{Work, killed_after};
use crate::support::*;

/// From right at the start to well into batches, in no regular steps.
fn span(round: u64) -> Duration {
    Duration::from_micros(round * round * 7_919 % 40_000)
}

/// The numbers of all events.
async fn events(store: &Store) -> BTreeSet<u64> {
    let (mut found, mut next) = (BTreeSet::new(), 1);
    loop {
        let some = store.read_events(next, None, 1_000).await.unwrap();
        let Some(last) = some.last() else {
            return found;
        };
        next = last.seq + 1;
        found.extend(some.iter().map(|event| number(&event.id)));
    }
}

fn number(id: &str) -> u64 {
    id.strip_prefix("t-").unwrap().parse().unwrap()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

fn open_here(path: &Path) -> Store {
    open(path, &ManualClock::new(BEGAN), &limits()).unwrap()
}

#[tokio::test]
async fn statement_01_what_was_acknowledged_survives_sigkill() {
    let (_directory, path) = place();
    let (mut all, mut first) = (BTreeSet::new(), 0);
    for round in 0..scaled(1_000, 25) {
        let said = killed_after(&path, Work::Events, first, span(round));
        first += 1_000_000;
        all.extend(said);
        let store = open_here(&path);
        let found = events(&store).await;
        let missing: Vec<_> = all.difference(&found).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} are lost");
        // Every other one is left as it is, for the next to find.
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
    assert!(all.len() > 100, "too little was published to show anything");
}

#[tokio::test]
async fn statement_04_what_was_acknowledged_is_a_duplicate_after_sigkill() {
    let (_directory, path) = place();
    let mut first = 0;
    let mut tried = 0;
    for round in 0..scaled(200, 10) {
        let said = killed_after(&path, Work::Events, first, span(round));
        first += 1_000_000;
        let store = open_here(&path);
        for n in said {
            let again = store.publish(vec![event("t", n)], Level::Os, Publisher::Outside);
            let receipt = again.await.unwrap()[0];
            assert_eq!(
                receipt.stored,
                Stored::Duplicate,
                "round {round}, event {n}"
            );
            let there = store
                .read_events(receipt.seq.unwrap(), None, 1)
                .await
                .unwrap();
            assert_eq!(number(&there[0].id), n);
            tried += 1;
        }
    }
    assert!(tried > 50, "too little was published to show anything");
}

#[tokio::test]
async fn s06_after_a_kill_the_head_is_the_last_acknowledged_version_and_the_bytes_are_exact() {
    let (_directory, path) = place();
    let (mut first, mut total) = (0, 0);
    for round in 0..scaled(1_000, 20) {
        let said = killed_after(&path, Work::State, first, span(round));
        total += said.len();
        let store = open_here(&path);
        let value = store.get(&space(), "n", At::Head).await.unwrap();
        let text = value.map(|value| String::from_utf8(value.bytes.to_vec()).unwrap());
        let found = text.as_ref().map(|text| text.parse::<u64>().unwrap());
        // The last one may have been committed without a word of it.
        let last = said.last().copied().or(first.checked_sub(1));
        assert!(
            found >= last && found <= last.map_or(Some(0), |last| Some(last + 1)),
            "{found:?}"
        );
        first = found.map_or(0, |found| found + 1);
        let spaces = store.namespaces().await.unwrap();
        let live = spaces.first().map_or(0, |space| space.live_bytes);
        assert_eq!(live, text.map_or(0, |text| text.len() as u64));
        let versions = store.versions(&space(), Versions::All).await.unwrap();
        // An answer holds the newest of them.
        let listed: Vec<_> = versions.iter().map(|one| one.version).collect();
        let newest: Vec<_> = (1..=first).rev().take(10_000).collect();
        assert_eq!(listed, newest, "one version for each number, no gap");
    }
    assert!(total > 50, "too little was set to show anything");
}

#[tokio::test]
async fn statement_11_state_and_event_of_a_handler_exist_both_or_not_at_all() {
    let (_directory, path) = place();
    let (mut first, mut total) = (0, 0);
    for round in 0..scaled(1_000, 20) {
        let said = killed_after(&path, Work::Both, first, span(round));
        total += said.len();
        let store = open_here(&path);
        let value = store.get(&space(), "n", At::Head).await.unwrap();
        let found = value.map(|value| {
            std::str::from_utf8(&value.bytes)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        });
        assert!(found >= said.last().copied());
        first = found.map_or(0, |found| found + 1);
        assert_eq!(events(&store).await, (0..first).collect(), "round {round}");
    }
    assert!(total > 50, "too little was done to show anything");
}

#[tokio::test]
async fn statement_17_after_sigkill_what_was_acknowledged_does_not_repeat() {
    let (_directory, path) = place();
    let count = scaled(40_000, 4_000);
    let store = open_here(&path);
    store
        .upsert_group("g", patient(wide("t")), Start::Now)
        .await
        .unwrap();
    for n in 0..count {
        let one = vec![event("t", n)];
        store
            .publish(one, Level::Os, Publisher::Outside)
            .await
            .unwrap();
    }
    store.close().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..scaled(200, 15) {
        let said = killed_after(&path, Work::Acks, 0, span(round));
        // The statement allows those of the last 50 ms; ours are written before they are answered.
        let repeated: Vec<_> = acknowledged.intersection(&said).collect();
        assert!(
            repeated.is_empty(),
            "round {round}: {repeated:?} came again"
        );
        acknowledged.extend(said);
    }
    assert!(
        acknowledged.len() > 50,
        "too little was acknowledged to show anything"
    );
    let store = open_here(&path);
    let mut left = BTreeSet::new();
    loop {
        let pulled = store.pull(&member("g", 0), 1_000).await.unwrap().deliveries;
        if pulled.is_empty() {
            break;
        }
        for delivery in pulled {
            left.insert(number(&delivery.event.id));
            store
                .settle(
                    &member("g", 0),
                    delivery.lease,
                    claw_store::bus::Settle::Ack,
                )
                .await
                .unwrap();
        }
    }
    assert!(left.is_disjoint(&acknowledged));
    assert!(left.len() + acknowledged.len() <= usize::try_from(count).unwrap());
}

/// A store whose files are copied whenever they are synced: after a power cut the newest copy is
/// what is left.
pub(crate) struct Cut {
    pub(crate) store: Store,
    path: PathBuf,
    copies: PathBuf,
    newest: Arc<Mutex<u64>>,
    _directory: tempfile::TempDir,
}

impl Cut {
    pub(crate) fn new() -> Self {
        let (directory, path) = place();
        let copies = directory.path().join("copies");
        std::fs::create_dir(&copies).unwrap();
        let newest = Arc::new(Mutex::new(0));
        let hook = copying(path.clone(), copies.clone(), Arc::clone(&newest));
        let options: StoreOptions = options(&ManualClock::new(BEGAN), &limits());
        let store = Store::open(&path, options.with_fdatasync(hook)).unwrap();
        Self {
            store,
            path,
            copies,
            newest,
            _directory: directory,
        }
    }

    /// Opens what a power cut would leave now, with garbage where more was written.
    pub(crate) fn power_is_cut(&self) -> (tempfile::TempDir, Store) {
        let (directory, path) = place();
        let copy = self.copies.join(self.newest.lock().unwrap().to_string());
        for name in ["store.db", "store.db-wal"] {
            let from = copy.join(name);
            if from.exists() {
                std::fs::copy(from, directory.path().join(name)).unwrap();
            }
        }
        let wal = directory.path().join("store.db-wal");
        let mut wal = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(wal)
            .unwrap();
        std::io::Write::write_all(&mut wal, &[0xa5; 10_000]).unwrap();
        assert!(self.path.exists());
        (directory, open_here(&path))
    }
}

/// Copies with another process: closing a descriptor of the database in this one would drop the
/// locks on it.
fn copying(
    path: PathBuf,
    copies: PathBuf,
    newest: Arc<Mutex<u64>>,
) -> impl FnMut(&std::fs::File) -> std::io::Result<()> + Send {
    move |_wal| {
        if !path.exists() {
            // The test is over; the store ends behind it.
            return Ok(());
        }
        let mut newest = newest.lock().unwrap();
        *newest += 1;
        let to = copies.join(newest.to_string());
        std::fs::create_dir(&to)?;
        let wal = format!("{}-wal", path.display());
        let copied = Command::new("cp").arg(wal).arg(&path).arg(&to).status()?;
        assert!(copied.success());
        Ok(())
    }
}

/// Publishes rounds of events at a level and says which were acknowledged and lost.
pub(crate) async fn lost_in_a_power_cut(cut: &Cut, level: Level, rounds: u64) -> Vec<u64> {
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let mut tasks = Vec::new();
        for n in round * 10..round * 10 + 10 {
            let store = cut.store.clone();
            tasks.push(tokio::spawn(async move {
                let one = vec![event("t", n)];
                store.publish(one, level, Publisher::Outside).await.unwrap();
                n
            }));
        }
        for task in tasks {
            acknowledged.insert(task.await.unwrap());
        }
        let (_directory, left) = cut.power_is_cut();
        let found = events(&left).await;
        let lost: Vec<_> = acknowledged.difference(&found).copied().collect();
        if !lost.is_empty() {
            return lost;
        }
    }
    Vec::new()
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_02_at_level_disk_a_power_cut_loses_nothing_acknowledged() {
    let cut = Cut::new();
    let lost = lost_in_a_power_cut(&cut, Level::Disk, scaled(500, 25)).await;
    assert!(lost.is_empty(), "{lost:?} are lost");
    for n in 0..20 {
        // State, and what is only promised to survive us between.
        let between = cut
            .store
            .publish(vec![event("u", n)], Level::Os, Publisher::Outside);
        between.await.unwrap();
        cut.store.commit(set("n", &n.to_string())).await.unwrap();
        let (_directory, left) = cut.power_is_cut();
        let value = left.get(&space(), "n", At::Head).await.unwrap().unwrap();
        assert_eq!(&*value.bytes, n.to_string().as_bytes());
    }
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_promised_to_survive_a_power_cut_any_more() {
    let (_directory, path) = place();
    let mut syncs = 0;
    let failing = move |_wal: &std::fs::File| {
        syncs += 1;
        if syncs == 2 {
            Err(std::io::Error::other("the disk is broken"))
        } else {
            Ok(())
        }
    };
    let options = options(&ManualClock::new(BEGAN), &limits()).with_fdatasync(failing);
    let store = Store::open(&path, options).unwrap();
    let publish = |n, level| store.publish(vec![event("t", n)], level, Publisher::Outside);
    publish(0, Level::Disk).await.unwrap();
    assert_eq!(code(publish(1, Level::Disk).await), "unavailable");
    assert_eq!(code(publish(2, Level::Disk).await), "unavailable");
    publish(3, Level::Os).await.unwrap();
    let found = events(&store).await;
    assert!(found.contains(&3) && !found.contains(&2));
}

#[tokio::test]
async fn what_a_failed_sync_has_left_is_written_anew_and_promised_again() {
    let (_directory, path) = place();
    let broken = Arc::new(AtomicBool::new(false));
    let disk = Arc::clone(&broken);
    let failing = move |_wal: &std::fs::File| {
        if disk.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the disk is broken"));
        }
        Ok(())
    };
    let options = options(&ManualClock::new(BEGAN), &limits()).with_fdatasync(failing);
    let store = Store::open(&path, options.with_mend_after(Duration::ZERO)).unwrap();
    let publish = |n, level| store.publish(vec![event("t", n)], level, Publisher::Outside);
    publish(0, Level::Disk).await.unwrap();
    broken.store(true, Ordering::Relaxed);
    assert_eq!(code(publish(1, Level::Disk).await), "unavailable");
    assert_eq!(code(publish(2, Level::Disk).await), "unavailable");
    broken.store(false, Ordering::Relaxed);
    publish(3, Level::Disk).await.unwrap();
    assert!(events(&store).await.contains(&3));
    store.close().unwrap();
}

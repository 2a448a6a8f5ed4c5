//! Statements 44 to 48: what happens when there is too much.

use std::process::Command;
use std::time::{Duration, Instant};

use claw_store::bus::{Bound, GroupConfig, Level, NewEvent, Overflow, Publisher, Start};
use claw_store::store::ManualClock;

use crate::support::*;

fn bounded(policy: Overflow) -> GroupConfig {
    GroupConfig {
        bound: Some(Bound {
            max_pending: 10,
            policy,
        }),
        ..wide("t")
    }
}

#[tokio::test]
async fn statement_44_a_full_group_rejects_blocks_or_drops_as_it_says() {
    let bench = Bench::new();
    bench.group("rejects", bounded(Overflow::Reject)).await;
    bench.numbers("t", 0..10).await;
    let publish = |n| {
        bench
            .store
            .publish(vec![event("t", n)], Level::Os, Publisher::Outside)
    };
    assert_eq!(code(publish(10).await), "backpressure");
    // One that is known takes no room; a batch is refused whole.
    assert_eq!(bench.publish(vec![event("t", 3)]).await.len(), 1);
    assert_eq!(bench.drain(&member("rejects", 0)).await, names("t", 0..10));
    let eleven = (20..31).map(|n| event("t", n)).collect();
    let refused = bench
        .store
        .publish(eleven, Level::Os, Publisher::Outside)
        .await;
    assert_eq!(code(refused), "backpressure");
    assert_eq!(bench.store.figures("rejects").await.unwrap().pending, 0);
    bench.store.drop_group("rejects").await.unwrap();

    let wait = Duration::from_millis(200);
    bench.group("blocks", bounded(Overflow::Block(wait))).await;
    bench.numbers("t", 40..50).await;
    let began = Instant::now();
    assert_eq!(code(publish(50).await), "backpressure");
    assert!(began.elapsed() >= wait && began.elapsed() < wait + Duration::from_secs(2));
    let store = bench.store.clone();
    let parked = tokio::spawn(async move {
        store
            .publish(vec![event("t", 51)], Level::Os, Publisher::Outside)
            .await
    });
    let first = bench.one(&member("blocks", 0)).await;
    bench.ack(&member("blocks", 0), &first).await;
    parked.await.unwrap().unwrap();
    bench.store.drop_group("blocks").await.unwrap();

    bench.group("drops", bounded(Overflow::DropOldest)).await;
    bench.numbers("t", 60..75).await;
    let figures = bench.store.figures("drops").await.unwrap();
    assert_eq!((figures.pending, figures.dropped), (10, 5));
    let bench = bench.restart();
    assert_eq!(bench.store.figures("drops").await.unwrap().dropped, 5);
    assert_eq!(bench.drain(&member("drops", 0)).await, names("t", 65..75));
}

/// What an event of a topic costs from its publication to its acknowledgement by `g`, in bytes of
/// the log: a median over many events, because the log is begun anew now and then. Bytes are the
/// same on a busy machine and an idle one, which events per second are not.
async fn cost(bench: &Bench, topic: &str) -> u64 {
    let length = || {
        let mut log = bench.path().into_os_string();
        log.push("-wal");
        std::fs::metadata(log).unwrap().len()
    };
    let mut costs = Vec::new();
    for n in 0..scaled(2_000, 400) {
        let before = length();
        bench.numbers(topic, n..n + 1).await;
        let delivery = bench.one(&member("g", 0)).await;
        bench.ack(&member("g", 0), &delivery).await;
        costs.push(length().saturating_sub(before));
    }
    costs.sort_unstable();
    costs[costs.len() / 2]
}

#[tokio::test]
async fn statement_45_a_stuck_group_does_not_slow_down_another() {
    let bench = Bench::new();
    bench
        .store
        .spared("each life of the host begins a log, and the log is what is measured");
    bench.group("g", wide("a.>")).await;
    let alone = cost(&bench, "a.alone").await;
    bench.group("stuck", wide("a.>")).await;
    bench.numbers("a.x", 0..20_000).await;
    // It has some in hand and some settled among those that wait, as one that got stuck has.
    for delivery in bench.pull(&member("stuck", 0), 1_000).await {
        if delivery.event.seq % 2 == 0 {
            bench.ack(&member("stuck", 0), &delivery).await;
        }
    }
    bench.drain(&member("g", 0)).await;
    let beside = cost(&bench, "a.beside").await;
    let stuck = bench.store.figures("stuck").await.unwrap();
    assert!(stuck.pending + stuck.in_flight >= 19_500, "{stuck:?}");
    assert!(alone > 0, "the log does not grow");
    // 80 % of the rate is 125 % of the cost.
    assert!(
        beside * 100 <= alone * 125,
        "an event costs {beside} bytes beside a stuck group, {alone} without it"
    );
}

#[tokio::test]
async fn statement_46_a_million_pending_events_take_little_memory() {
    let bench = Bench::new();
    bench
        .store
        .spared("what a killed process held would stay in the memory of this one");
    bench.group("g", wide("t")).await;
    let count = scaled(1_000_000, 60_000);
    bench.numbers("t", 0..count / 10).await;
    let before = resident_bytes();
    for part in 1..10 {
        bench
            .numbers("t", count / 10 * part..count / 10 * (part + 1))
            .await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert_eq!(bench.store.figures("g").await.unwrap().pending, count);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn statement_47_a_source_has_its_rate() {
    let bench = Bench::new();
    bench
        .store
        .spared("what a source has published of its minute is not kept over a kill");
    bench.store.set_rate("test".into(), Some(60)).await.unwrap();
    bench.numbers("t", 0..60).await;
    let publish = |n| {
        bench
            .store
            .publish(vec![event("t", n)], Level::Os, Publisher::Outside)
    };
    let refused = publish(60).await.unwrap_err();
    let claw_store::StoreError::RateLimited { retry_after, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    let other = NewEvent {
        source: "other".into(),
        ..event("t", 61)
    };
    bench.publish(vec![other]).await;
    bench.advance(retry_after).await;
    publish(62).await.unwrap();
    assert_eq!(code(publish(63).await), "rate_limited");
    bench.advance(Duration::from_secs(60)).await;
    // A batch that is more than a minute may bring is let in whole, and paid for afterwards.
    bench.numbers("t", 64..184).await;
    bench.advance(Duration::from_secs(60)).await;
    assert_eq!(code(publish(184).await), "rate_limited");
    bench.advance(Duration::from_secs(1)).await;
    publish(184).await.unwrap();
    bench.store.set_rate("test".into(), None).await.unwrap();
    bench.numbers("t", 185..300).await;
}

/// A file system of a few megabytes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "claw-test"])
            .arg(directory.path())
            .output()
            .map_err(|error| error.to_string())?;
        if mounted.status.success() {
            return Ok(Self(directory));
        }
        Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status()
            .unwrap();
    }
}

#[tokio::test]
async fn statement_48_on_a_full_disk_consuming_goes_on_and_nothing_has_to_be_restarted() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => {
            println!("not shown: no file system of a known size here ({reason})");
            return;
        }
    };
    let path = disk.0.path().join("store.db");
    let clock = ManualClock::new(BEGAN);
    let store = open(&path, &clock, &limits()).unwrap();
    store
        .upsert_group("g", wide("t"), Start::Now)
        .await
        .unwrap();
    let big = |n| NewEvent {
        data: vec![b'1'; 50_000],
        ..event("t", n)
    };
    let mut stored = 0;
    let refused = loop {
        match store
            .publish(vec![big(stored)], Level::Disk, Publisher::Outside)
            .await
        {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "the disk does not fill up");
    };
    assert_eq!(refused.code(), "no_space");
    let who = member("g", 0);
    let pulled = store.pull(&who, 1_000).await.unwrap().deliveries;
    assert_eq!(pulled.len() as u64, stored);
    for delivery in &pulled {
        store
            .settle(&who, delivery.lease, claw_store::bus::Settle::Ack)
            .await
            .unwrap();
    }
    let grow = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(disk.0.path())
        .status()
        .unwrap();
    assert!(grow.success());
    store
        .publish(vec![big(stored)], Level::Disk, Publisher::Outside)
        .await
        .unwrap();
    let last = store.pull(&who, 10).await.unwrap().deliveries;
    assert_eq!(ids(&last), [format!("t-{stored}")]);
    store.close().unwrap();
    let store = open(&path, &clock, &limits()).unwrap();
    let again = store.pull(&who, 10).await.unwrap().deliveries;
    assert_eq!(ids(&again), [format!("t-{stored}")]);
}

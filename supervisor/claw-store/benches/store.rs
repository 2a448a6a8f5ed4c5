//! How fast the store is. Run with `cargo bench -p claw-store --bench store`.
//!
//! The tables come first, the medians of divan after them. Figures of level `disk` are those of
//! the disk; the directory is `CLAW_BENCH_DIR`, or the system's for temporary files.
//! `CLAW_BENCH_SECONDS` is how long a row runs.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step ends the benchmark, and its tables are its output"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use claw_store::bus::{
    GroupConfig, Level, Member, NewEvent, Publisher, Settle, Start, TopicFilter,
};
use claw_store::state::{At, Commit, CommitCause, Expect, Namespace, StateOp, WriterId};
use claw_store::store::{Clock, ManualClock, SystemClock};
use claw_store::{Store, StoreOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() {
    let runtime = Runtime::new().unwrap();
    match std::env::var("CLAW_BENCH_ONLY").as_deref() {
        Ok("rewrites") => return runtime.block_on(rewrites()),
        Ok(other) => panic!("CLAW_BENCH_ONLY knows rewrites, not {other}"),
        Err(_unset) => {}
    }
    println!(
        "{:<44} {:>10} {:>9} {:>9}",
        "publish, deliver, ack, 1 KB", "events/s", "p50 ms", "p99 ms"
    );
    for level in [Level::Disk, Level::Os] {
        for producers in [1, 8, 64, 256] {
            runtime.block_on(events(level, producers));
        }
    }
    println!(
        "\n{:<44} {:>10} {:>9} {:>9}",
        "state, 1 KB", "per s", "p50 ms", "p99 ms"
    );
    runtime.block_on(states());
    println!();
    runtime.block_on(rewrites());
    println!();
    divan::main();
}

struct Bench {
    store: Store,
    directory: TempDir,
}

impl Bench {
    fn new(clock: impl Clock + 'static) -> Self {
        let directory = match std::env::var_os("CLAW_BENCH_DIR") {
            Some(parent) => TempDir::new_in(parent).unwrap(),
            None => TempDir::new().unwrap(),
        };
        let options = StoreOptions::default().with_clock(clock);
        let store = Store::open(&directory.path().join("store.db"), options).unwrap();
        Self { store, directory }
    }

    fn bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    }
}

fn seconds() -> Duration {
    let given = std::env::var("CLAW_BENCH_SECONDS").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(3))
}

fn event(n: u64) -> NewEvent {
    NewEvent {
        id: format!("event-{n}"),
        source: "bench".into(),
        topic: "data.collected".into(),
        data: vec![b'1'; 1_024],
        ..NewEvent::default()
    }
}

/// Each producer waits for its answer before the next event; one replica takes all.
async fn events(level: Level, producers: u64) {
    let bench = Bench::new(SystemClock::default());
    let config = GroupConfig {
        concurrency: 4_096,
        ..GroupConfig::new(TopicFilter::try_new("data.*").unwrap())
    };
    bench
        .store
        .upsert_group("g", config, Start::Now)
        .await
        .unwrap();
    let (stop, next) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let began = Instant::now();
    let consumer = tokio::spawn(consume(bench.store.clone(), Arc::clone(&stop)));
    let mut tasks = Vec::new();
    for _ in 0..producers {
        let (store, next) = (bench.store.clone(), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < seconds() {
                let n = next.fetch_add(1, Relaxed);
                let from = Instant::now();
                store
                    .publish(vec![event(n)], level, Publisher::Outside)
                    .await
                    .unwrap();
                times.push(from.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    stop.store(true, Relaxed);
    let settled = consumer.await.unwrap();
    let rate = f64::from(u32::try_from(settled).unwrap()) / began.elapsed().as_secs_f64();
    assert_eq!(settled, times.len() as u64, "not every event was settled");
    row(
        &format!("{level:?}, {producers} producers"),
        rate,
        &mut times,
    );
    bench.store.close().unwrap();
}

/// Everything up to the end; acknowledgements are not waited for one by one.
async fn consume(store: Store, stop: Arc<AtomicBool>) -> u64 {
    let (who, mut settled) = (Member::new("g", 0), 0);
    loop {
        let ending = stop.load(Relaxed);
        let pulled = store
            .next(&who, 1_024, Duration::from_millis(50))
            .await
            .unwrap();
        if pulled.deliveries.is_empty() && ending {
            return settled;
        }
        let acks = pulled
            .deliveries
            .iter()
            .map(|one| store.settle(&who, one.lease, Settle::Ack));
        for ack in join(acks.collect()).await {
            ack.unwrap();
            settled += 1;
        }
    }
}

/// All of them at the same time, in this task: each is begun before the first is waited for.
async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut begun = Vec::with_capacity(futures.len());
    for future in futures {
        let mut future = Box::pin(future);
        let first =
            std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        begun.push((future, first));
    }
    let mut done = Vec::with_capacity(begun.len());
    for (future, first) in begun {
        done.push(match first {
            Poll::Ready(output) => output,
            Poll::Pending => future.await,
        });
    }
    done
}

fn commit(key: &str, value: Vec<u8>) -> Commit {
    Commit {
        namespace: Namespace::agent("bench"),
        writer: WriterId::default(),
        ops: vec![StateOp::Set {
            key: key.into(),
            value,
            ttl: None,
            expect: Expect::Anything,
        }],
        cause: CommitCause::default(),
    }
}

async fn states() {
    let bench = Bench::new(SystemClock::default());
    let namespace = Namespace::agent("bench");
    let mut times = Vec::new();
    let began = Instant::now();
    let mut n = 0_u64;
    while began.elapsed() < seconds() {
        n += 1;
        let from = Instant::now();
        let value = format!("\"{n}{}\"", "x".repeat(1_000)).into_bytes();
        bench
            .store
            .commit(commit(&format!("k{}", n % 100), value))
            .await
            .unwrap();
        times.push(from.elapsed());
    }
    let rate = f64::from(u32::try_from(times.len()).unwrap()) / began.elapsed().as_secs_f64();
    row("set, one writer, disk", rate, &mut times);
    for (what, cached) in [("get, in memory", true), ("get, from the file", false)] {
        let mut times = Vec::new();
        let began = Instant::now();
        for n in 0..20_000 {
            let key = format!("k{}", n % 100);
            if !cached {
                bench
                    .store
                    .drop_cache(&[(namespace.clone(), key.clone())].into());
            }
            let from = Instant::now();
            bench
                .store
                .get(&namespace, &key, At::Head)
                .await
                .unwrap()
                .unwrap();
            times.push(from.elapsed());
        }
        let rate = 20_000.0 / began.elapsed().as_secs_f64();
        row(what, rate, &mut times);
    }
}

fn row(name: &str, rate: f64, times: &mut [Duration]) {
    times.sort_unstable();
    let quantile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{name:<44} {rate:>10.0} {:>9.3} {:>9.3}",
        quantile(50),
        quantile(99)
    );
}

/// A history of entries `first..first + 10,000`, 1.9 MB.
fn history(first: u64) -> Vec<u8> {
    let mut text = String::from("[");
    for n in first..first + 10_000 {
        let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if n > first {
            text.push(',');
        }
        let entry = format!(
            "{{\"site\":\"https://example.com/{}\",\"at\":\"2027-01-{:02}T{:02}:{:02}:00Z\",\"status\":200,\"latency_ms\":{}.{:03},\"ok\":true,\"error\":null,\"region\":\"eu-central\",\"check\":\"{noise:08x}{n:08x}\",\"attempts\":1}}",
            n % 3,
            n / 1_440 % 28 + 1,
            n / 60 % 24,
            n % 60,
            noise % 100,
            noise % 1_000,
        );
        text.push_str(&entry);
    }
    text.push(']');
    text.into_bytes()
}

/// The rewrite of a history every five minutes for `CLAW_BENCH_DAYS` (7), pruned every hour, and
/// what that costs; 365 days are the year of the design and take about an hour.
async fn rewrites() {
    const PER_DAY: u64 = 288;
    const PER_HOUR: u64 = PER_DAY / 24;
    let days = std::env::var("CLAW_BENCH_DAYS").ok();
    let days: u64 = days.and_then(|text| text.parse().ok()).unwrap_or(7);
    let clock = ManualClock::new(SystemClock::default().now());
    let bench = Bench::new(clock.clone());
    let raw = history(0).len() as u64;
    let first = commit("history", history(0));
    bench.store.commit(first).await.unwrap();
    let mut grown = Grown {
        stored: used_bytes(&bench),
        ..Grown::default()
    };
    for n in 1..=days * PER_DAY {
        let value = history(n * 3);
        clock.advance(Duration::from_secs(300));
        let from = Instant::now();
        bench.store.commit(commit("history", value)).await.unwrap();
        grown.times.push(from.elapsed());
        if !n.is_multiple_of(PER_HOUR) {
            continue;
        }
        grown.before_pruning(used_bytes(&bench));
        let pruned = bench.store.prune().await.unwrap();
        grown.after_pruning(used_bytes(&bench), pruned.longest_pause);
        if n.is_multiple_of(30 * PER_DAY) {
            println!("day {}: {} bytes used", n / PER_DAY, grown.stored);
        }
    }
    let each = grown.written / (days * PER_DAY);
    grown.times.sort_unstable();
    let times = &grown.times;
    println!(
        "{days} days of rewrites of {raw} bytes: {each} bytes each ({:.2} % of raw), p50 {:?}, p99 {:?}",
        each as f64 * 100.0 / raw as f64,
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    );
    println!(
        "pruned every hour: longest pause {:?}, {} bytes used at most, {} at the end, {} on disk",
        grown.longest_pause,
        grown.most,
        grown.stored,
        bench.bytes(),
    );
}

/// How the file grew between prunings.
#[derive(Default)]
struct Grown {
    stored: u64,
    written: u64,
    most: u64,
    longest_pause: Duration,
    times: Vec<Duration>,
}

impl Grown {
    fn before_pruning(&mut self, used: u64) {
        self.written += used.saturating_sub(self.stored);
        self.most = self.most.max(used);
    }

    fn after_pruning(&mut self, used: u64, pause: Duration) {
        self.stored = used;
        self.longest_pause = self.longest_pause.max(pause);
    }
}

/// What the tables hold, without free pages and the log.
fn used_bytes(bench: &Bench) -> u64 {
    let conn = rusqlite::Connection::open(bench.directory.path().join("store.db")).unwrap();
    let pages = |what: &str| {
        conn.pragma_query_value(None, what, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let used = (pages("page_count") - pages("freelist_count")) * pages("page_size");
    u64::try_from(used).unwrap()
}

#[divan::bench]
fn set_1_kb_at_level_disk(bencher: divan::Bencher<'_, '_>) {
    let runtime = Runtime::new().unwrap();
    let bench = Bench::new(SystemClock::default());
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        let value = format!("\"{n}{}\"", "x".repeat(1_000)).into_bytes();
        runtime
            .block_on(bench.store.commit(commit("k", value)))
            .unwrap()
    });
}

#[divan::bench]
fn publish_1_kb_at_level_os(bencher: divan::Bencher<'_, '_>) {
    let runtime = Runtime::new().unwrap();
    let bench = Bench::new(SystemClock::default());
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        let publish = bench
            .store
            .publish(vec![event(n)], Level::Os, Publisher::Outside);
        runtime.block_on(publish).unwrap()
    });
}

#[divan::bench]
fn prepare_and_rewrite_1900_kb(bencher: divan::Bencher<'_, '_>) {
    let runtime = Runtime::new().unwrap();
    let bench = Bench::new(SystemClock::default());
    let mut n = 0;
    bencher
        .with_inputs(|| {
            n += 3;
            history(n)
        })
        .bench_local_values(|value| {
            runtime
                .block_on(bench.store.commit(commit("history", value)))
                .unwrap()
        });
}

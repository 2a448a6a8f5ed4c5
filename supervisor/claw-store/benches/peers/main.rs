//! Durable events beside Redis Streams and NATS JetStream, in one run. Run with
//! `cargo bench -p claw-store --bench peers`.
//!
//! Each of 1, 8 or 64 producers has one event of 1 KB under way and waits for its answer before the
//! next; one consumer takes everything in batches and acknowledges it. The clients of the peers
//! are tasks of this process on connections of their own: 20 lines of the wire protocol each, no
//! more than a client must do. Our store is in this process, as in the supervisor. Rounds of the
//! systems take turns, and the ratios are of the medians.
//!
//! Redis runs with `appendonly yes` and `appendfsync always`. NATS runs with
//! `sync_interval: always` where it has that option (2.10 and later); an older one acknowledges
//! before it syncs, and its row says so. `CLAW_BENCH_REDIS` and `CLAW_BENCH_NATS` name other
//! executables, `CLAW_BENCH_DIR` the directory of all data, `CLAW_BENCH_SECONDS` how long a round
//! runs, `CLAW_BENCH_ROUNDS` how many there are, `CLAW_BENCH_PRODUCERS` the counts.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a failed step ends the benchmark, and its tables are its output"
)]

mod nats;
mod redis;
mod server;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// The data of every event.
const PAYLOAD: [u8; 1_024] = [b'1'; 1_024];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum System {
    Store,
    Redis,
    Nats,
}

/// One round of one system.
struct Round {
    /// Events that were published, delivered and acknowledged.
    events: u64,
    took: Duration,
    /// How long each publish waited for its answer.
    times: Vec<Duration>,
}

/// The medians of the rounds of one row.
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
}

fn main() {
    let runtime = Runtime::new().unwrap();
    let redis = redis::Redis::find();
    let nats = nats::Nats::find();
    println!(
        "{:<10} {:<44} {:>10} {:>9} {:>9} {:>8}",
        "producers",
        "publish, deliver, acknowledge, 1 KB",
        "events/s",
        "p50 ms",
        "p99 ms",
        "ours is"
    );
    for producers in wish("CLAW_BENCH_PRODUCERS", &[1, 8, 64]) {
        let mut rounds = BTreeMap::<System, Vec<Round>>::new();
        for number in 0..wish("CLAW_BENCH_ROUNDS", &[5])[0] {
            eprintln!("{producers} producers, round {}", number + 1);
            let ours = runtime.block_on(store::round(producers));
            rounds.entry(System::Store).or_default().push(ours);
            if let Some(redis) = &redis {
                let round = runtime.block_on(redis.round(producers));
                rounds.entry(System::Redis).or_default().push(round);
            }
            if let Some(nats) = &nats {
                let round = runtime.block_on(nats.round(producers));
                rounds.entry(System::Nats).or_default().push(round);
            }
        }
        let mut ours = None;
        for (system, rounds) in rounds {
            let name = match system {
                System::Store => "openclaw, level disk".to_owned(),
                System::Redis => redis.as_ref().unwrap().name(),
                System::Nats => nats.as_ref().unwrap().name(),
            };
            let figures = medians(rounds);
            let ratio = *ours.get_or_insert(figures.rate) / figures.rate;
            println!(
                "{producers:<10} {name:<44} {:>10.0} {:>9.3} {:>9.3} {ratio:>7.2}x",
                figures.rate, figures.p50, figures.p99
            );
        }
    }
}

fn medians(rounds: Vec<Round>) -> Figures {
    let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for mut round in rounds {
        round.times.sort_unstable();
        let quantile = |percent: usize| {
            round.times[(round.times.len() - 1) * percent / 100].as_secs_f64() * 1e3
        };
        p50.push(quantile(50));
        p99.push(quantile(99));
        rates.push(f64::from(u32::try_from(round.events).unwrap()) / round.took.as_secs_f64());
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        rate: median(rates),
        p50: median(p50),
        p99: median(p99),
    }
}

/// Numbers from the environment, or the usual ones.
fn wish(name: &str, usual: &[u64]) -> Vec<u64> {
    match std::env::var(name) {
        Ok(text) => text.split(',').map(|one| one.parse().unwrap()).collect(),
        Err(_unset) => usual.to_vec(),
    }
}

fn span() -> Duration {
    Duration::from_secs(wish("CLAW_BENCH_SECONDS", &[4])[0])
}

/// Where a system keeps its data in one round.
fn directory() -> tempfile::TempDir {
    match std::env::var_os("CLAW_BENCH_DIR") {
        Some(parent) => tempfile::TempDir::new_in(parent).unwrap(),
        None => tempfile::TempDir::new().unwrap(),
    }
}

/// An executable, by the environment or from the path.
fn executable(wish: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(wish) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = found.find(|path| path.exists());
    if found.is_none() {
        println!("{name} is not installed and left out; {wish} names one");
    }
    found
}

/// Publishes one event and waits until it is acknowledged.
trait Producer: Send + 'static {
    fn publish(&mut self, number: u64) -> impl Future<Output = ()> + Send;
}

/// Takes and acknowledges everything until the given number of events, once it is known.
trait Consumer: Send + 'static {
    /// Takes what there is, waiting a moment if there is nothing, and answers how many it were.
    fn take(&mut self) -> impl Future<Output = u64> + Send;
}

/// Runs producers for the span, and the consumer until it has seen everything.
async fn run<P: Producer>(producers: Vec<P>, mut consumer: impl Consumer) -> Round {
    let (total, mut published) = tokio::sync::watch::channel(None);
    let consuming = tokio::spawn(async move {
        let mut seen = 0;
        while published.borrow_and_update().is_none_or(|all| seen < all) {
            seen += consumer.take().await;
        }
    });
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for mut producer in producers {
        let next = Arc::clone(&next);
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < span() {
                let from = Instant::now();
                producer.publish(next.fetch_add(1, Relaxed)).await;
                times.push(from.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let events = times.len() as u64;
    total.send(Some(events)).unwrap();
    consuming.await.unwrap();
    Round {
        events,
        took: began.elapsed(),
        times,
    }
}

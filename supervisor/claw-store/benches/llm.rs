//! How fast the money of model calls is written. Run with `cargo bench -p claw-store --bench llm`.
//!
//! The directory is `CLAW_BENCH_DIR`, or the system's for temporary files.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step ends the benchmark, and its table is its output"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use claw_store::bus::Level;
use claw_store::llm::{Admitted, EndedCall, Settling};
use claw_store::store::UnixMs;
use claw_store::{Store, StoreOptions};
use tempfile::TempDir;

/// Calls in each row of the table.
const CALLS: u64 = 20_000;

fn main() {
    println!(
        "{:<40} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "calls, each reserved and settled", "calls/s", "reserve", "p99 us", "settle", "p99 us"
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (level, agents) in [(Level::Os, 1), (Level::Os, 32), (Level::Disk, 32)] {
        runtime.block_on(calls(level, agents));
    }
}

async fn calls(level: Level, agents: u64) {
    let directory = match std::env::var_os("CLAW_BENCH_DIR") {
        Some(parent) => TempDir::new_in(parent).unwrap(),
        None => TempDir::new().unwrap(),
    };
    let path = directory.path().join("store.db");
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    let next = Arc::new(AtomicU64::new(1));
    let began = Instant::now();
    let agents_at_work = (0..agents).map(|_| {
        let (store, next) = (store.clone(), Arc::clone(&next));
        tokio::spawn(agent(store, level, next))
    });
    let (mut reserved, mut settled) = (Vec::new(), Vec::new());
    for agent in agents_at_work.collect::<Vec<_>>() {
        let times = agent.await.unwrap();
        reserved.extend(times.0);
        settled.extend(times.1);
    }
    let rate = f64::from(u32::try_from(reserved.len()).unwrap()) / began.elapsed().as_secs_f64();
    println!(
        "{:<40} {rate:>10.0} {:>10} {:>10} {:>10} {:>10}",
        format!("{agents} agents, {level:?}"),
        quantile(&mut reserved, 50),
        quantile(&mut reserved, 99),
        quantile(&mut settled, 50),
        quantile(&mut settled, 99),
    );
    store.close().unwrap();
}

async fn agent(store: Store, level: Level, next: Arc<AtomicU64>) -> (Vec<Duration>, Vec<Duration>) {
    let (mut reserved, mut settled) = (Vec::new(), Vec::new());
    loop {
        let id = next.fetch_add(1, Relaxed);
        if id > CALLS {
            return (reserved, settled);
        }
        let began = Instant::now();
        store.reserve_llm_call(call(id), level).await.unwrap();
        reserved.push(began.elapsed());
        let ended = EndedCall {
            outcome: "reported".into(),
            spent: 1_000,
            attempts: Some(r#"[{"provider":"openai","status":200,"ms":812}]"#.into()),
            ..EndedCall::default()
        };
        let began = Instant::now();
        let settlement = store.settle_llm_calls(vec![Settling { id, ended }], level);
        settlement.await.unwrap();
        settled.push(began.elapsed());
    }
}

fn call(id: u64) -> Admitted {
    Admitted {
        id,
        admitted_at: UnixMs(1_795_000_000_000),
        day: "2026-11-22".parse().unwrap(),
        agent: format!("agent-{}", id % 40),
        run: Some(format!("run-{}", id % 400)),
        provider: "openai".into(),
        model: "gpt-5.4".into(),
        model_id: "gpt-5.4".into(),
        held: 1_000_000,
        estimate: 1_000,
        rates: r#"{"tokens":[{"input":2.5,"output":15.0,"cache_read":0.25}]}"#.into(),
        clamped: None,
        request_hash: vec![7; 32],
    }
}

fn quantile(times: &mut [Duration], percent: usize) -> u128 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_micros()
}

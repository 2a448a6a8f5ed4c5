//! How fast the journal answers. Run with `cargo bench -p claw-store`.
//!
//! The table of quantiles comes first, the medians of divan after it. Figures of `power cut` are
//! those of the disk; the directory is `CLAW_BENCH_DIR`, or the system's for temporary files.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed step ends the benchmark, and its table is its output"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use claw_core::memory::AgentMemory;
use claw_core::{Cause, Generation, InstanceId, Record, RecordId, Wall, action::SlotFate};
use claw_store::{Ack, Entry, Journal, Options};
use divan::counter::ItemsCount;
use tempfile::TempDir;

/// Agents of the storm.
const AGENTS: u64 = 1_000;

/// Entries that are queued at once to measure the rate.
const BURST: u64 = 1_000;

fn main() {
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "answer after append", "p50", "p99", "max"
    );
    quantiles("our death, one producer", 5_000, intent);
    quantiles("our death, memory records", 5_000, memory);
    quantiles("power cut, one producer", 200, slot);
    quantiles_beside_syncs();
    storm_cpu();
    println!();
    divan::main();
}

#[divan::bench]
fn our_death_one(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        bench.record(intent(number))
    });
}

#[divan::bench]
fn our_death_thousand_queued(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut number = 0;
    bencher.counter(ItemsCount::new(BURST)).bench_local(|| {
        for _ in 0..BURST {
            number += 1;
            bench.ask(intent(number));
        }
        bench.hear(BURST);
    });
}

#[divan::bench]
fn power_cut_one(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        bench.record(slot(number))
    });
}

#[divan::bench]
fn power_cut_thousand_queued(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut number = 0;
    bencher.counter(ItemsCount::new(BURST)).bench_local(|| {
        for _ in 0..BURST {
            number += 1;
            bench.ask(slot(number));
        }
        bench.hear(BURST);
    });
}

#[divan::bench]
fn storm_of_a_thousand_agents(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut life = 0;
    bencher
        .counter(ItemsCount::new(3 * AGENTS))
        .bench_local(|| {
            life += 1;
            storm(&bench, life);
        });
}

#[divan::bench]
fn open_and_close_a_thousand_agents(bencher: divan::Bencher<'_, '_>) {
    let bench = Bench::new();
    for life in 1..=20 {
        storm(&bench, life);
    }
    let Bench {
        directory, journal, ..
    } = bench;
    journal.close().unwrap();
    bencher.bench_local(|| {
        let path = directory.path().join("journal.db");
        let (journal, _opened) = Journal::open(&path, Options::new("boot"), drop).unwrap();
        journal.close().unwrap();
    });
}

struct Bench {
    directory: TempDir,
    journal: Journal,
    acks: Receiver<Vec<Ack>>,
}

impl Bench {
    fn new() -> Self {
        let parent = std::env::var_os("CLAW_BENCH_DIR").map(PathBuf::from);
        let directory = parent.map_or_else(tempfile::tempdir, tempfile::tempdir_in);
        let directory = directory.unwrap();
        let (heard, acks) = channel();
        let path = directory.path().join("journal.db");
        let deliver = move |batch| drop(heard.send(batch));
        let (journal, _opened) = Journal::open(&path, Options::new("boot"), deliver).unwrap();
        Self {
            directory,
            journal,
            acks,
        }
    }

    fn ask(&self, record: Record) {
        let id = Some(RecordId(0));
        self.journal.append(Entry { id, record });
    }

    fn hear(&self, count: u64) {
        let mut heard = 0;
        while heard < count {
            let acks = self.acks.recv().unwrap();
            assert!(acks.iter().all(|ack| ack.result.is_ok()));
            heard += acks.len() as u64;
        }
    }

    fn record(&self, record: Record) -> Duration {
        let began = Instant::now();
        self.ask(record);
        self.hear(1);
        began.elapsed()
    }
}

fn quantiles(name: &str, count: u64, record: impl Fn(u64) -> Record) {
    let bench = Bench::new();
    let times = (0..count).map(|number| bench.record(record(number)));
    show(name, times.collect());
}

/// The promise that matters: a disk that syncs all the time does not hold up a restart.
fn quantiles_beside_syncs() {
    let bench = Bench::new();
    let times = (0..5_000).map(|number| {
        // Nobody waits for these, and each asks for a sync.
        let record = slot(number);
        bench.journal.append(Entry { id: None, record });
        bench.record(intent(number))
    });
    show("our death, a sync always under way", times.collect());
}

fn storm(bench: &Bench, life: u64) {
    for number in 0..AGENTS {
        let instance = InstanceId {
            agent: format!("agent-{number}").parse().unwrap(),
            generation: Generation(life),
        };
        let at = at(life);
        bench.ask(Record::Intent {
            instance: instance.clone(),
            spec_hash: "5eed".into(),
            run: None,
            at,
        });
        bench.ask(Record::Started {
            instance: instance.clone(),
            pid: 4711,
            at,
            image: None,
        });
        bench.ask(Record::Outcome {
            instance,
            cause: Cause::exit(1),
            failed: true,
            report: None,
            at,
        });
    }
    bench.hear(3 * AGENTS);
}

fn storm_cpu() {
    let bench = Bench::new();
    storm(&bench, 1);
    let rounds = 10;
    let (began, before) = (Instant::now(), cpu());
    for life in 2..2 + rounds {
        storm(&bench, life);
    }
    let life = u32::try_from(rounds).unwrap();
    println!(
        "storm: intent, started and outcome of {AGENTS} agents: {:.1?} of CPU, {:.1?} of time",
        (cpu() - before) / life,
        began.elapsed() / life
    );
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let own: u64 = stat
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let others = fs::read_dir("/proc/self/task").unwrap().flatten();
    let times = others.filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum::<u64>().max(own))
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let micros = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    let (p50, p99, max) = (micros(at(50)), micros(at(99)), micros(at(100)));
    println!("{name:<44} {p50:>9} {p99:>9} {max:>9}");
}

fn at(seconds: u64) -> Wall {
    Wall::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap()
}

fn intent(number: u64) -> Record {
    Record::Intent {
        instance: InstanceId {
            agent: format!("agent-{}", number % AGENTS).parse().unwrap(),
            generation: Generation(number / AGENTS + 1),
        },
        spec_hash: "5eed".into(),
        run: None,
        at: at(number),
    }
}

fn memory(number: u64) -> Record {
    Record::Memory {
        agent: format!("agent-{}", number % AGENTS).parse().unwrap(),
        memory: AgentMemory {
            restarts_total: number,
            next_start: Some(at(number)),
            last_death: Some((Cause::exit(1), at(number))),
            ..AgentMemory::default()
        },
        synced: false,
    }
}

fn slot(number: u64) -> Record {
    Record::Slot {
        agent: "agent-1".parse().unwrap(),
        planned: at(60 * number),
        fate: SlotFate::Ran,
        run: None,
    }
}

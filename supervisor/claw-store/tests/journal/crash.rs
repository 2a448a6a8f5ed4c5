//! A child that is killed at random while it writes, and what the next one finds.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use claw_core::{Record, RecordId};
use claw_store::journal::InstanceRow;
use claw_store::{Entry, Journal, Options};

use crate::support::*;

const KILLS: u64 = 60;

/// Agents that a child writes about, so that none reaches the bounds of retention.
const AGENTS: u64 = 60;

/// Entries that a child has under way at most.
const WINDOW: u64 = 64;

/// Entry `n` of a child: all kinds, each to be recognised by `n`.
fn entry(round: u64, n: u64) -> Record {
    let name = format!("r{round}-{}", n / 4 % AGENTS);
    match n % 4 {
        0 => intent(&name, n + 1),
        1 => run(queued(&name, round << 32 | n)),
        2 => slot(&name, i64::try_from(n).unwrap()),
        _ => outcome(&name, n - 2, 0),
    }
}

#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(path) = std::env::var_os("CLAW_CRASH_JOURNAL") else {
        return;
    };
    let round: u64 = std::env::var("CLAW_CRASH_ROUND").unwrap().parse().unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&done);
    let (journal, _opened) = Journal::open(Path::new(&path), Options::new(BOOT), move |acks| {
        let mut lines = Vec::new();
        heard.fetch_add(acks.len() as u64, Relaxed);
        for ack in acks {
            ack.result.unwrap();
            writeln!(lines, "ack {}", ack.id.0).unwrap();
        }
        let mut output = std::io::stdout().lock();
        output.write_all(&lines).unwrap();
        output.flush().unwrap();
    })
    .unwrap();
    for n in 0.. {
        while n - done.load(Relaxed) > WINDOW {
            std::thread::yield_now();
        }
        let id = Some(RecordId(n));
        let record = entry(round, n);
        journal.append(Entry { id, record });
    }
}

fn spawn(path: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::child", "--nocapture"])
        .env("CLAW_CRASH_JOURNAL", path)
        .env("CLAW_CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a child write for a while, kills it and returns what it had acknowledged.
fn killed_after(path: &Path, round: u64, span: Duration) -> BTreeSet<u64> {
    let mut child = spawn(path, round);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut acked = BTreeSet::new();
    let mut began = None;
    for line in output.lines().map_while(Result::ok) {
        if let Some(id) = line.strip_prefix("ack ").and_then(|id| id.parse().ok()) {
            acked.insert(id);
        }
        let began = *began.get_or_insert_with(Instant::now);
        if began.elapsed() >= span {
            // It may be killed already; its last words are still read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acked
}

/// The entries of a round that are in the journal.
async fn found(bench: &Bench, round: u64) -> BTreeSet<u64> {
    let reader = bench.journal.reader();
    let mut found = BTreeSet::new();
    for number in 0..AGENTS {
        let name = agent(&format!("r{round}-{number}"));
        for row in reader.outcomes(name.clone(), 1_000).await.unwrap() {
            found.extend(instance_entries(&row));
        }
        for run in reader.runs(name.clone(), 1_000, None).await.unwrap() {
            let text = run.payload.unwrap();
            let n: u64 = text[5..text.len() - 1].parse().unwrap();
            found.insert(n & 0xffff_ffff);
        }
        for slot in reader.slots(name, 1_000).await.unwrap() {
            let seconds = slot.planned.as_second() - at(0).as_second();
            found.insert(u64::try_from(seconds).unwrap());
        }
    }
    found
}

fn instance_entries(row: &InstanceRow) -> Vec<u64> {
    let n = row.instance.generation.0 - 1;
    let intended = row.intent_at.map(|_| n);
    let ended = row.ended.as_ref().map(|_| n + 3);
    intended.into_iter().chain(ended).collect()
}

#[tokio::test]
async fn what_was_acknowledged_survives_sigkill_and_nothing_overtakes() {
    let (_directory, path): (_, PathBuf) = directory();
    let mut all = Vec::new();
    let mut total = 0;
    for round in 0..KILLS {
        // From right at the start to well into checkpoints, in no regular steps.
        let span = Duration::from_micros(round * round * 7_919 % 120_000);
        let acked = killed_after(&path, round, span);
        let bench = Bench::open(&path);
        let found = found(&bench, round).await;
        let missing: Vec<_> = acked.difference(&found).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} are lost");
        let last = found.last().map_or(0, |last| last + 1);
        assert_eq!(found.len() as u64, last, "round {round}: one overtook");
        total += acked.len();
        all.push(found);
        // Every other one is left as it is, for the next to find.
        if round % 2 == 0 {
            bench.close();
        }
    }
    let bench = Bench::open(&path);
    for (round, before) in (0..).zip(&all) {
        let now = found(&bench, round).await;
        assert_eq!(&now, before, "round {round} changed later");
    }
    assert!(
        total > 1_000,
        "too little was written to show anything: {total}"
    );
}

//! A child that is killed at random between calls, and what the next one finds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use claw_store::bus::Level;
use claw_store::llm::{CallFilter, CallRow, EndedCall, Settlement, Settling, WindowKey};
use claw_store::{Store, StoreError, StoreOptions};

use crate::{admitted, ended, open};

const KILLS: u64 = 20;

/// Agents that call at the same time.
const AGENTS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below"]
async fn child() {
    let Some(path) = std::env::var_os("CLAW_CRASH_LLM") else {
        return;
    };
    let store = Store::open(Path::new(&path), StoreOptions::default()).unwrap();
    let last = store.restore_llm().await.unwrap().last_id;
    let next = Arc::new(AtomicU64::new(last + 1));
    let agents = (0..AGENTS).map(|n| tokio::spawn(call(store.clone(), n, Arc::clone(&next))));
    for agent in agents.collect::<Vec<_>>() {
        agent.await.unwrap();
    }
}

async fn call(store: Store, agent: u64, next: Arc<AtomicU64>) {
    loop {
        let id = next.fetch_add(1, Relaxed);
        let call = admitted(id, &format!("agent-{agent}"), "2026-11-22");
        store.reserve_llm_call(call, Level::Os).await.unwrap();
        say(&format!("reserved {id}"));
        let settled = settle(&store, id, end_of(id)).await;
        assert_eq!(settled, Ok(vec![Settlement::Written]));
        say(&format!("settled {id}"));
    }
}

async fn settle(store: &Store, id: u64, ended: EndedCall) -> Result<Vec<Settlement>, StoreError> {
    let calls = vec![Settling { id, ended }];
    store.settle_llm_calls(calls, Level::Os).await
}

/// What call `id` costs.
fn end_of(id: u64) -> EndedCall {
    let spent = i64::try_from(id % 101).unwrap();
    ended(spent, if id.is_multiple_of(3) { 100 - spent } else { 0 })
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").unwrap();
    output.flush().unwrap();
}

/// Lets a child call for a while, kills it, and returns what it had said.
fn killed_after(path: &Path, span: Duration) -> BTreeMap<u64, bool> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "crash::child", "--nocapture"])
        .env("CLAW_CRASH_LLM", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut began) = (BTreeMap::new(), None);
    for line in output.lines().map_while(Result::ok) {
        let Some((word, id)) = line.split_once(' ') else {
            continue;
        };
        let Ok(id) = id.parse::<u64>() else {
            continue;
        };
        said.insert(id, word == "settled");
        let began = *began.get_or_insert_with(Instant::now);
        if began.elapsed() >= span {
            // It may be killed already; its last words are still read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    said
}

/// All calls, page by page.
async fn calls(store: &Store) -> Vec<CallRow> {
    let mut all: Vec<CallRow> = Vec::new();
    loop {
        let filter = CallFilter {
            before: all.last().map(|row| row.admitted.id),
            limit: 500,
            ..CallFilter::default()
        };
        let page = store.llm_calls(filter).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test]
async fn no_call_that_left_is_forgotten_and_windows_are_the_sums_of_their_calls() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let mut left = BTreeSet::new();
    let mut lost = 0;
    for round in 0..KILLS {
        // From right at the start on, in no regular steps.
        let span = Duration::from_micros(round * round * 7_919 % 60_000);
        let said = killed_after(&path, span);
        left.extend(said.keys().copied());
        let store = open(&directory);
        let rows = calls(&store).await;
        let mut sums: BTreeMap<WindowKey, (i64, i64)> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for row in &rows {
            let id = row.admitted.id;
            found.insert(id);
            let settled = said.get(&id).is_some_and(|settled| *settled);
            assert!(row.ended.is_some() || !settled, "call {id} was settled");
            let Some(ended) = &row.ended else { continue };
            for key in WindowKey::of(&row.admitted.agent, row.admitted.day) {
                let sum = sums.entry(key).or_default();
                sum.0 += ended.spent;
                sum.1 += ended.uncertain;
            }
        }
        let missing: Vec<_> = left.difference(&found).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} are lost");
        let restored = store.restore_llm().await.unwrap();
        let windows = restored.windows.into_iter();
        let windows: BTreeMap<_, _> = windows
            .map(|row| (row.key, (row.settled, row.uncertain)))
            .collect();
        assert_eq!(windows, sums, "round {round}");
        assert_eq!(restored.last_id, found.last().copied().unwrap_or(0));
        for call in restored.in_flight {
            lost += 1;
            let settled = settle(&store, call.id, ended(10, 90)).await;
            assert_eq!(settled, Ok(vec![Settlement::Written]));
        }
        store.close().unwrap();
    }
    assert!(left.len() > 100, "too few calls: {}", left.len());
    assert!(lost > 0, "nothing was in flight at any of the kills");
}

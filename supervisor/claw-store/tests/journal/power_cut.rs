//! What a power cut leaves: the files as they were when the last sync was called for, and behind
//! that anything.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use claw_core::{RecordId, Run};
use claw_store::{Entry, Journal, Options};

use crate::support::*;

const ROUNDS: u64 = 24;

/// Runs of a round, each of more than a page.
const RUNS: u64 = 50;

#[derive(Debug)]
enum Seen {
    /// The files were copied there, and what is acknowledged next was in them.
    Sync(PathBuf),
    Ack(RecordId),
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files_that_were_synced() {
    let (directory, path) = directory();
    let copies = tempfile::tempdir().unwrap();
    let (see, seen) = channel();
    let options = Options::new(BOOT).with_fdatasync(copying(&path, copies.path(), see.clone()));
    let (journal, _opened) = Journal::open(&path, options, move |acks| {
        for ack in acks {
            ack.result.unwrap();
            see.send(Seen::Ack(ack.id)).unwrap();
        }
    })
    .unwrap();

    let mut history = Vec::new();
    for round in 0..ROUNDS {
        for n in round * RUNS..(round + 1) * RUNS {
            let id = Some(RecordId(n));
            let record = run(big(n));
            journal.append(Entry { id, record });
        }
        let mut missing = RUNS;
        while missing > 0 {
            let next = seen.recv_timeout(PATIENCE).unwrap();
            missing -= u64::from(matches!(next, Seen::Ack(_)));
            history.push(next);
        }
        if round % 8 == 7 {
            wait_for_checkpoint(&journal).await;
        }
    }
    journal.close().unwrap();
    drop(directory);

    let mut acked = 0;
    let mut files = None;
    for seen in history {
        match seen {
            Seen::Ack(id) => acked = acked.max(id.0 + 1),
            Seen::Sync(next) => check(files.replace(next), acked).await,
        }
    }
    assert_eq!(acked, ROUNDS * RUNS);
    check(files, acked).await;
}

/// All runs below `acked` are in the files, although what follows in the log is garbage.
async fn check(files: Option<PathBuf>, acked: u64) {
    let Some(path) = files else {
        return;
    };
    let wal = format!("{}-wal", path.display());
    let mut wal = std::fs::OpenOptions::new().append(true).open(wal).unwrap();
    wal.write_all(&[0xa5; 10_000]).unwrap();
    let bench = Bench::open(&path);
    let count = bench.journal.reader().counts().await.unwrap().runs;
    assert!(
        count >= acked,
        "{count} of {acked} runs at {}",
        path.display()
    );
    bench.close();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

/// Copies the files with another process: closing a descriptor of the database in this one would
/// drop the locks on it.
fn copying(
    path: &Path,
    copies: &Path,
    see: Sender<Seen>,
) -> impl FnMut(&std::fs::File) -> std::io::Result<()> + Send + use<> {
    let (path, copies) = (path.to_owned(), copies.to_owned());
    let mut number = 0;
    move |_wal| {
        number += 1;
        let to = copies.join(format!("{number}"));
        std::fs::create_dir(&to)?;
        let wal = format!("{}-wal", path.display());
        let copied = Command::new("cp").arg(wal).arg(&path).arg(&to).status()?;
        assert!(copied.success());
        // The test ends before the journal is closed.
        drop(see.send(Seen::Sync(to.join("journal.db"))));
        Ok(())
    }
}

async fn wait_for_checkpoint(journal: &Journal) {
    let began = std::time::Instant::now();
    while journal.stats().wal_pages >= claw_store::journal::limits::IDLE_CHECKPOINT_PAGES {
        assert!(began.elapsed() < PATIENCE, "no checkpoint");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn big(n: u64) -> Run {
    Run {
        payload: Some("x".repeat(5_000)),
        ..finished(&format!("a-{}", n % 10), n)
    }
}

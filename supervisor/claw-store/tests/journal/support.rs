//! A journal in a directory of its own, and records to write to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use claw_core::memory::AgentMemory;
use claw_core::{
    AgentName, Cause, Generation, InstanceId, Record, RecordId, Run, RunId, RunOutcome, RunPhase,
    Trigger, Wall, action::SlotFate,
};
use claw_store::{Ack, Entry, Journal, JournalError, Opened, Options};
use tempfile::TempDir;

pub(crate) const BOOT: &str = "boot-1";

/// Long enough for any disk, so that only a fault reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) journal: Journal,
    pub(crate) opened: Opened,
    acks: Receiver<Ack>,
    next: u64,
}

pub(crate) fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    (directory, path)
}

impl Bench {
    pub(crate) fn open(path: &Path) -> Self {
        Self::open_with(path, Options::new(BOOT)).unwrap()
    }

    pub(crate) fn open_with(path: &Path, options: Options) -> Result<Self, JournalError> {
        let (heard, acks) = channel();
        let (journal, opened) = Journal::open(path, options, move |batch| {
            for ack in batch {
                // The test may have ended.
                drop(heard.send(ack));
            }
        })?;
        Ok(Self {
            journal,
            opened,
            acks,
            next: 0,
        })
    }

    /// Appends a record and asks for an answer.
    pub(crate) fn ask(&mut self, record: Record) -> RecordId {
        self.next += 1;
        let id = RecordId(self.next);
        self.journal.append(Entry {
            id: Some(id),
            record,
        });
        id
    }

    pub(crate) fn tell(&self, record: Record) {
        self.journal.append(Entry { id: None, record });
    }

    /// Appends a record and waits for its answer, which must be the next one.
    pub(crate) fn record(&mut self, record: Record) -> Result<(), String> {
        let id = self.ask(record);
        let ack = self.ack();
        assert_eq!(ack.id, id);
        ack.result
    }

    pub(crate) fn ack(&self) -> Ack {
        self.acks.recv_timeout(PATIENCE).expect("an answer")
    }

    pub(crate) fn ack_within(&self, bound: Duration) -> Option<Ack> {
        self.acks.recv_timeout(bound).ok()
    }

    pub(crate) fn acks(&self, count: usize) -> BTreeMap<RecordId, Result<(), String>> {
        (0..count)
            .map(|_| self.ack())
            .map(|ack| (ack.id, ack.result))
            .collect()
    }

    pub(crate) fn close(self) {
        self.journal.close().unwrap();
    }
}

pub(crate) fn agent(name: &str) -> AgentName {
    name.parse().unwrap()
}

pub(crate) fn at(seconds: i64) -> Wall {
    Wall::from_second(1_800_000_000 + seconds).unwrap()
}

pub(crate) fn instance(name: &str, generation: u64) -> InstanceId {
    InstanceId {
        agent: agent(name),
        generation: Generation(generation),
    }
}

pub(crate) fn run_id(number: u64) -> RunId {
    RunId::new(1_800_000_000_000 + number, u128::from(number))
}

pub(crate) fn intent(name: &str, generation: u64) -> Record {
    Record::Intent {
        instance: instance(name, generation),
        spec_hash: "5eed".into(),
        run: None,
        at: at(0),
    }
}

pub(crate) fn started(name: &str, generation: u64) -> Record {
    Record::Started {
        instance: instance(name, generation),
        pid: 4711,
        at: at(1),
        image: None,
    }
}

pub(crate) fn outcome(name: &str, generation: u64, code: u8) -> Record {
    Record::Outcome {
        instance: instance(name, generation),
        cause: Cause::exit(code),
        failed: code != 0,
        report: None,
        at: at(2),
    }
}

pub(crate) fn memory(name: &str, failures: u32) -> Record {
    Record::Memory {
        agent: agent(name),
        memory: AgentMemory {
            failures,
            ..AgentMemory::default()
        },
        synced: false,
    }
}

pub(crate) fn slot(name: &str, seconds: i64) -> Record {
    Record::Slot {
        agent: agent(name),
        planned: at(seconds),
        fate: SlotFate::Missed,
        run: None,
    }
}

pub(crate) fn queued(name: &str, number: u64) -> Run {
    Run {
        id: run_id(number),
        agent: agent(name),
        trigger: Trigger::Manual,
        payload: Some(format!("{{\"n\":{number}}}")),
        queued_at: at(0),
        phase: RunPhase::Queued,
        attempts: 0,
        generation: None,
        log: None,
        image: None,
    }
}

pub(crate) fn finished(name: &str, number: u64) -> Run {
    Run {
        phase: RunPhase::Finished {
            started: Some(at(1)),
            at: at(2),
            outcome: RunOutcome::Succeeded,
        },
        ..queued(name, number)
    }
}

pub(crate) fn run(run: Run) -> Record {
    Record::Run(Box::new(run))
}

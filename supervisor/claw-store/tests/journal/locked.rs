use std::time::Duration;

use claw_store::{JournalError, Options};
use rusqlite::Connection;

use crate::support::*;

#[test]
fn a_foreign_write_lock_delays_and_loses_nothing() {
    hold_lock(Duration::from_secs(2));
}

#[test]
#[ignore = "takes half a minute"]
fn a_foreign_write_lock_of_half_a_minute_delays_and_loses_nothing() {
    hold_lock(Duration::from_secs(31));
}

fn hold_lock(span: Duration) {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked: Vec<_> = (1..=100).map(|n| bench.ask(intent("a", n))).collect();
    for failures in 1..=100 {
        bench.tell(memory("a", failures));
    }
    assert_eq!(bench.ack_within(span), None);
    assert_eq!(bench.journal.depth(), 200);
    assert!(bench.journal.stats().blocked.is_some());
    foreign.execute_batch("ROLLBACK").unwrap();
    for id in asked {
        let ack = bench.ack();
        assert_eq!((ack.id, ack.result), (id, Ok(())));
    }
    bench.record(intent("a", 101)).unwrap();
    assert_eq!(bench.journal.stats().blocked, None);
    drop(foreign);
    bench.close();
    let bench = Bench::open(&path);
    assert_eq!(bench.opened.memory[&agent("a")].failures, 100);
    assert_eq!(bench.opened.open_instances.len(), 101);
}

#[test]
fn a_lock_that_stays_is_named_when_opening() {
    let (_directory, path) = directory();
    Bench::open(&path).close();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = Bench::open_with(&path, Options::new(BOOT)).err().unwrap();
    assert!(matches!(error, JournalError::Locked { .. }), "{error:?}");
}

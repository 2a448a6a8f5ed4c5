use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;

use claw_core::RecordId;
use claw_store::{Ack, Options};

use crate::support::*;

#[test]
fn a_sync_under_way_holds_up_only_who_asked_for_one() {
    let (_directory, path) = directory();
    let (finish, wait) = channel::<()>();
    let options = Options::new(BOOT).with_fdatasync(move |_file| {
        // An error is the end of the test, which lets every sync finish.
        wait.recv_timeout(PATIENCE).or(Ok(()))
    });
    let mut bench = Bench::open_with(&path, options).unwrap();

    let slow = bench.ask(slot("a", 0));
    for generation in 1..=50 {
        bench.record(intent("a", generation)).unwrap();
    }
    finish.send(()).unwrap();
    assert_eq!(bench.ack().id, slow);

    // Those that came during a sync share the next one.
    let first = bench.ask(slot("a", 1));
    bench.record(intent("b", 1)).unwrap();
    for seconds in 2..10 {
        bench.ask(slot("a", seconds));
    }
    bench.record(intent("b", 2)).unwrap();
    finish.send(()).unwrap();
    assert_eq!(bench.ack().id, first);
    finish.send(()).unwrap();
    assert_eq!(bench.acks(8).len(), 8);
    drop(finish);
    bench.close();
}

#[test]
fn nothing_is_acknowledged_as_synced_before_the_sync() {
    let (_directory, path) = directory();
    let (finish, wait) = channel::<()>();
    let options =
        Options::new(BOOT).with_fdatasync(move |_file| wait.recv_timeout(PATIENCE).or(Ok(())));
    let mut bench = Bench::open_with(&path, options).unwrap();
    bench.ask(run(queued("a", 1)));
    assert_eq!(bench.ack_within(Duration::from_millis(200)), None);
    drop(finish);
    assert_eq!(bench.ack().result, Ok(()));
}

#[test]
fn a_failed_sync_is_final_for_what_was_written_and_supervision_goes_on() {
    let (_directory, path) = directory();
    let mut failures = 0;
    let options = Options::new(BOOT).with_fdatasync(move |_file| {
        failures += 1;
        match failures {
            1 => Ok(()),
            2 => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    });
    let mut bench = Bench::open_with(&path, options).unwrap();
    bench.record(slot("a", 0)).unwrap();
    let reason = bench.record(slot("a", 1)).unwrap_err();
    assert!(reason.contains("could not be synced"), "{reason}");
    bench.record(slot("a", 2)).unwrap_err();
    bench.record(intent("a", 1)).unwrap();
    bench.record(outcome("a", 1, 0)).unwrap();
    let degraded = bench.journal.stats().degraded;
    assert_eq!(degraded, Some(reason));
    bench.journal.close().unwrap_err();

    let mut bench = Bench::open(&path);
    bench.record(slot("a", 2)).unwrap();
    assert_eq!(bench.opened.open_instances, []);
    assert_eq!(bench.journal.stats().degraded, None);
}

#[test]
fn what_a_failed_sync_has_left_is_written_anew_and_promised_again() {
    let (_directory, path) = directory();
    let mut syncs = 0;
    let options = Options::new(BOOT).with_fdatasync(move |_file| {
        syncs += 1;
        match syncs {
            2 | 3 => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(()),
        }
    });
    let options = options.with_mend_after(Duration::from_millis(20));
    let mut bench = Bench::open_with(&path, options).unwrap();
    bench.record(slot("a", 0)).unwrap();
    bench.record(slot("a", 1)).unwrap_err();
    while bench.journal.stats().degraded.is_some() {
        std::thread::yield_now();
    }
    bench.record(slot("a", 2)).unwrap();
    bench.journal.close().unwrap();
    let mut bench = Bench::open(&path);
    bench.record(slot("a", 3)).unwrap();
}

#[test]
fn a_log_deleted_under_us_is_noticed() {
    let (directory, path) = directory();
    let mut bench = Bench::open(&path);
    bench.record(slot("a", 0)).unwrap();
    std::fs::remove_file(directory.path().join("journal.db-wal")).unwrap();
    let reason = bench.record(slot("a", 1)).unwrap_err();
    assert!(reason.contains("deleted"), "{reason}");
}

#[test]
fn answers_of_one_class_come_in_the_order_of_the_entries() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    let asked: Vec<RecordId> = (1..=3_000).map(|n| bench.ask(intent("a", n))).collect();
    let heard: Vec<Ack> = asked.iter().map(|_| bench.ack()).collect();
    assert!(heard.iter().all(|ack| ack.result.is_ok()));
    assert_eq!(heard.iter().map(|ack| ack.id).collect::<Vec<_>>(), asked);
    let stats = bench.journal.stats();
    assert!(stats.commits < 3_000, "no group commit: {stats:?}");
}

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use claw_store::JournalError;
use claw_store::journal::{back_up, backups, restore, verify};

use crate::support::*;

/// Overwrites the second half of the file.
fn damage(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let half = file.metadata().unwrap().len() / 2;
    file.write_all_at(&vec![0xa5; usize::try_from(half).unwrap()], half)
        .unwrap();
}

#[test]
fn a_copy_made_while_the_journal_is_written_is_one_moment_of_it() {
    let (directory, path) = directory();
    let copies = directory.path().join("backups");
    let mut bench = Bench::open(&path);
    bench.record(intent("a", 1)).unwrap();
    let backup = back_up(&path, &copies, at(10)).unwrap();
    bench.record(intent("a", 2)).unwrap();
    assert!(verify(&backup.path).unwrap());
    assert_eq!(backups(&copies), std::slice::from_ref(&backup));
    drop(bench);

    let copy = Bench::open(&backup.path);
    let open = &copy.opened.open_instances;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0].instance, instance("a", 1));
    assert!(copy.opened.notes[0].contains("is a copy"));
}

#[test]
fn a_damaged_journal_is_found_so_and_its_copy_takes_its_place() {
    let (directory, path) = directory();
    let (copies, aside) = (
        directory.path().join("backups"),
        directory.path().join("aside"),
    );
    let mut bench = Bench::open(&path);
    for number in 1..=300 {
        bench.ask(run(finished("a", number)));
    }
    bench.acks(300);
    bench.record(memory("a", 7)).unwrap();
    bench.close();
    assert!(verify(&path).unwrap());
    let backup = back_up(&path, &copies, at(10)).unwrap();
    damage(&path);
    let error = verify(&path).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    let damaged = fs::read(&path).unwrap();

    restore(&path, &backup, &aside).unwrap();
    assert_eq!(fs::read(aside.join("journal.db")).unwrap(), damaged);
    let bench = Bench::open(&path);
    assert_eq!(bench.opened.memory[&agent("a")].failures, 7);
    bench.close();
}

#[test]
fn a_journal_that_is_not_there_is_no_fault() {
    let (_directory, path) = directory();
    assert!(!verify(&path).unwrap());
    assert!(!path.exists());
}

#[test]
fn a_journal_in_use_is_looked_at_without_harm() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    bench.record(intent("a", 1)).unwrap();
    assert!(verify(&path).unwrap());
    bench.record(intent("a", 2)).unwrap();
    bench.close();
}

#[test]
fn a_copy_that_cannot_be_written_leaves_those_before_it() {
    let (directory, path) = directory();
    let copies = directory.path().join("backups");
    Bench::open(&path).close();
    let first = back_up(&path, &copies, at(10)).unwrap();
    fs::write(&path, "").unwrap();
    back_up(&path, &copies, at(20)).unwrap_err();
    assert_eq!(backups(&copies), [first]);
}

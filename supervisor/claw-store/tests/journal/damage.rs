use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use claw_store::journal::accept_lost_log;
use claw_store::{JournalError, Options};
use rusqlite::Connection;

use crate::support::*;

fn refusal(path: &Path) -> JournalError {
    let error = Bench::open_with(path, Options::new(BOOT)).err();
    let error = error.expect("a refusal");
    let name = path.display().to_string();
    assert!(error.to_string().contains(&name), "names no file: {error}");
    error
}

/// A closed journal with some pages in it.
fn filled(path: &Path) {
    let mut bench = Bench::open(path);
    for number in 1..=300 {
        bench.ask(intent(&format!("agent-{}", number % 9), number));
        bench.ask(run(finished("a", number)));
    }
    let answers = bench.acks(600);
    assert!(answers.values().all(Result::is_ok));
    bench.close();
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let (_directory, path) = directory();
    let text = "not a database, but long enough to be looked at ".repeat(100);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path);
    assert!(
        matches!(error, JournalError::NotAJournal { .. }),
        "{error:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let (_directory, path) = directory();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(foreign);
    let error = refusal(&path);
    assert!(
        matches!(error, JournalError::NotAJournal { .. }),
        "{error:?}"
    );
}

#[test]
fn an_empty_file_is_refused() {
    let (_directory, path) = directory();
    fs::write(&path, "").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn a_directory_is_refused() {
    let (_directory, path) = directory();
    fs::create_dir(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, JournalError::NotAFile { .. }), "{error:?}");
}

#[test]
fn a_directory_that_is_missing_is_refused() {
    let (_directory, path) = directory();
    let error = refusal(&path.join("journal.db"));
    assert!(
        matches!(
            error,
            JournalError::NotWritable { .. } | JournalError::Io { .. }
        ),
        "{error:?}"
    );
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    // Nobody, root included, makes files in /proc.
    let error = refusal(Path::new("/proc/self/journal.db"));
    assert!(
        matches!(
            error,
            JournalError::NotWritable { .. } | JournalError::Io { .. }
        ),
        "{error:?}"
    );
}

#[test]
fn a_newer_schema_is_refused() {
    let (_directory, path) = directory();
    Bench::open(&path).close();
    let foreign = Connection::open(&path).unwrap();
    foreign.pragma_update(None, "user_version", 99).unwrap();
    drop(foreign);
    let error = refusal(&path);
    let newer = matches!(error, JournalError::TooNew { found: 99, .. });
    assert!(newer, "{error:?}");
}

#[test]
fn a_cut_database_is_refused() {
    let (_directory, path) = directory();
    filled(&path);
    let whole = fs::metadata(&path).unwrap().len();
    for left in [whole / 2, 4096 * 2, 4096, 100] {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(left).unwrap();
        let error = refusal(&path);
        assert!(
            matches!(
                error,
                JournalError::Damaged { .. } | JournalError::NotAJournal { .. }
            ),
            "{left}: {error:?}"
        );
    }
}

#[test]
fn a_broken_page_is_refused_wherever_it_is() {
    let (_directory, path) = directory();
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 20, "{pages}");
    for page in 0..pages {
        fs::write(&path, &whole).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 64], page as u64 * 4096).unwrap();
        drop(file);
        let error = refusal(&path);
        assert!(
            matches!(
                error,
                JournalError::Damaged { .. } | JournalError::NotAJournal { .. }
            ),
            "page {page}: {error:?}"
        );
    }
}

#[test]
fn a_memory_that_does_not_parse_is_refused() {
    let (_directory, path) = directory();
    let mut bench = Bench::open(&path);
    bench.record(memory("a", 1)).unwrap();
    bench.close();
    let foreign = Connection::open(&path).unwrap();
    let sql = "UPDATE agent_memory SET memory = '{'";
    foreign.execute_batch(sql).unwrap();
    drop(foreign);
    let error = refusal(&path);
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
}

/// What a SIGKILL leaves: the files as they are while the journal is open.
fn killed(path: &Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let mut bench = Bench::open(path);
    bench.record(slot("a", 0)).unwrap();
    let (directory, copy) = directory();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        let copied = std::process::Command::new("cp")
            .args([name(path), name(&copy)])
            .status();
        assert!(copied.unwrap().success());
    }
    bench.close();
    (directory, copy)
}

#[test]
fn a_log_that_was_deleted_is_missed() {
    let (_directory, path) = directory();
    let (_copies, copy) = killed(&path);
    // Opened once at its new place, so that the mark is its own, then left without a close.
    let bench = Bench::open(&copy);
    std::mem::forget(bench);
    let wal = format!("{}-wal", copy.display());
    fs::remove_file(&wal).unwrap();
    for _ in 0..2 {
        let error = refusal(&copy);
        let missing = matches!(error, JournalError::WalMissing { .. });
        assert!(missing, "{error:?}");
    }
    let aside = copy.with_file_name("aside");
    accept_lost_log(&copy, &aside).unwrap();
    Bench::open(&copy).close();
    assert!(aside.join(copy.file_name().unwrap()).exists());
}

#[test]
fn a_log_without_its_database_is_refused() {
    let (_directory, path) = directory();
    let (_copies, copy) = killed(&path);
    fs::remove_file(&copy).unwrap();
    let error = refusal(&copy);
    let missing = matches!(error, JournalError::DatabaseMissing { .. });
    assert!(missing, "{error:?}");
    assert!(!copy.exists());
}

#[test]
fn a_copy_made_while_running_opens_with_a_note() {
    let (_directory, path) = directory();
    let (_copies, copy) = killed(&path);
    fs::remove_file(format!("{}-wal", copy.display())).unwrap();
    let bench = Bench::open(&copy);
    assert!(bench.opened.notes[0].contains("is a copy"));
}

#[test]
fn a_half_made_journal_is_made_again() {
    let (directory, path) = directory();
    fs::write(directory.path().join("journal.db.new"), "half").unwrap();
    Bench::open(&path).close();
    assert!(!directory.path().join("journal.db.new").exists());
}

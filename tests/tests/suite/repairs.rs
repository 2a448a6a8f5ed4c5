//! Row 13 of the fault matrix: a journal that cannot be trusted is never run on, nor made anew, and
//! `clawctl doctor --fix` brings back what can be brought back.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use claw_daemon::api::State;
use rustix::process::Signal;

use crate::fleet::{Fleet, agent};

/// Flips every byte of the second half of a file.
fn damage(path: &Path) {
    let text = fs::read(path).unwrap();
    let half = text.len() / 2;
    let flipped: Vec<u8> = text[half..].iter().map(|byte| !byte).collect();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&flipped, half as u64).unwrap();
}

fn journal(fleet: &Fleet) -> PathBuf {
    fleet.data().join("journal.db")
}

fn two_agents() -> Fleet {
    Fleet::new(
        &["works", "rests"]
            .map(|name| agent(name, &["forever"], ""))
            .concat(),
    )
}

#[test]
fn a_damaged_journal_stops_the_start_and_its_copy_brings_back_what_was_asked_for() {
    let mut fleet = two_agents();
    fleet.up();
    fleet.await_state("rests", State::Running);
    fleet.run(&["stop", "rests"]).ok();
    fleet.await_state("rests", State::Stopped);
    // What ends in order leaves a copy.
    fleet.down();
    fleet.up();
    let main = fleet.await_main("works");
    fleet.kill();
    damage(&journal(&fleet));

    let refused = fleet.run(&["up"]);
    assert!(refused.err.contains("journal.db is"), "{refused:#?}");
    assert!(refused.err.contains("clawctl doctor --fix"), "{refused:#?}");
    refused.exits(1);
    assert!(main.lives(), "{main:?}");
    let told = fleet.run(&["doctor"]);
    assert!(told.out.contains("something is wrong"), "{told:#?}");
    assert!(told.err.contains("restores the copy of"), "{told:#?}");
    told.exits(1);
    assert!(main.lives(), "{main:?}");

    let fixed = fleet.run(&["doctor", "--fix"]);
    assert!(
        fixed.out.contains("fixed        the journal is that of"),
        "{fixed:#?}"
    );
    let damaged = fs::read_dir(fleet.data()).unwrap().flatten();
    let mut damaged = damaged.map(|entry| entry.path().join("journal.db"));
    assert!(
        damaged.any(|kept| kept.exists()),
        "the damaged journal is kept"
    );
    fleet.up();
    fleet.await_state("works", State::Running);
    fleet.await_state("rests", State::Stopped);
    let mains = fleet.processes();
    let mains = mains
        .iter()
        .filter(|process| process.command.contains("forever"));
    assert_eq!(mains.filter(|process| process.lives()).count(), 1);
    let quiet = fleet.run(&["doctor"]);
    assert!(quiet.out.contains("its databases are whole"), "{quiet:#?}");
    fleet.down();
}

#[test]
fn a_lost_log_is_missed_and_may_be_given_up() {
    let mut fleet = two_agents();
    fleet.up();
    fleet.await_main("works");
    fleet.kill();
    fs::remove_file(fleet.data().join("journal.db-wal")).unwrap();
    let refused = fleet.run(&["up"]);
    assert!(
        refused.err.contains("journal.db-wal is missing"),
        "{refused:#?}"
    );
    refused.exits(1);
    let fixed = fleet.run(&["doctor", "--fix"]);
    assert!(fixed.out.contains("goes on without its log"), "{fixed:#?}");
    fleet.up();
    fleet.await_state("works", State::Running);
    fleet.await_state("rests", State::Running);
    let mains = fleet.processes();
    let mains = mains
        .iter()
        .filter(|process| process.command.contains("forever"));
    assert_eq!(mains.filter(|process| process.lives()).count(), 2);
    fleet.down();
}

#[test]
fn nothing_is_mended_below_a_supervisor_that_runs() {
    let mut fleet = two_agents();
    fleet.up();
    fleet.await_main("works");
    let supervisor = fleet.pid();
    fleet.signal(Signal::STOP);
    let before = fs::read(journal(&fleet)).unwrap();
    damage(&journal(&fleet));
    let refused = fleet.run(&["doctor", "--fix"]);
    fs::write(journal(&fleet), before).unwrap();
    fleet.signal(Signal::CONT);
    assert!(
        refused.err.contains(&format!("process {supervisor}")),
        "{refused:#?}"
    );
    assert!(refused.err.contains("nothing was changed"), "{refused:#?}");
    refused.exits(8);
    fleet.down();
}

#[test]
fn a_data_directory_that_others_can_read_is_closed_to_them() {
    let mut fleet = two_agents();
    fleet.up();
    let mode = || fs::metadata(fleet.data()).unwrap().permissions().mode() & 0o777;
    let proper = mode();
    assert_eq!(proper & 0o066, 0);
    fs::set_permissions(fleet.data(), Permissions::from_mode(0o755)).unwrap();
    let told = fleet.run(&["doctor"]);
    assert!(told.err.contains("can be read by other users"), "{told:#?}");
    told.exits(1);
    fleet.run(&["doctor", "--fix"]);
    assert_eq!(mode(), proper);
    fleet.down();
}

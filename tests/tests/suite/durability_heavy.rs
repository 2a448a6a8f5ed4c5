//! Case 25 and its kin: what lies on disk is old or new, never empty, and a loss is said.

use std::fs;
use std::time::Duration;

use claw_daemon::api::{Health, State};

use crate::fleet::{Fleet, Process, agent, holds_for, until};
use crate::small_disk::SmallDisk;

/// Rows 9 and 10 of the fault matrix: the agent goes on and is probed, its output is dropped and
/// counted, the supervisor says that it is degraded, and all mends itself.
#[test]
fn a_full_disk_hurts_no_running_agent_and_mends_itself() {
    let test = "a_full_disk_hurts_no_running_agent_and_mends_itself";
    let Some(disk) = SmallDisk::mounted("300m", test) else {
        return;
    };
    let data_dir = format!("data_dir: {}", disk.path().join("data").display());
    let mut fleet = Fleet::new("");
    let beats = fleet.place("beats");
    let probe = crate::fleet::steps(&["mark", &beats]);
    let probed =
        format!("health_check: {{liveness: {{exec: {probe}, interval: 200ms, timeout: 5s}}}}");
    fleet.set_data(disk.path().join("data"));
    fleet.write(
        &data_dir,
        &[
            agent("writer", &["count", "1"], &probed),
            agent("work", &["exit", "0"], "mode: oneshot"),
        ]
        .concat(),
    );
    fleet.up();
    let main = fleet.await_main("writer");
    until("the first run is over", || {
        fleet
            .runs("work")
            .iter()
            .all(|run| run.state.is_final())
            .then_some(())
    });
    let ballast = disk.fill();
    let beats = fleet.lines("beats").len();
    fleet.await_lines("beats", beats + 5);
    assert_eq!(fleet.await_main("writer"), main);
    let health: Health = fleet.api().get("/api/health");
    assert!(!health.degraded.is_empty(), "{health:#?}");
    fs::remove_file(ballast).unwrap();
    until("there is a gap in the output", || {
        let log = fleet
            .run(&["logs", "writer", "-n", "100000", "--stream", "stdout"])
            .ok();
        let number = |line: &str| line.strip_prefix("line ")?.parse::<u64>().ok();
        let numbers: Vec<u64> = log.lines().filter_map(number).collect();
        numbers
            .windows(2)
            .any(|pair| pair[1] > pair[0] + 1)
            .then_some(())
    });
    let all = fleet.log("writer");
    let marker = all
        .iter()
        .find(|line| line.stream == claw_daemon::api::LogStream::Supervisor);
    assert!(
        marker.is_some_and(|line| line.text.contains("dropped") || line.text.contains("lost")),
        "{marker:?}"
    );
    until("the supervisor is well again", || {
        let health: Health = fleet.api().get("/api/health");
        health.degraded.is_empty().then_some(())
    });
    let run = fleet.run(&["trigger", "work", "--wait", "20s"]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(fleet.await_main("writer"), main);
    fleet.down();
    drop(fleet);
}

/// The copy of the last good file is the old one or the new one, also when neither fits the disk.
#[test]
fn a_change_on_a_full_disk_leaves_the_last_good_file_whole() {
    let test = "a_change_on_a_full_disk_leaves_the_last_good_file_whole";
    let Some(disk) = SmallDisk::mounted("8m", test) else {
        return;
    };
    let mut fleet = Fleet::new("");
    fleet.set_data(disk.path().join("data"));
    let data_dir = format!(
        "data_dir: {}, reload: \"off\"",
        disk.path().join("data").display()
    );
    let of = |value: &str| agent("a", &["forever"], &format!("env: {{VALUE: {value}}}"));
    fleet.write(&data_dir, &of("old"));
    fleet.up();
    fleet.await_main("a");
    let last_good = disk.path().join("data/last-good.yaml");
    let kept = fs::read_to_string(&last_good).unwrap();
    let ballast = disk.fill();
    fleet.write(&data_dir, &of("new"));
    let applied = fleet.run(&["apply"]);
    let now = fs::read_to_string(&last_good).unwrap();
    let new = fs::read_to_string(fleet.file()).unwrap();
    assert!(now == kept || now == new, "{applied:#?}: {now:?}");
    fs::remove_file(ballast).unwrap();
    fleet.down();
    drop(fleet);
}

/// A journal that was cut short is named, with what to do; it is never silently made anew, and
/// agents that run are not touched by that.
#[test]
fn a_truncated_journal_stops_the_start_and_says_what_to_do() {
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    let main = fleet.await_main("a");
    fleet.run(&["down", "--keep"]).ok();
    fleet.await_end();
    let journal = fleet.data().join("journal.db");
    let whole = fs::read(&journal).unwrap();
    for cut in [whole.len() / 2, 100, 1] {
        fs::write(&journal, &whole[..cut]).unwrap();
        let ran = fleet.run(&["up"]);
        assert_eq!(ran.code, Some(1), "cut to {cut}: {ran:#?}");
        assert!(ran.err.contains("journal.db"), "cut to {cut}: {ran:#?}");
        assert_eq!(fs::read(&journal).unwrap().len(), cut, "it was not touched");
        assert!(main.lives(), "cut to {cut}");
    }
    fs::write(&journal, whole).unwrap();
    fleet.up();
    assert_eq!(fleet.await_main("a"), main);
    fleet.down();
}

/// The newest records lie in the write-ahead log; a start without it would silently forget them.
#[test]
fn a_journal_whose_log_was_deleted_is_not_opened_as_if_nothing_were_missing() {
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    let main = fleet.await_main("a");
    fleet.kill();
    let log = fleet.data().join("journal.db-wal");
    let kept = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let ran = fleet.run(&["up"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("journal.db-wal"), "{ran:#?}");
    assert!(main.lives());
    fs::write(&log, kept).unwrap();
    fleet.up();
    assert_eq!(fleet.await_main("a"), main);
    fleet.down();
}

/// Rubbish in the records of an instance is a lost instance, not a second copy of it.
#[test]
fn an_empty_run_record_means_a_lost_life_and_no_second_copy() {
    let mut fleet = Fleet::new("");
    let starts = fleet.place("starts");
    fleet.write(
        "",
        &agent(
            "a",
            &["mark", &starts, "forever"],
            "restart_policy: {initial_delay: 50ms}",
        ),
    );
    fleet.up();
    fleet.await_lines("starts", 1);
    let main = fleet.await_main("a");
    let shims: Vec<Process> = fleet
        .processes()
        .into_iter()
        .filter(Process::is_shim)
        .collect();
    fleet.kill();
    shims[0].signal(rustix::process::Signal::KILL);
    until("its shim is gone", || (!shims[0].lives()).then_some(()));
    fs::write(fleet.data().join("run/a/1/run.json"), "").unwrap();
    fleet.up();
    fleet.await_lines("starts", 2);
    assert!(!main.lives(), "two copies at once");
    assert_eq!(fleet.await_ends("a", 1)[0].0, 1);
    fleet.down();
}

/// Row 6 of the fault matrix.
#[test]
fn a_second_supervisor_on_the_same_data_is_turned_away_and_told_who_is_there() {
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    let main = fleet.await_main("a");
    let ran = fleet.run(&["up"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(
        ran.err.contains(&format!("process {}", fleet.pid())),
        "{ran:#?}"
    );
    let detached = fleet.run(&["up", "--detach"]);
    assert_eq!(detached.code, Some(1), "{detached:#?}");
    assert_eq!(fleet.await_main("a"), main);
    fleet.run(&["status", "a"]).ok();
    fleet.down();
}

/// Row 36 of the fault matrix: a socket of the last run is in nobody's way.
#[test]
fn a_stale_socket_of_a_killed_supervisor_is_replaced() {
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    fleet.kill();
    assert!(fleet.data().join("control.sock").exists());
    fleet.run(&["status"]).exits(5);
    fleet.up();
    fleet.await_state("a", State::Running);
    fleet.down();
}

/// Row 35: a second signal hastens; the exit code tells of an orderly end.
#[test]
fn a_second_signal_kills_what_the_first_asked_politely() {
    let mut fleet = Fleet::new(&agent("stubborn", &["block", "TERM", "forever"], ""));
    fleet.up();
    let main = fleet.await_main("stubborn");
    fleet.signal(rustix::process::Signal::TERM);
    fleet.await_state("stubborn", State::Stopping);
    holds_for(Duration::from_secs(1), "it has its grace", || main.lives());
    fleet.signal(rustix::process::Signal::INT);
    assert_eq!(fleet.await_end(), Some(0));
    assert!(!main.lives());
    fleet.assert_empty();
}

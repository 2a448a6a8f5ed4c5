//! What the supervisor gives up once it runs, and what goes on all the same.

use std::fs;

use claw_daemon::api::State;
use rustix::process::Signal;
use serde_json::Value;

use crate::fleet::{Fleet, agent, until};

fn statuses(pid: i32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    tasks.filter_map(|task| of(task.unwrap())).collect()
}

fn line<'s>(status: &'s str, key: &str) -> &'s str {
    let found = status.lines().find_map(|line| line.strip_prefix(key));
    found.unwrap().trim()
}

/// The filter and the lost privileges of every thread.
fn locks(pid: i32) -> Vec<(String, String)> {
    let of = |status: &String| {
        let [filter, gain] = ["Seccomp:", "NoNewPrivs:"].map(|key| line(status, key).to_owned());
        (filter, gain)
    };
    statuses(pid).iter().map(of).collect()
}

#[test]
fn the_supervisor_is_locked_down_and_its_agents_are_not() {
    let mut fleet = Fleet::new(&agent("open", &["forever"], "sandbox: {mode: none}"));
    fleet.up();
    let own = fleet.await_main("open");
    let free = ("0".to_owned(), "0".to_owned());
    assert!(locks(own.pid).iter().all(|found| *found == free));
    let supervisor = locks(fleet.pid());
    assert!(supervisor.len() > 2, "{supervisor:?}");
    for found in supervisor {
        assert_eq!(found, ("2".to_owned(), "1".to_owned()));
    }
    let below = fleet.processes();
    let spawners: Vec<_> = below
        .iter()
        .filter(|process| process.is_spawner())
        .collect();
    assert_eq!(spawners.len(), 2, "{below:?}");
    for spawner in spawners {
        assert!(locks(spawner.pid).iter().all(|found| *found == free));
    }
    let health: Value = fleet.api().get("/api/health");
    assert_eq!(health["lockdown"], "on");
    let doctor = fleet.run(&["doctor"]);
    assert!(
        doctor.out.contains("lockdown     of the supervisor: on"),
        "{doctor:?}"
    );
    fleet.down();
    fleet.assert_empty();
}

#[test]
fn a_killed_spawner_is_replaced_by_one_that_is_not_locked_down() {
    let mut fleet = Fleet::new(&agent("open", &["forever"], "sandbox: {mode: none}"));
    fleet.up();
    for _ in 0..2 {
        let before = fleet.await_main("open");
        let below = fleet.processes();
        let spawner = below
            .iter()
            .find(|one| one.command.starts_with("[claw-spawner]"));
        let spawner = spawner.unwrap();
        spawner.signal(Signal::KILL);
        until("its end", || (!spawner.lives()).then_some(()));
        fleet.run(&["restart", "open"]).ok();
        let after = until("another life", || {
            let after = fleet.await_main("open");
            (after.pid != before.pid).then_some(after)
        });
        assert_eq!(locks(after.pid)[0], ("0".to_owned(), "0".to_owned()));
    }
    fleet.down();
    fleet.assert_empty();
}

#[test]
fn it_can_be_left_out() {
    let mut fleet = Fleet::new(&agent("open", &["forever"], ""));
    let text = fs::read_to_string(fleet.file()).unwrap();
    let file = format!("{text}security: {{lockdown: false}}\n");
    fs::write(fleet.file(), &file).unwrap();
    fleet.up();
    fleet.await_state("open", State::Running);
    assert!(locks(fleet.pid()).iter().all(|(filter, _)| filter == "0"));
    let health: Value = fleet.api().get("/api/health");
    assert_eq!(health["lockdown"], "off");
    // It cannot be taken up again by a running supervisor.
    fs::write(fleet.file(), file.replace("false", "true")).unwrap();
    let refused = fleet.run(&["apply"]);
    assert!(
        refused.err.contains("`security.lockdown` cannot change"),
        "{refused:?}"
    );
    refused.exits(8);
    fleet.down();
}

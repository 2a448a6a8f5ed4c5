//! Exit codes and refusals.

use std::fs;
use std::os::unix::process::CommandExt;

use claw_daemon::api::State;

use crate::fleet::{Fleet, agent};

#[test]
fn exit_codes_tell_programs_what_happened() {
    let mut fleet = Fleet::new(
        &[
            agent("up", &["forever"], ""),
            agent("down", &["exit", "1"], "restart_policy: {policy: never}"),
            agent("fails", &["exit", "4"], "mode: oneshot"),
            agent(
                "slow",
                &["await-file", "/nonexistent"],
                "schedule: {every: 1h, run_on_start: false, overlap: skip}",
            ),
        ]
        .concat(),
    );
    fleet.run(&["status"]).exits(5);
    fleet.run(&["no-such-command"]).exits(2);
    fleet.run(&["--host", "nonsense", "status"]).exits(2);
    fleet.up();
    fleet.await_state("up", State::Running);
    fleet.await_state("down", State::Stopped);
    fleet.run(&["status", "up"]).exits(0);
    fleet.run(&["status", "down"]).exits(3);
    for command in ["status", "stop", "trigger", "logs", "why", "runs"] {
        fleet.run(&[command, "nobody"]).exits(4);
    }
    fleet.run(&["trigger", "fails", "--wait"]).exits(1);
    fleet.run(&["trigger", "slow", "--wait", "200ms"]).exits(7);
    fleet.run(&["trigger", "slow"]).exits(8);
    fleet.run(&["trigger", "up"]).exits(8);
    fleet
        .run(&["trigger", "fails", "--data", "{not json"])
        .exits(2);
    fleet.run(&["resume", "up"]).exits(8);
    fleet.run(&["start", "-l", "x-*"]).exits(4);
    fleet.down();
}

/// Exit code 6, for somebody who is neither the supervisor's user nor root.
#[test]
fn a_stranger_is_not_permitted() {
    let test = "a_stranger_is_not_permitted";
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP {test}: only root can run a command as somebody else");
        return;
    }
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    // The program may lie where strangers cannot go; a copy lies where they can.
    let copy = std::env::temp_dir().join(format!("clawctl-{}", fleet.pid()));
    fs::copy(fleet.command().get_program(), &copy).unwrap();
    let socket = format!("unix:{}", fleet.data().join("control.sock").display());
    let output = std::process::Command::new(&copy)
        .args(["--host", &socket, "status"])
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output();
    fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    fleet.down();
}

#[test]
fn a_refusal_says_why_and_what_to_do() {
    let mut fleet = Fleet::new(&agent("daemon", &["forever"], ""));
    fleet.up();
    let ran = fleet.run(&["trigger", "daemon"]);
    assert!(
        ran.err.contains("error:") && ran.err.contains("daemon"),
        "{ran:#?}"
    );
    let ran = fleet.run(&["status", "demon"]);
    assert!(
        ran.err.contains("`clawctl status` lists the agents"),
        "{ran:#?}"
    );
    let (status, problem) = fleet.api().post("/api/agents/daemon/trigger", None);
    assert_eq!(
        (status, problem["code"].as_str()),
        (409, Some("takes_no_runs"))
    );
    fleet.down();
}

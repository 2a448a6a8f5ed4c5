//! Fault matrix, row 40: a thread of the supervisor does not get on.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::fleet::{Fleet, agent, until};

/// Holds up each system call of one thread until it is dropped.
struct Hold(Child);

impl Hold {
    fn of(thread: &str) -> Self {
        let child = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-e", "trace=all"])
            .args(["-e", "inject=all:delay_enter=30000000", "-p", thread])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The thread with that name.
fn thread_of(fleet: &Fleet, name: &str) -> Option<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", fleet.pid())).unwrap();
    let mut tasks = tasks.flatten().map(|task| task.path());
    let found = tasks.find(|task| {
        let comm = fs::read_to_string(task.join("comm")).unwrap_or_default();
        comm.trim() == name
    });
    Some(found?.file_name()?.to_str()?.to_owned())
}

/// Whether a thread of another process can be held up here.
fn can_hold(test: &str) -> bool {
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let tried = Command::new("timeout")
        .args([
            "--signal=INT",
            "1",
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-p",
        ])
        .arg(other.id().to_string())
        .status();
    other.kill().ok();
    other.wait().ok();
    // `timeout` says 124 when what it ran did not end by itself.
    let can = tried.is_ok_and(|status| status.code() == Some(124));
    if !can {
        eprintln!("SKIP stalls::{test}: strace cannot hold up a thread here");
    }
    can
}

#[test]
fn a_thread_that_does_not_get_on_is_noticed_while_agents_go_on() {
    let test = "a_thread_that_does_not_get_on_is_noticed_while_agents_go_on";
    if !can_hold(test) {
        return;
    }
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    let before = fleet.await_main("a");
    let thread = thread_of(&fleet, "supervise").expect("the loop has its own thread");

    let hold = Hold::of(&thread);
    until("the silence of the loop is told", || {
        let said = fleet.said();
        let told = said.lines().any(|line| {
            line.contains("the supervisor's loop does not answer") && line.contains("supervise")
        });
        told.then_some(())
    });
    assert!(before.lives());
    drop(hold);

    until("it answers again", || {
        fleet
            .said()
            .contains("the supervisor's loop answers again")
            .then_some(())
    });
    let (_, metrics) = fleet.api().ask("/metrics").expect("metrics");
    assert!(
        metrics.contains("openclaw_stalls_total{part=\"loop\"} 1"),
        "{metrics}"
    );
    assert_eq!(fleet.await_main("a"), before);
    fleet.down();
}

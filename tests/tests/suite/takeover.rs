//! What a new supervisor finds of the one before it, and what it makes of that.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use claw_daemon::api::State;
use rustix::process::Signal;

use crate::fleet::{Fleet, Process, agent, holds_for, until, within};

/// A process of somebody else.
struct Stranger(Child);

impl Stranger {
    fn start() -> Self {
        let program = env!("CARGO_BIN_EXE_test-agent");
        Self(Command::new(program).arg("forever").spawn().unwrap())
    }

    fn process(&self) -> Process {
        Process::of(self.0.id().cast_signed()).expect("nobody killed it")
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn shims(fleet: &Fleet) -> Vec<Process> {
    let all = fleet.processes().into_iter();
    all.filter(Process::is_shim).collect()
}

/// Case 4: the number of a process that died while nobody looked belongs to a stranger now.
#[test]
fn a_stranger_with_the_number_of_an_old_process_is_never_signalled() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 50ms}";
    fleet.write("", &agent("victim", &["mark", &marks, "forever"], policy));
    fleet.up();
    let main = fleet.await_main("victim");
    fleet.kill();
    for process in shims(&fleet).iter().chain([&main]) {
        process.signal(Signal::KILL);
    }
    until("shim and agent are gone", || {
        fleet.processes().is_empty().then_some(())
    });
    let stranger = Stranger::start();
    let record = fleet.data().join("run/victim/1/run.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut run: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(run["main"]["pid"], main.pid);
    run["main"]["pid"] = stranger.process().pid.into();
    run["shim"]["pid"] = stranger.process().pid.into();
    fs::write(&record, run.to_string()).unwrap();
    fleet.up();
    assert_eq!(fleet.await_ends("victim", 1), [(1, "lost".to_owned())]);
    fleet.await_lines("starts", 2);
    let same = stranger.process();
    fleet.down();
    assert!(same.lives(), "the stranger was killed");
}

/// What an agent did while nobody looked is found on record, with its last words.
#[test]
fn an_exit_while_the_supervisor_was_down_is_found_with_its_code_and_its_last_words() {
    let mut fleet = Fleet::new("");
    let go = fleet.place("go");
    let script = ["await-file", &go, "say", "last words", "exit", "3"];
    fleet.write(
        "",
        &agent("leaver", &script, "restart_policy: {policy: never}"),
    );
    fleet.up();
    let main = fleet.await_main("leaver");
    fleet.kill();
    fs::write(&go, "").unwrap();
    until("the agent has ended", || (!main.lives()).then_some(()));
    fleet.up();
    let agent = fleet.await_state("leaver", State::Stopped);
    assert_eq!(agent.last_death.unwrap().cause.exit_code, Some(3));
    assert_eq!(fleet.ends("leaver"), [(1, "exit".to_owned())]);
    assert_eq!(fleet.run(&["logs", "leaver"]).ok(), "last words\n");
    fleet.down();
}

/// Row 3 of the fault matrix.
#[test]
fn an_agent_whose_shim_is_killed_dies_at_once_and_is_lost_once() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 50ms}";
    fleet.write("", &agent("held", &["mark", &marks, "forever"], policy));
    fleet.up();
    let main = fleet.await_main("held");
    for shim in shims(&fleet) {
        shim.signal(Signal::KILL);
    }
    within(
        Duration::from_secs(2),
        "the agent dies with its shim",
        || (!main.lives()).then_some(()),
    );
    fleet.await_lines("starts", 2);
    fleet.await_main("held");
    assert_eq!(fleet.ends("held"), [(1, "lost".to_owned())]);
    assert_eq!(fleet.agent("held").restarts, 1);
    fleet.down();
}

/// Row 4 of the fault matrix: nobody who knew of the agent is left, and it was in no mood to die.
#[test]
fn what_is_left_when_shim_and_supervisor_died_is_ended_before_a_start() {
    let mut fleet = Fleet::new("");
    let (marks, escaped) = (fleet.place("starts"), fleet.place("escaped"));
    let script = [
        "mark",
        &marks,
        "daemonise",
        "[",
        "mark",
        &escaped,
        "forever",
        "]",
        "forever",
    ];
    fleet.write(
        "",
        &agent("orphan", &script, "restart_policy: {initial_delay: 50ms}"),
    );
    fleet.up();
    let daemon = fleet.await_mark("escaped");
    let main = fleet.await_main("orphan");
    let ours = fleet
        .processes()
        .into_iter()
        .filter(|process| process.is_shim() || process.is_spawner());
    for process in ours.collect::<Vec<_>>() {
        process.signal(Signal::KILL);
    }
    fleet.kill();
    fleet.up();
    fleet.await_lines("starts", 2);
    assert!(!main.lives() && !daemon.lives(), "two copies at once");
    assert_eq!(fleet.ends("orphan")[0], (1, "lost".to_owned()));
    fleet.down();
}

/// Case 12: what the life before said of itself does not speak for this one.
#[test]
fn a_heartbeat_of_an_earlier_life_does_not_count() {
    let mut fleet = Fleet::new("");
    let first = fleet.place("first");
    let script = [
        "if-first",
        &first,
        "[",
        "notify",
        "READY=1\nWATCHDOG=1",
        "sleep",
        "300",
        "exit",
        "1",
        "]",
        "forever",
    ];
    let keys = "restart_policy: {initial_delay: 50ms}, health_check: {\
        startup: {heartbeat: {}, interval: 200ms, threshold: 3}, \
        liveness: {heartbeat: {}, interval: 10s}}";
    fleet.write("", &agent("silent", &script, keys));
    fleet.up();
    let ends = fleet.await_ends("silent", 2);
    assert_eq!(
        ends[..2],
        [(1, "exit".to_owned()), (2, "start_timeout".to_owned())]
    );
    fleet.down();
}

/// Taking over is no new life: what the agent said of itself holds on.
#[test]
fn an_agent_that_was_ready_is_ready_after_a_takeover() {
    let mut fleet = Fleet::new(&agent(
        "talker",
        &["notify", "READY=1", "beat", "100"],
        "health_check: {startup: {heartbeat: {}}, liveness: {heartbeat: {}, interval: 1s}}",
    ));
    fleet.up();
    let main = fleet.await_main("talker");
    fleet.crash_and_up();
    let taken_over = fleet.agent("talker");
    assert_eq!((taken_over.state, taken_over.ready), (State::Running, true));
    holds_for(Duration::from_secs(2), "it goes on", || main.lives());
    assert_eq!(fleet.await_main("talker"), main);
    fleet.down();
}

/// `down --keep` and `on_exit: keep` end the supervisor alone.
#[test]
fn a_supervisor_that_is_to_keep_its_agents_leaves_them_to_the_next() {
    let mut fleet = Fleet::with("on_exit: keep", &agent("kept", &["forever"], ""));
    fleet.up();
    let main = fleet.await_main("kept");
    fleet.run(&["down", "--keep"]).ok();
    assert_eq!(fleet.await_end(), Some(0));
    fleet.up();
    assert_eq!(fleet.await_main("kept"), main);
    fleet.signal(Signal::TERM);
    assert_eq!(fleet.await_end(), Some(0));
    assert!(main.lives(), "on_exit: keep");
    fleet.up();
    fleet.down();
}

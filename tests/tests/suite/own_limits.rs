//! The supervisor itself is short of something: its agents do not notice.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use claw_daemon::api::State;

use crate::fleet::{Fleet, Process, agent, holds_for, until};

/// More than the user of a fleet has room for.
const AGENTS: usize = 40;

/// An agent that is probed all the time, and one that fails all the time. Both leave marks.
fn pair(fleet: &Fleet) -> String {
    let probe = format!(
        "health_check: {{liveness: {{exec: [sh, -c, \"echo >> {}\"], interval: 100ms, timeout: 2s}}}}",
        fleet.place("probes")
    );
    let policy = "restart_policy: {initial_delay: 100ms, max_delay: 100ms, max_retries: unlimited}";
    let starts = fleet.place("starts");
    agent("steady", &["forever"], &probe) + &agent("flaky", &["mark", &starts, "exit", "1"], policy)
}

fn await_more(fleet: &Fleet, name: &str) {
    let now = fleet.lines(name).len();
    fleet.await_lines(name, now + 3);
}

/// Row 18 of the fault matrix.
#[test]
fn connections_that_take_all_descriptors_there_are_leave_enough_for_the_agents() {
    let mut fleet = Fleet::new("");
    fleet.write("", &pair(&fleet));
    let prlimit = ["prlimit", "--nofile=100:100"];
    fleet.set_launcher(prlimit.map(str::to_owned).to_vec());
    fleet.up();
    let steady = fleet.await_main("steady");
    let socket = fleet.data().join("control.sock");
    let connect = |_number| UnixStream::connect(&socket).ok();
    let crowd: Vec<UnixStream> = (0..100).filter_map(connect).collect();
    until("one more is told that there are too many", || {
        fleet
            .api()
            .ask("/api/health")
            .filter(|(status, _)| *status == 503)
    });
    await_more(&fleet, "probes");
    await_more(&fleet, "starts");
    assert!(steady.lives());
    drop(crowd);
    until("there is room again", || {
        fleet
            .api()
            .ask("/api/health")
            .filter(|(status, _)| *status == 200)
    });
    fleet.down();
}

/// Row 17 of the fault matrix. The user of the fleet may have so many threads and processes that its
/// supervisor has room, and half of its agents.
#[test]
fn a_process_that_cannot_be_made_is_tried_again_and_harms_nobody() {
    const USER: u32 = 64_917;
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIP: own_limits::a_process_that_cannot_be_made: only root may become another user"
        );
        return;
    }
    let policy = "restart_policy: {initial_delay: 100ms, max_delay: 500ms, max_retries: unlimited}";
    let names: Vec<String> = (0..AGENTS).map(|number| format!("a{number}")).collect();
    let agents: String = names
        .iter()
        .map(|name| agent(name, &["forever"], policy))
        .collect();
    let mut fleet = Fleet::new(&agents);
    fleet.set_user(USER, USER);
    let words =
        format!("setpriv --reuid={USER} --regid={USER} --clear-groups prlimit --nproc=80:80");
    fleet.set_launcher(words.split(' ').map(str::to_owned).collect());
    fleet.up();
    let (living, refused) = until("there is no room for some, and for some there is", || {
        let states = names.iter().map(|name| (name, fleet.agent(name)));
        let (living, refused): (Vec<_>, Vec<_>) =
            states.partition(|(_, agent)| agent.state == State::Running);
        let are_refused = refused.iter().all(|(_, agent)| agent.restarts >= 2);
        (are_refused && !refused.is_empty() && !living.is_empty()).then_some((living, refused))
    });
    let before: Vec<_> = living
        .iter()
        .map(|(name, _)| fleet.await_main(name))
        .collect();
    for (name, _) in &refused {
        let (_, cause) = &fleet.await_ends(name, 1)[0];
        assert_eq!(cause, "spawn", "{name}");
    }
    // Whatever is refused next may have the room, and the supervisor may need some of it itself.
    let (last, stopped) = before.split_last().unwrap();
    for (name, _) in &living[..stopped.len()] {
        fleet.run(&["stop", name]).ok();
    }
    assert!(!stopped.iter().any(Process::lives));
    until("one of the refused has the room", || {
        let mut agents = refused.iter().map(|(name, _)| fleet.agent(name));
        agents
            .any(|agent| agent.state == State::Running)
            .then_some(())
    });
    assert!(last.lives(), "who was left alone goes on");
    fleet.down();
}

/// Row 36 of the fault matrix.
#[test]
fn a_control_socket_that_is_removed_is_there_again() {
    let mut fleet = Fleet::new(&agent("a", &["forever"], ""));
    fleet.up();
    let main = fleet.await_main("a");
    std::fs::remove_file(fleet.data().join("control.sock")).unwrap();
    fleet.run(&["status"]).exits(5);
    fleet.await_answer();
    assert_eq!(fleet.await_main("a"), main);
    fleet.down();
}

/// Row 12 of the fault matrix: what is meant cannot be written down, so nothing new begins.
#[test]
fn a_journal_that_somebody_else_has_locked_holds_up_starts_and_nothing_else() {
    let mut fleet = Fleet::new("");
    fleet.write("", &pair(&fleet));
    fleet.up();
    let steady = fleet.await_main("steady");
    fleet.await_lines("starts", 2);
    let mut holder = lock(&fleet);
    until("it is told", || {
        let (_, health) = fleet.api().ask("/api/health")?;
        health
            .contains("another process holds a lock on it")
            .then_some(())
    });
    let before = fleet.lines("starts").len();
    await_more(&fleet, "probes");
    holds_for(Duration::from_secs(1), "nothing begins", || {
        fleet.lines("starts").len() <= before + 1
    });
    assert!(steady.lives());
    holder.kill().unwrap();
    holder.wait().unwrap();
    await_more(&fleet, "starts");
    fleet.await_state("steady", State::Running);
    fleet.down();
}

/// Holds a lock on the journal until it is killed.
fn lock(fleet: &Fleet) -> Child {
    let held = fleet.path("held");
    let program = "import sqlite3, sys, time\n\
        file = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n\
        file.execute('BEGIN IMMEDIATE')\n\
        open(sys.argv[2], 'w').close()\n\
        time.sleep(1000)";
    let holder = Command::new("python3")
        .args(["-c", program])
        .args([fleet.data().join("journal.db"), held.clone()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until("the journal is locked", || held.exists().then_some(()));
    holder
}

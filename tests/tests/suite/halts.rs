//! The kill switch, under a real supervisor.

use std::fs;
use std::time::Duration;

use claw_daemon::api::{Agent, HaltLevel, HaltedList, State};

use crate::fleet::{Fleet, Process, agent, holds_for, until};

fn is_halted(fleet: &Fleet, name: &str) -> Agent {
    fleet.await_agent(name, "is halted", |agent| agent.reason.code == "halted")
}

/// The processor time of a process so far, in clock ticks.
fn ticks(process: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn what_is_killed_stays_down_whoever_asks_and_whatever_dies() {
    let mut fleet = Fleet::new(&agent("web", &["forever"], ""));
    fleet.up();
    let main = fleet.await_main("web");
    let why = "it answers strangers";
    let halt = ["halt", "web", "--level", "kill", "--reason", why];
    assert!(fleet.run(&halt).ok().contains("stays down"));
    until("it is gone", || (!main.lives()).then_some(()));
    let halted = is_halted(&fleet, "web");
    assert_eq!(halted.state, State::Stopped);
    let halt = halted.halt.unwrap();
    assert_eq!(
        (halt.level, halt.reason.as_deref()),
        (HaltLevel::Kill, Some(why))
    );
    assert!(halted.reason.text.contains(why), "{}", halted.reason.text);

    fleet.crash_and_up();
    is_halted(&fleet, "web");
    for command in ["start", "restart", "resume"] {
        let refused = fleet.run(&[command, "web"]);
        assert!(refused.err.contains("is halted: kill"), "{refused:?}");
        refused.exits(8);
    }
    fleet.write("", &agent("web", &["forever"], "env: {COLOUR: blue}"));
    fleet.run(&["apply"]).ok();
    holds_for(Duration::from_millis(500), "nothing is started", || {
        fleet.agent("web").instance.is_none()
    });
    let (_, metrics) = fleet.api().ask("/metrics").unwrap();
    let series = "openclaw_agent_halted{agent=\"web\",level=\"kill\"} 1";
    assert!(metrics.contains(series), "{metrics}");

    let asked = fleet.run(&["resume-all"]);
    assert!(asked.out.contains(why), "{asked:?}");
    asked.exits(2);
    is_halted(&fleet, "web");
    fleet.run(&["resume-all", "--yes"]).ok();
    fleet.await_main("web");
    let told = fleet.run(&["why", "web"]).ok();
    assert!(told.contains("was halted: kill"), "{told}");
    assert!(told.contains("was let go by"), "{told}");
    fleet.down();
}

#[test]
fn a_halted_agent_finishes_its_run_and_begins_no_other() {
    let mut fleet = Fleet::new("");
    let (marks, go) = (fleet.place("marks"), fleet.place("go"));
    let steps = ["mark", &marks, "await-file", &go];
    let schedule = "mode: oneshot, schedule: {every: 1h, run_on_start: false, overlap: queue}";
    fleet.write("", &agent("job", &steps, schedule));
    fleet.up();
    fleet.await_state("job", State::Running);
    fleet.run(&["trigger", "job"]).ok();
    fleet.run(&["trigger", "job"]).ok();
    fleet.await_lines("marks", 1);
    fleet.run(&["halt", "--all", "--level", "runs"]).ok();
    fleet.run(&["trigger", "job"]).exits(8);
    fs::write(&go, "").unwrap();
    fleet.await_agent("job", "has finished its run", |agent| {
        agent.runs.succeeded == 1
    });
    let held: HaltedList = fleet.api().get("/api/halt");
    assert_eq!(held.agents[0].held.runs, 1);
    assert_eq!(fleet.lines("marks").len(), 1);
    fleet.run(&["resume", "job", "--halt", "--yes"]).ok();
    fleet.await_agent("job", "has finished the next", |agent| {
        agent.runs.succeeded == 2
    });
    fleet.down();
}

#[test]
fn what_is_frozen_by_a_halt_stands_still_under_the_next_supervisor_too() {
    let mut fleet = Fleet::new("");
    // A shell that does nothing but count is the busiest neighbour there is.
    let busy = "  busy: {command: [sh, -c, \"while :; do :; done\"]}\n";
    fleet.write("", busy);
    fleet.up();
    let main = fleet.await_main("busy");
    until("it works", || (ticks(&main) > 0).then_some(()));
    fleet.run(&["halt", "busy", "--level", "freeze"]).ok();
    is_halted(&fleet, "busy");
    let stands_still = |fleet: &Fleet| {
        let mut last = ticks(&main);
        until("it has come to a stand", || {
            let before = std::mem::replace(&mut last, ticks(&main));
            (before == last).then_some(())
        });
        holds_for(Duration::from_millis(500), "no processor time", || {
            ticks(&main) <= last + 1 && fleet.agent("busy").reason.code == "halted"
        });
    };
    stands_still(&fleet);
    fleet.crash_and_up();
    stands_still(&fleet);
    fleet.run(&["resume-all", "--yes"]).ok();
    let before = ticks(&main);
    until("it goes on", || (ticks(&main) > before + 1).then_some(()));
    assert_eq!(fleet.await_main("busy"), main);
    fleet.down();
}

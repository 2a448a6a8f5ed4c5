//! Row 14 of the fault matrix: the clock of the wall is set, under a supervisor that goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::fleet::{Fleet, Process, agent, steps};

/// What shifts the clock of programs, where it is installed.
pub(crate) fn faketime(test: &str) -> Option<PathBuf> {
    let found = PathBuf::from("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
    if found.exists() {
        return Some(found);
    }
    eprintln!("SKIP {test}: there is no libfaketime");
    None
}

/// Sets the clock of the fleet's supervisor so many seconds off.
fn set_clock(fleet: &Fleet, seconds: i64) {
    let fresh = fleet.path("clock.new");
    fs::write(&fresh, format!("{seconds:+}s\n")).unwrap();
    fs::rename(fresh, fleet.path("clock")).unwrap();
}

/// How often each planned time of an agent has run, in its own time or later.
fn runs_by_slot(fleet: &Fleet, name: &str) -> BTreeMap<Option<i64>, usize> {
    let mut runs = BTreeMap::new();
    for run in fleet.runs(name) {
        let slot = run.trigger.slot.map(|slot| slot.as_second());
        *runs.entry(slot).or_default() += 1;
    }
    runs
}

/// An agent that is probed, one that backs off, one with a rhythm, and one with fixed times.
fn agents(fleet: &Fleet) -> String {
    let place = |name: &str| fleet.place(name);
    let probe = steps(&["mark", &place("probes")]);
    let probed =
        format!("health_check: {{liveness: {{exec: {probe}, interval: 200ms, timeout: 5s}}}}");
    let policy = "restart_policy: {initial_delay: 200ms, max_delay: 200ms, max_retries: unlimited}";
    let daily = "schedule: {cron: \"* * * * * *\", catch_up: one, overlap: skip}";
    [
        agent("steady", &["forever"], &probed),
        agent("flaky", &["mark", &place("starts"), "exit", "1"], policy),
        agent(
            "rhythm",
            &["mark", &place("rhythm")],
            "schedule: {every: 1s}",
        ),
        agent("fixed", &["mark", &place("fixed")], daily),
    ]
    .concat()
}

fn await_more(fleet: &Fleet, name: &str) {
    let now = fleet.lines(name).len();
    fleet.await_lines(name, now + 3);
}

#[test]
fn whatever_the_wall_clock_is_set_to_nobody_is_killed_and_no_planned_time_runs_twice() {
    const HOUR: i64 = 3_600;
    let test = "whatever_the_wall_clock_is_set_to_nobody_is_killed_and_no_planned_time_runs_twice";
    let Some(library) = faketime(test) else {
        return;
    };
    let mut fleet = Fleet::new("");
    fleet.write("", &agents(&fleet));
    fleet.set_env("LD_PRELOAD", library.to_str().unwrap());
    fleet.set_env("FAKETIME_TIMESTAMP_FILE", &fleet.place("clock"));
    fleet.set_env("FAKETIME_NO_CACHE", "1");
    fleet.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    set_clock(&fleet, 0);
    fleet.up();
    let steady = fleet.await_main("steady");
    fleet.await_lines("fixed", 1);
    let second_of_1970 = 1 - jiff::Timestamp::now().as_second();
    // An hour back from where it was before is the very hour that was already lived through.
    for seconds in [HOUR, 0, -HOUR, second_of_1970, 0] {
        set_clock(&fleet, seconds);
        for name in ["probes", "starts", "rhythm"] {
            await_more(&fleet, name);
        }
        assert!(steady.lives(), "killed by a clock that is {seconds} s off");
    }
    // The hour that was jumped over is one run late, not thousands; all else ran in its own time.
    let runs = runs_by_slot(&fleet, "fixed");
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    let marks = fleet.lines("fixed").len();
    assert!(marks <= runs.len() + 1, "{marks} runs for {runs:?}");
    assert_eq!(fleet.agent("steady").restarts, 0);
    assert!(
        Process::of(fleet.pid()).is_some(),
        "the supervisor goes on: {}",
        fleet.said()
    );
    fleet.down();
}

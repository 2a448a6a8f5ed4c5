//! The supervisor dies around what an agent did: state, events and acknowledgements.

use std::fs;

use claw_daemon::api::RunState;
use claw_failpoint::Point;

use super::arms::Arms;
use super::remains::{assert_no_leftovers, assert_no_panic};
use super::{Battery, points};
use crate::fleet::{Fleet, Waited, until};
use crate::workers::{COUNTER, LISTENER, await_ready};

/// A point is reached more than once by one run and the event that it publishes: by the run's
/// outcome, by the event's, and by what is kept beside.
const TIMES: u32 = 4;

/// One that counts its runs and tells of each, and one that counts what it is told.
fn pair(test: &str) -> Option<(Fleet, Arms)> {
    let mut fleet = Fleet::new("");
    let arms = Arms::of(&mut fleet, test)?;
    for (name, program) in [("counter", COUNTER), ("listener", LISTENER)] {
        fs::write(fleet.path(&format!("{name}.py")), program).unwrap();
    }
    let agents = ["counter", "listener"].map(|name| format!("  {name}: {{source: {name}.py}}\n"));
    fleet.write("", &agents.concat());
    Some((fleet, arms))
}

fn number(fleet: &Fleet, name: &str, key: &str) -> u64 {
    let stored = fleet.stored(name, key).unwrap_or_default();
    stored.as_u64().unwrap_or(0)
}

/// A run counts and its event is heard, whoever died; how many have succeeded since.
fn settle(fleet: &Fleet, point: Point) -> u64 {
    until("every run is over", || {
        let runs = fleet.runs("counter");
        runs.iter().all(|run| run.state.is_final()).then_some(())
    });
    let runs = fleet.runs("counter");
    let succeeded = runs.iter().filter(|run| run.state == RunState::Succeeded);
    let done = u64::try_from(succeeded.count()).unwrap();
    assert_eq!(runs.len() as u64, done, "{point}: {runs:#?}");
    assert_eq!(
        number(fleet, "counter", "n"),
        done,
        "{point}: each counts once"
    );
    let mut waited = Waited::start();
    until("every event is heard", || {
        let heard = number(fleet, "listener", "heard");
        assert!(
            heard <= done,
            "{point}: {heard} of {done} events were heard"
        );
        let late = waited.total().as_secs() > 20;
        assert!(!late, "{point}: {heard} of {done} events were heard");
        (heard == done).then_some(())
    });
    done
}

/// Whether somebody came to the point so often while a run was done and its event was handled.
fn die_at(fleet: &mut Fleet, arms: &Arms, point: Point, count: u32) -> bool {
    let heard = number(fleet, "listener", "heard");
    arms.arm(point, count);
    // A supervisor that dies has promised nothing.
    drop(fleet.run(&["trigger", "counter", "--wait"]));
    until("somebody dies, or all is done", || {
        let done = number(fleet, "listener", "heard") > heard;
        (done || arms.has_killed(point)).then_some(())
    });
    arms.disarm(point);
    let died = arms.has_killed(point);
    if died {
        fleet.await_killed();
        fleet.up();
        arms.forget(point);
    }
    died
}

#[test]
fn a_supervisor_that_dies_at_a_commit_loses_no_state_and_no_event_and_repeats_none() {
    let test = "a_supervisor_that_dies_at_a_commit_loses_no_state_and_no_event_and_repeats_none";
    let Some((mut fleet, arms)) = pair(test) else {
        return;
    };
    fleet.up();
    let mains = ["counter", "listener"].map(|name| {
        await_ready(&fleet, name);
        fleet.await_main(name)
    });
    for point in points(Battery::Work) {
        let mut deaths = 0;
        while deaths < TIMES && die_at(&mut fleet, &arms, point, deaths + 1) {
            deaths += 1;
            settle(&fleet, point);
        }
        eprintln!("{point}: {deaths} times");
        assert!(deaths > 0, "nobody came to {point}");
    }
    let now = ["counter", "listener"].map(|name| fleet.await_main(name));
    assert_eq!(now, mains, "the agents lived on");
    assert_no_leftovers(&fleet, &["counter", "listener"]);
    assert_no_panic(&fleet);
    fleet.down();
}

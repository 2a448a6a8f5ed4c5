//! Somebody dies around the start or the end of an agent's life.

use claw_daemon::api::State;
use claw_failpoint::{Point, Side, Step};
use rustix::process::Signal;

use super::arms::Arms;
use super::remains::{
    assert_no_leftovers, assert_no_panic, assert_one_copy, assert_one_outcome_each, marks,
};
use super::{Battery, Victim, points, victim_of};
use crate::fleet::{Fleet, Process, agent};

/// An agent that nobody touches, and one that ends again and again.
fn pair(test: &str, sandbox: &str) -> Option<(Fleet, Arms)> {
    let mut fleet = Fleet::new("");
    let arms = Arms::of(&mut fleet, test)?;
    let (steady, mortal) = (fleet.place(&marks("steady")), fleet.place(&marks("mortal")));
    let policy = format!(
        "sandbox: {sandbox}, \
         restart_policy: {{initial_delay: 10ms, max_delay: 10ms, max_retries: unlimited}}"
    );
    let agents = agent("steady", &["mark", &steady, "forever"], "")
        + &agent("mortal", &["mark", &mortal, "forever"], &policy);
    fleet.write("", &agents);
    Some((fleet, arms))
}

/// What has somebody come to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The supervisor dies and the next one starts.
    Restart,
    /// The agent dies.
    Death,
    /// The agent is asked to stop.
    Stop,
}

const fn cause_of(step: Step) -> Cause {
    if matches!(step, Step::Start | Step::Recovery) {
        return Cause::Restart;
    }
    if matches!(step, Step::Goal | Step::Signal | Step::GroupRemoval) {
        return Cause::Stop;
    }
    Cause::Death
}

/// Who else dies when somebody dies at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    Nobody,
    TheSupervisor,
}

fn provoke(fleet: &mut Fleet, cause: Cause) {
    match cause {
        Cause::Restart => {
            fleet.kill();
            fleet.start();
        }
        Cause::Death => fleet.await_main("mortal").signal(Signal::KILL),
        Cause::Stop => drop(fleet.run(&["stop", "mortal"])),
    }
}

fn die_at(fleet: &mut Fleet, arms: &Arms, point: Point, company: Company) {
    let cause = cause_of(point.step);
    let before = fleet.await_main("mortal");
    arms.arm(point, 1);
    provoke(fleet, cause);
    arms.await_death(point);
    match (victim_of(point.step), company) {
        (Victim::Supervisor, _) => {
            fleet.await_killed();
            fleet.up();
        }
        (Victim::Other, Company::TheSupervisor) => fleet.crash_and_up(),
        (Victim::Other, Company::Nobody) => {}
    }
    arms.forget(point);
    match cause {
        Cause::Restart => assert_eq!(fleet.await_main("mortal"), before, "{point}"),
        Cause::Death => {}
        Cause::Stop => assert_stops(fleet, point, &before),
    }
}

/// A stop that is on record comes, and one that is not has told the agent nothing.
fn assert_stops(fleet: &Fleet, point: Point, before: &Process) {
    let on_record = point.to_string() != "before-goal";
    let settled = if on_record {
        State::Stopped
    } else {
        State::Running
    };
    fleet.await_agent("mortal", "has settled", |agent| agent.state == settled);
    if on_record {
        assert!(!before.lives(), "{point}");
        fleet.run(&["start", "mortal"]).ok();
    } else {
        assert_eq!(&fleet.await_main("mortal"), before, "{point}");
    }
}

fn check(fleet: &Fleet, steady: &Process, point: Point) {
    eprintln!("{point}");
    assert_one_copy(fleet, "mortal");
    assert_one_copy(fleet, "steady");
    assert_eq!(&fleet.await_main("steady"), steady, "nobody touched it");
    assert_one_outcome_each(fleet, "mortal");
    assert_eq!(fleet.ends("steady"), []);
    assert_no_leftovers(fleet, &["steady", "mortal"]);
    assert_no_panic(fleet);
}

#[test]
fn whoever_dies_at_a_start_or_an_end_leaves_one_copy_and_one_outcome() {
    let test = "whoever_dies_at_a_start_or_an_end_leaves_one_copy_and_one_outcome";
    let Some((mut fleet, arms)) = pair(test, "{mode: none}") else {
        return;
    };
    fleet.up();
    let steady = fleet.await_main("steady");
    for point in points(Battery::Lives) {
        die_at(&mut fleet, &arms, point, Company::Nobody);
        check(&fleet, &steady, point);
    }
    fleet.down();
}

#[test]
fn whoever_dies_with_the_supervisor_leaves_one_copy_and_one_outcome() {
    let test = "whoever_dies_with_the_supervisor_leaves_one_copy_and_one_outcome";
    let Some((mut fleet, arms)) = pair(test, "{mode: none}") else {
        return;
    };
    fleet.up();
    let steady = fleet.await_main("steady");
    let others = points(Battery::Lives).filter(|point| victim_of(point.step) == Victim::Other);
    for point in others {
        die_at(&mut fleet, &arms, point, Company::TheSupervisor);
        check(&fleet, &steady, point);
    }
    fleet.down();
}

/// The same steps with a keeper in between. What executes the agent has no way to the armed points
/// any more, once it is in a root directory of its own.
#[test]
fn whoever_dies_around_a_sandbox_leaves_one_copy_and_one_outcome() {
    let test = "whoever_dies_around_a_sandbox_leaves_one_copy_and_one_outcome";
    if !Fleet::new("").confines(test) {
        return;
    }
    let sandbox = "{mode: process, writable: [lives]}";
    let Some((mut fleet, arms)) = pair(test, sandbox) else {
        return;
    };
    fleet.up();
    let steady = fleet.await_main("steady");
    let unreachable = Point {
        side: Side::Before,
        step: Step::Exec,
    };
    let others = points(Battery::Lives).filter(|point| victim_of(point.step) == Victim::Other);
    for point in others.filter(|point| *point != unreachable) {
        die_at(&mut fleet, &arms, point, Company::Nobody);
        check(&fleet, &steady, point);
    }
    fleet.down();
}

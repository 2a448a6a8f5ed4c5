//! The supervisor dies around the record of a run, a slot or an answer.

use std::collections::BTreeSet;
use std::fs;

use claw_daemon::api::{Run, RunState, SlotFate, TransitionKind};
use claw_failpoint::{Point, Step};

use super::arms::Arms;
use super::remains::{assert_no_panic, assert_one_copy, assert_one_outcome_each, marks};
use super::{Battery, points};
use crate::fleet::{Fleet, Process, agent, until};

/// An agent that nobody touches, one whose runs fail once and are tried again, and one that runs
/// each second.
fn fleet(test: &str) -> Option<(Fleet, Arms)> {
    let mut fleet = Fleet::new("");
    let arms = Arms::of(&mut fleet, test)?;
    let place = |name: &str| fleet.place(name);
    let (steady, job, failed, clock) = (
        place(&marks("steady")),
        place(&marks("job")),
        place("failed"),
        place(&marks("clock")),
    );
    let again = "mode: oneshot, restart_policy: {initial_delay: 10ms, max_delay: 10ms}";
    let each_second = "mode: oneshot, \
        schedule: {cron: \"* * * * * *\", catch_up: all, overlap: queue}";
    let first = ["mark", &job, "if-first", &failed, "[", "exit", "75", "]"];
    let agents = agent("steady", &["mark", &steady, "forever"], "")
        + &agent("job", &first, again)
        + &agent("clock", &["mark", &clock], each_second);
    fleet.write("", &agents);
    Some((fleet, arms))
}

/// Asks for a run under a key of the point's own; the id of the run that was promised, if one was.
fn trigger(fleet: &Fleet, point: Point) -> Option<String> {
    let key = point.to_string();
    let asked = fleet.api().offer(
        "/api/agents/job/trigger",
        "{}",
        ("idempotency-key", key.as_str()),
    );
    let (status, run) = asked?;
    assert!((200..300).contains(&status), "{point}: {run}");
    Some(run["id"].as_str().unwrap().to_owned())
}

/// What a client does that got no answer: it sends the same again, and has a run then.
fn promised(fleet: &Fleet, point: Point) -> String {
    trigger(fleet, point).expect("the supervisor answers")
}

fn die_at_a_run(fleet: &mut Fleet, arms: &Arms, point: Point) {
    fs::remove_file(fleet.path("failed")).ok();
    let before = ids(&fleet.runs("job"));
    arms.arm(point, 1);
    trigger(fleet, point);
    arms.await_death(point);
    fleet.await_killed();
    fleet.up();
    arms.forget(point);
    let kept = promised(fleet, point);
    await_the_end_of_all(fleet);
    let runs = fleet.runs("job");
    let new: BTreeSet<String> = ids(&runs).difference(&before).cloned().collect();
    assert!(new.contains(&kept), "{point}: {kept} is not on record");
    assert_eq!(new.len(), 1, "{point}: one request, {new:?}");
    let run = runs.iter().find(|run| run.id == kept);
    let state = run.map(|run| run.state);
    assert_eq!(state, Some(RunState::Succeeded), "{point}: {run:?}");
}

fn ids(runs: &[Run]) -> BTreeSet<String> {
    runs.iter().map(|run| run.id.clone()).collect()
}

fn await_the_end_of_all(fleet: &Fleet) {
    until("every run is over", || {
        let runs = fleet.runs("job");
        runs.iter().all(|run| run.state.is_final()).then_some(())
    });
}

/// The clock comes there by itself.
fn die_at_a_slot(fleet: &mut Fleet, arms: &Arms, point: Point) {
    arms.arm(point, 1);
    arms.await_death(point);
    fleet.await_killed();
    fleet.up();
    arms.forget(point);
}

/// Each second has one fate, and at most one run.
fn assert_one_fate_each(fleet: &Fleet) {
    let before = fleet.lines(&marks("clock")).len();
    fleet.await_lines(&marks("clock"), before + 2);
    let mut slots = Vec::new();
    for transition in fleet.transitions("clock") {
        if let TransitionKind::Slot { slot, fate, .. } = transition.what {
            assert_ne!(fate, SlotFate::Missed, "{slot}");
            slots.push(slot.as_second());
        }
    }
    slots.sort_unstable();
    let each_once = slots.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(each_once, "{slots:?}");
    let mut due = BTreeSet::new();
    for run in fleet.runs("clock") {
        if let Some(slot) = run.trigger.slot {
            assert!(due.insert(slot), "two runs of {slot}");
        }
    }
}

fn check(fleet: &Fleet, steady: &Process) {
    assert_one_copy(fleet, "steady");
    assert_eq!(&fleet.await_main("steady"), steady, "nobody touched it");
    assert_one_outcome_each(fleet, "job");
    assert_one_fate_each(fleet);
    assert_no_panic(fleet);
}

#[test]
fn a_supervisor_that_dies_at_a_run_or_a_slot_loses_none_and_repeats_none() {
    let test = "a_supervisor_that_dies_at_a_run_or_a_slot_loses_none_and_repeats_none";
    let Some((mut fleet, arms)) = fleet(test) else {
        return;
    };
    fleet.up();
    let steady = fleet.await_main("steady");
    for point in points(Battery::Runs) {
        eprintln!("{point}");
        if point.step == Step::Slot {
            die_at_a_slot(&mut fleet, &arms, point);
        } else {
            die_at_a_run(&mut fleet, &arms, point);
        }
    }
    check(&fleet, &steady);
    fleet.down();
}

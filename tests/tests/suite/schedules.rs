//! Slots and runs: each due slot has one fate, each run one outcome.

use std::fs;
use std::time::Duration;

use claw_daemon::api::{RunState, SlotFate, Time, TransitionKind};
use jiff::ToSpan;
use jiff::tz::TimeZone;
use rustix::process::Signal;

use crate::fleet::{Fleet, Process, agent, holds_for, until};

/// The settled slots of an agent, oldest first.
fn slots(fleet: &Fleet, name: &str) -> Vec<(Time, SlotFate)> {
    let kinds = fleet.transitions(name).into_iter();
    let mut slots: Vec<(Time, SlotFate)> = kinds
        .filter_map(|transition| match transition.what {
            TransitionKind::Slot { slot, fate, .. } => Some((slot, fate)),
            TransitionKind::Ended { .. }
            | TransitionKind::Halted { .. }
            | TransitionKind::HaltLifted { .. } => None,
        })
        .collect();
    slots.sort_by_key(|(slot, _)| *slot);
    slots
}

fn count(slots: &[(Time, SlotFate)], fate: SlotFate) -> usize {
    slots.iter().filter(|(_, other)| *other == fate).count()
}

/// Case 16: what fell due while nobody was there is made up for as the policy says, once.
#[test]
fn slots_that_fell_due_while_the_supervisor_was_down_have_exactly_one_fate() {
    let mut fleet = Fleet::new("");
    let policies = ["none", "one", "all"];
    let agents: Vec<String> = policies
        .iter()
        .map(|policy| {
            let marks = fleet.place(policy);
            let keys =
                format!("schedule: {{cron: \"* * * * * *\", catch_up: {policy}, overlap: queue}}");
            agent(policy, &["mark", &marks], &keys)
        })
        .collect();
    fleet.write("", &agents.concat());
    fleet.up();
    for policy in policies {
        fleet.await_lines(policy, 1);
    }
    fleet.kill();
    let before = policies.map(|policy| fleet.lines(policy).len());
    holds_for(Duration::from_secs(4), "nobody starts a run", || {
        policies.map(|policy| fleet.lines(policy).len()) <= before.map(|count| count + 1)
    });
    fleet.up();
    for policy in policies {
        until("slots are settled again", || {
            let settled = slots(&fleet, policy);
            let behind = settled
                .iter()
                .rev()
                .take_while(|(_, fate)| *fate == SlotFate::Ran);
            (behind.count() >= 2 && settled.len() > 5).then_some(())
        });
    }
    let all = policies.map(|policy| slots(&fleet, policy));
    for settled in &all {
        let times: Vec<i64> = settled.iter().map(|(slot, _)| slot.as_second()).collect();
        assert!(
            times.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "each once: {settled:#?}"
        );
    }
    let of = |fate| all.each_ref().map(|settled| count(settled, fate));
    let [none, one, every] = of(SlotFate::Missed);
    assert!(none >= 3 && one >= 2 && every == 0, "{all:#?}");
    let [none, one, every] = of(SlotFate::CaughtUp);
    assert!(none == 0 && one == 1 && every >= 3, "{all:#?}");
    fleet.down();
}

/// Row 15 of the fault matrix: a supervisor that stood still, as on a machine that slept, makes up
/// for what fell due as the policy says, once.
#[test]
fn slots_that_fell_due_while_the_supervisor_stood_still_have_exactly_one_fate() {
    let mut fleet = Fleet::new("");
    let policies = ["none", "one"];
    let agents = policies.map(|policy| {
        let marks = fleet.place(policy);
        let keys =
            format!("schedule: {{cron: \"* * * * * *\", catch_up: {policy}, overlap: queue}}");
        agent(policy, &["mark", &marks], &keys)
    });
    fleet.write("", &agents.concat());
    fleet.up();
    for policy in policies {
        fleet.await_lines(policy, 1);
    }
    fleet.signal(Signal::STOP);
    let until_then = jiff::Timestamp::now() + 5.seconds();
    until("five seconds are over", || {
        (jiff::Timestamp::now() > until_then).then_some(())
    });
    fleet.signal(Signal::CONT);
    for policy in policies {
        let settled = until("slots run again in their time", || {
            let settled = slots(&fleet, policy);
            let late = settled.iter().rposition(|(_, fate)| *fate != SlotFate::Ran);
            late.is_some_and(|place| settled.len() > place + 2)
                .then_some(settled)
        });
        let times: Vec<i64> = settled.iter().map(|(slot, _)| slot.as_second()).collect();
        assert!(
            times.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "each once: {settled:#?}"
        );
        let caught_up = count(&settled, SlotFate::CaughtUp);
        let most = usize::from(policy == "one");
        assert!(count(&settled, SlotFate::Missed) >= 2, "{settled:#?}");
        assert!(caught_up <= most, "{policy}: {settled:#?}");
    }
    fleet.down();
}

/// A run that was late by more than it may be is missed, whatever the policy.
#[test]
fn a_slot_later_than_it_may_be_is_missed() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("marks");
    let keys = "schedule: {cron: \"* * * * * *\", catch_up: all, max_lateness: 1s, overlap: queue}";
    fleet.write("", &agent("strict", &["mark", &marks], keys));
    fleet.up();
    fleet.await_lines("marks", 1);
    fleet.kill();
    let until_then = jiff::Timestamp::now() + 4.seconds();
    until("four seconds are over", || {
        (jiff::Timestamp::now() > until_then).then_some(())
    });
    fleet.up();
    until("slots run again", || {
        let settled = slots(&fleet, "strict");
        (settled.len() > 5 && settled.last().unwrap().1 == SlotFate::Ran).then_some(())
    });
    let settled = slots(&fleet, "strict");
    assert!(count(&settled, SlotFate::Missed) >= 2, "{settled:#?}");
    fleet.down();
}

/// Case 17: killed in the middle of a run, and back in the same slot.
#[test]
fn a_run_under_way_goes_on_over_a_kill_of_the_supervisor_and_is_not_run_again() {
    let mut fleet = Fleet::new("");
    let (marks, go) = (fleet.place("marks"), fleet.place("go"));
    let script = ["mark", &marks, "await-file", &go, "say", "done"];
    let keys = "schedule: {cron: \"* * * * * *\", overlap: skip, catch_up: one}";
    fleet.write("", &agent("worker", &script, keys));
    fleet.up();
    let work = fleet.await_mark("marks");
    fleet.crash_and_up();
    until("slots are skipped while it works", || {
        let settled = slots(&fleet, "worker");
        (count(&settled, SlotFate::SkippedOverlap) >= 2).then_some(())
    });
    assert_eq!(fleet.lines("marks").len(), 1, "the overlap rule holds");
    assert!(work.lives());
    fleet.run(&["pause", "worker"]).ok();
    fs::write(&go, "").unwrap();
    let run = until("the run is over", || {
        fleet
            .runs("worker")
            .into_iter()
            .find(|run| run.state.is_final())
    });
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 1));
    assert_eq!(
        fleet.run(&["logs", "worker", "--run", &run.id]).ok(),
        "done\n"
    );
    let settled = slots(&fleet, "worker");
    assert_eq!(count(&settled, SlotFate::Ran), 1, "{settled:#?}");
    fleet.down();
}

/// Case 17: the run was cut off together with its supervisor; how it ended nobody knows.
#[test]
fn a_run_that_was_cut_off_is_interrupted_and_follows_its_retry_rule() {
    let mut fleet = Fleet::new("");
    let retrying = "mode: oneshot, restart_policy: {policy: on-failure, initial_delay: 50ms}";
    fleet.write(
        "",
        &[
            agent(
                "once",
                &["mark", &fleet.place("once"), "forever"],
                "mode: oneshot",
            ),
            agent(
                "again",
                &["mark", &fleet.place("again"), "forever"],
                retrying,
            ),
        ]
        .concat(),
    );
    fleet.up();
    fleet.await_mark("once");
    fleet.await_mark("again");
    let cut: Vec<Process> = fleet.processes();
    for process in cut
        .iter()
        .filter(|process| process.is_shim() || process.is_spawner())
    {
        process.signal(Signal::KILL);
    }
    fleet.kill();
    fleet.up();
    fleet.await_lines("again", 2);
    let once = until("the run has an outcome", || {
        fleet
            .runs("once")
            .into_iter()
            .find(|run| run.state.is_final())
    });
    assert_eq!((once.state, once.attempts), (RunState::Interrupted, 1));
    assert_eq!(fleet.lines("once").len(), 1, "no retry without a rule");
    // The program may say that it runs before its supervisor has heard of it.
    until("the second attempt is told of", || {
        (fleet.runs("again")[0].attempts == 2).then_some(())
    });
    fleet.down();
}

/// Case 18: the next slot of wall-clock schedules around a change of the clock, and on a leap day.
#[test]
fn the_next_slot_follows_the_zone_over_gaps_and_leap_days() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let now = jiff::Timestamp::now();
    let gap = zone
        .following(now)
        .find(|transition| transition.dst().is_dst())
        .unwrap()
        .timestamp();
    // An hour from this moment on does not exist; its half runs when the hour is over.
    let missing = gap.to_zoned(TimeZone::fixed(jiff::tz::offset(1))) + 30.minutes();
    let in_gap = format!(
        "schedule: {{cron: \"{} {} {} {} *\", timezone: Europe/Berlin}}",
        missing.minute(),
        missing.hour(),
        missing.day(),
        missing.month()
    );
    let mut fleet = Fleet::new(
        &[
            agent("in-gap", &[], &in_gap),
            agent(
                "leap",
                &[],
                "schedule: {cron: \"0 12 29 2 *\", timezone: UTC}",
            ),
            agent(
                "morning",
                &[],
                "schedule: {daily: \"09:00\", timezone: Asia/Tokyo}",
            ),
        ]
        .concat(),
    );
    fleet.up();
    let next = |name: &str| until("the next slot is known", || fleet.agent(name).runs.next_at);
    assert_eq!(next("in-gap"), gap, "the next valid minute");
    let leap = next("leap").to_zoned(TimeZone::UTC);
    assert_eq!(
        (leap.month(), leap.day(), leap.hour(), leap.year() % 4),
        (2, 29, 12, 0)
    );
    let morning = next("morning").to_zoned(TimeZone::get("Asia/Tokyo").unwrap());
    assert_eq!((morning.hour(), morning.minute()), (9, 0));
    assert!(morning.timestamp() <= now + 25.hours(), "within a day");
    fleet.down();
}

/// A run that hangs is stopped at its timeout, and has failed.
#[test]
fn a_run_longer_than_its_timeout_is_stopped_and_has_failed() {
    let mut fleet = Fleet::new(&agent(
        "hanging",
        &["forever"],
        "schedule: {every: 1h, timeout: 300ms}",
    ));
    fleet.up();
    let run = until("the run is over", || {
        fleet
            .runs("hanging")
            .into_iter()
            .find(|run| run.state.is_final())
    });
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(run.cause.unwrap().code, "run_timeout");
    fleet.down();
}

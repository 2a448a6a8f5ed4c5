//! Slots: each due one gets exactly one fate.

use std::sync::Arc;

use crate::action::SlotFate::{self, CaughtUp, Held, Missed, Ran, SkippedOverlap};
use crate::clock::{Now, Wall};
use crate::event::{Command, Event, Freeze};
use crate::fleet::Fleet;
use crate::memory::Inheritance;
use crate::record::Record;
use crate::spec::schedule::{CronExpression, RunOnStart};
use crate::spec::{AgentSpec, CatchUp, Overlap, Timing};

use super::world::{
    Journal, World, begin, daemon, every, fates, fleet_of, name, orders, records, run_phases, secs,
    stop,
};

fn after(seconds: u64) -> Wall {
    begin().wall + secs(seconds)
}

fn hourly() -> AgentSpec {
    let mut spec = every(secs(1), Overlap::Skip);
    if let Some(schedule) = &mut spec.schedule {
        schedule.timing = Timing::Cron {
            expression: CronExpression::parse("0 * * * *").expect("good cron"),
            zone: jiff::tz::TimeZone::UTC,
        };
    }
    spec
}

/// Lets the run of a slot succeed.
fn work(world: &mut World) {
    world.started("a");
    world.exits("a", 0);
}

#[test]
fn every_slot_runs_in_its_time() {
    let mut world = World::new(vec![("a", every(secs(60), Overlap::Skip))]);
    assert_eq!(world.status("a").runs.next, Some(after(60)));
    for _ in 0..3 {
        world.pass(secs(60));
        work(&mut world);
    }
    let expected = [60, 120, 180].map(|at| (after(at), Ran));
    assert_eq!(fates(&world.done), expected);
}

#[test]
fn a_run_at_start_is_made_once_and_not_after_a_restart_of_ours() {
    let mut spec = every(secs(60), Overlap::Skip);
    if let Some(schedule) = &mut spec.schedule {
        schedule.run_on_start = RunOnStart::Yes;
    }
    let mut world = World::new(vec![("a", spec.clone())]);
    assert_eq!(orders(&world.done), ["spawn a#1"]);
    work(&mut world);
    let memory = last_memory(&world);
    let mut inheritance = Inheritance::default();
    inheritance.agents.insert(name("a"), memory);
    let world = World::restored(vec![("a", spec)], inheritance);
    assert!(orders(&world.done).is_empty());
}

#[test]
fn a_slot_in_a_busy_time_is_skipped_or_waits() {
    for (overlap, fate) in [(Overlap::Skip, SkippedOverlap), (Overlap::Queue, Ran)] {
        let mut world = World::new(vec![("a", every(secs(60), overlap))]);
        world.pass(secs(60));
        world.started("a");
        let actions = world.pass(secs(60));
        assert_eq!(fates(&actions), [(after(120), fate)]);
    }
}

#[test]
fn slots_of_a_paused_agent_are_held_and_not_made_up_for() {
    let mut world = World::new(vec![("a", every(secs(60), Overlap::Skip))]);
    let agent = name("a");
    let freeze = Freeze::No;
    world.ask(Command::Pause { agent, freeze });
    let actions = world.pass(secs(120));
    assert_eq!(fates(&actions), [(after(60), Held), (after(120), Held)]);
    let agent = name("a");
    let before = world.done.len();
    world.ask(Command::Resume { agent });
    assert!(orders(&world.done[before..]).is_empty());
    assert_eq!(fates(&world.pass(secs(60))), [(after(180), Ran)]);
}

#[test]
fn a_stopped_agent_has_no_slots_and_begins_anew() {
    let mut world = World::new(vec![("a", every(secs(60), Overlap::Skip))]);
    world.ask(stop("a"));
    assert!(fates(&world.pass(secs(600))).is_empty());
    assert_eq!(world.status("a").runs.next, None);
    world.ask(super::world::start("a"));
    assert_eq!(world.status("a").runs.next, Some(after(660)));
}

#[test]
fn a_slot_that_the_journal_refuses_does_not_run() {
    let mut world = World::new(vec![("a", every(secs(60), Overlap::Skip))]);
    world.journal = Journal::Fails;
    let actions = world.pass(secs(60));
    assert_eq!(fates(&actions), [(after(60), Missed)]);
    assert!(orders(&actions).is_empty());
}

#[test]
fn slots_that_fell_due_while_we_were_down_follow_their_policy() {
    let table: [(CatchUp, Vec<(u64, SlotFate)>); 3] = [
        (CatchUp::None, vec![(3600, Missed), (7200, Missed)]),
        (CatchUp::One, vec![(3600, Missed), (7200, CaughtUp)]),
        (CatchUp::All, vec![(3600, CaughtUp), (7200, CaughtUp)]),
    ];
    for (catch_up, expected) in table {
        let mut spec = hourly();
        if let Some(schedule) = &mut spec.schedule {
            schedule.catch_up = catch_up;
            schedule.overlap = Overlap::Queue;
        }
        let world = World::new(vec![("a", spec.clone())]);
        let memory = last_memory(&world);
        let mut inheritance = Inheritance::default();
        inheritance.agents.insert(name("a"), memory);
        let now = later(7300);
        let fleet = Arc::new(fleet_of(vec![("a", spec)]));
        let (mut fleet, mut actions) = Fleet::restore(fleet, inheritance, 1, now);
        let answers: Vec<_> = records(&actions).filter_map(|(id, _)| id).collect();
        for id in answers {
            actions.extend(fleet.step(now, Event::Fact(crate::Fact::Recorded(id))));
        }
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(at, fate)| (after(at), fate))
            .collect();
        assert_eq!(fates(&actions), expected, "{catch_up:?}");
    }
}

/// Case 19: what is counted in time is counted on the monotonic clock.
#[test]
fn a_stepped_clock_moves_neither_a_delay_nor_an_interval() {
    let years = 10 * 365 * 86400;
    for step in [3600, -3600, years, -years] {
        let agents = vec![("a", daemon()), ("b", every(secs(60), Overlap::Skip))];
        let mut world = World::new(agents);
        world.crash_once("a");
        assert_eq!(world.due_in(), Some(secs(5)), "{step}");
        world.now.wall += jiff::SignedDuration::from_secs(step);
        assert_eq!(orders(&world.pass(secs(4))), [""; 0], "{step}");
        assert_eq!(orders(&world.pass(secs(1))), ["spawn a#2"], "{step}");
        assert!(fates(&world.pass(secs(54))).is_empty(), "{step}");
        assert_eq!(fates(&world.pass(secs(1))).len(), 1, "{step}");
    }
}

/// Case 19: what is planned on the wall clock is planned anew.
#[test]
fn a_clock_set_forward_is_noticed_and_set_back_runs_nothing_twice() {
    let mut world = World::new(vec![("a", hourly())]);
    world.pass(secs(100));
    world.now.wall = after(3700);
    assert_eq!(fates(&world.pass(secs(30))), [(after(3600), CaughtUp)]);
    work(&mut world);
    world.now.wall = after(3000);
    let actions = world.pass(secs(1200));
    assert!(fates(&actions).is_empty());
    let actions = world.pass(secs(3600));
    assert_eq!(fates(&actions), [(after(7200), Ran)]);
}

#[test]
fn every_does_not_care_about_the_wall_clock() {
    let mut world = World::new(vec![("a", every(secs(60), Overlap::Skip))]);
    world.pass(secs(30));
    world.now.wall = after(1_000_000);
    assert_eq!(fates(&world.pass(secs(29))), []);
    assert_eq!(fates(&world.pass(secs(1))).len(), 1);
    work(&mut world);
    world.now.wall = after(0);
    assert_eq!(fates(&world.pass(secs(60))).len(), 1);
}

#[test]
fn years_forward_make_no_storm() {
    let mut world = World::new(vec![("a", hourly())]);
    world.now.wall = after(10 * 365 * 86400);
    let actions = world.pass(secs(30));
    let ran = fates(&actions)
        .into_iter()
        .filter(|(_, fate)| *fate != Missed);
    assert_eq!(ran.count(), 1);
    assert!(fates(&actions).len() <= 1000);
    assert_eq!(run_phases(&actions), ["queued"]);
}

fn later(seconds: u64) -> Now {
    let now = begin();
    Now {
        mono: now.mono,
        wall: after(seconds),
    }
}

fn last_memory(world: &World) -> crate::memory::AgentMemory {
    let memory = records(&world.done).rev().find_map(|(_, record)| {
        if let Record::Memory { memory, .. } = record {
            Some(memory.clone())
        } else {
            None
        }
    });
    memory.expect("something was remembered")
}

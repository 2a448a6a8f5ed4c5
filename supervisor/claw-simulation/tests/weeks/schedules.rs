//! Slots, changes of the clock, and runs that overlap.

use claw_core::action::SlotFate;
use claw_core::spec::{Condition, Overlap, Timing};
use claw_simulation::report::{Effect, WarningCode};
use claw_simulation::simulate;
use jiff::tz::TimeZone;

use crate::fleets::{
    DAY, assume, at, berlin, codes, cron, daemon, every, mins, name, of, oneshot, only, runs_for,
    secs, week,
};

#[test]
fn every_five_minutes_are_2016_runs_a_week() {
    let agent = only(&week([("tick", every(mins(5)))]));
    // The first run is that at the start, and the slot at the very end is the next week's.
    assert_eq!(agent.slots.due, 2015);
    assert_eq!(agent.slots.ran, 2015);
    assert_eq!(agent.runs.started, 2016);
    assert_eq!(agent.runs.succeeded, 2016);
    assert_eq!(agent.most_at_once, 1);
    assert_eq!(agent.restarts.values().sum::<u64>(), 0);
}

#[test]
fn a_time_that_the_clock_leaves_out_is_due_when_it_goes_on() {
    let agent = only(&week([("nightly", cron("30 2 * * *", berlin()))]));
    assert_eq!(agent.slots.ran, 7);
    let [change] = agent.clock_changes.as_slice() else {
        panic!("{:?}", agent.clock_changes);
    };
    assert_eq!(change.at, at("2026-03-29T01:00:00Z"));
    assert_eq!(change.effect, Effect::Moved);
    assert_eq!(change.hour, ["2026-03-29 02:00", "2026-03-29 03:00"]);
    assert_eq!(change.named, ["02:30:00"]);
    let due = [("03:00:00+02:00".to_owned(), SlotFate::Ran)];
    assert_eq!(change.due, due);
}

#[test]
fn a_time_that_comes_twice_is_due_once() {
    let mut setting = week([("nightly", cron("30 2 * * *", berlin()))]);
    setting.from = at("2026-10-23T00:00:00Z");
    let agent = only(&setting);
    assert_eq!(agent.slots.ran, 7);
    let [change] = agent.clock_changes.as_slice() else {
        panic!("{:?}", agent.clock_changes);
    };
    assert_eq!(change.at, at("2026-10-25T01:00:00Z"));
    assert_eq!(change.effect, Effect::Once);
    assert_eq!(change.hour, ["2026-10-25 02:00", "2026-10-25 03:00"]);
    let due = [("02:30:00+02:00".to_owned(), SlotFate::Ran)];
    assert_eq!(change.due, due);
}

#[test]
fn a_rhythm_leaves_out_and_repeats_an_hour() {
    let mut setting = week([("tick", cron("*/10 * * * *", berlin()))]);
    setting.span = DAY * 3;
    let spring = only(&setting);
    assert_eq!(spring.slots.due, 3 * 144 - 1);
    let change = &spring.clock_changes[0];
    assert_eq!(change.effect, Effect::LeftOut);
    assert_eq!((change.named_total, change.due_total), (6, 0));
    setting.from = at("2026-10-24T00:00:00Z");
    let autumn = only(&setting);
    let change = &autumn.clock_changes[0];
    assert_eq!(change.effect, Effect::Twice);
    assert_eq!((change.named_total, change.due_total), (6, 12));
}

#[test]
fn what_no_clock_touches_has_no_changes() {
    let setting = week([
        ("evening", cron("0 18 * * *", berlin())),
        ("elsewhere", cron("30 2 * * *", TimeZone::UTC)),
        ("interval", every(mins(10))),
    ]);
    for agent in simulate(&setting).agents {
        assert_eq!(agent.clock_changes, [], "{}", agent.name);
    }
}

#[test]
fn overlap_rules_decide_about_runs_that_take_longer_than_their_distance() {
    let with = |overlap| {
        let spec = oneshot(Timing::Every(mins(1)), overlap);
        let mut setting = assume(week([("slow", spec)]), "slow", runs_for(secs(90)));
        setting.span = mins(60);
        setting
    };
    let skip = simulate(&with(Overlap::Skip));
    let agent = of(&skip, "slow");
    assert_eq!((agent.slots.ran, agent.slots.skipped_overlap), (29, 30));
    assert_eq!((agent.most_at_once, agent.most_queued), (1, 0));
    assert_eq!(codes(&skip), [WarningCode::Overlaps]);

    let queue = simulate(&with(Overlap::Queue));
    let agent = of(&queue, "slow");
    assert_eq!((agent.slots.ran, agent.most_at_once), (59, 1));
    assert_eq!(agent.runs.started, 40);
    assert_eq!(agent.most_queued, 20);
    assert_eq!(codes(&queue), [WarningCode::QueueGrows]);

    let replace = simulate(&with(Overlap::Replace));
    let agent = of(&replace, "slow");
    assert_eq!((agent.runs.succeeded, agent.runs.cancelled), (0, 59));
    assert_eq!(codes(&replace), [WarningCode::Overlaps]);

    let allow = simulate(&with(Overlap::Allow));
    let agent = of(&allow, "slow");
    assert_eq!((agent.runs.started, agent.most_at_once), (60, 2));
    assert_eq!(codes(&allow), []);
}

#[test]
fn a_schedule_that_is_never_due_is_told() {
    let report = simulate(&week([("yearly", cron("@yearly", TimeZone::UTC))]));
    assert_eq!(codes(&report), [WarningCode::NeverDue]);
    assert!(report.warnings[0].text.contains("2027-01-01"), "{report:?}");
}

#[test]
fn heavy_agents_that_start_together_are_told_and_light_ones_are_not() {
    let heavy = |setting| assume(setting, "one", runs_for(mins(5)));
    let setting = week([
        ("one", cron("0 3 * * *", TimeZone::UTC)),
        ("two", cron("0 */3 * * *", TimeZone::UTC)),
    ]);
    assert_eq!(codes(&simulate(&heavy(setting.clone()))), []);
    let both = assume(heavy(setting), "two", runs_for(mins(5)));
    let report = simulate(&both);
    assert_eq!(codes(&report), [WarningCode::SameMinute]);
    assert_eq!(report.warnings[0].agents, [name("one"), name("two")]);
    let apart = week([
        ("one", cron("0 3 * * *", TimeZone::UTC)),
        ("two", cron("30 */3 * * *", TimeZone::UTC)),
    ]);
    let apart = assume(heavy(apart), "two", runs_for(mins(5)));
    assert_eq!(codes(&simulate(&apart)), []);
}

#[test]
fn who_depends_on_a_run_that_never_comes_is_never_started() {
    let mut waits = daemon();
    waits.depends_on = [(name("yearly"), Condition::Completed)].into();
    let setting = week([("yearly", cron("@yearly", TimeZone::UTC)), ("waits", waits)]);
    let report = simulate(&setting);
    let agent = of(&report, "waits");
    assert_eq!(
        (agent.starts, agent.waits_for.as_slice()),
        (0, &[name("yearly")][..])
    );
    assert_eq!(agent.waited_seconds.0, setting.span);
    assert_eq!(
        codes(&report),
        [WarningCode::NeverReady, WarningCode::NeverDue]
    );
}

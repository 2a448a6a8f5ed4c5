use jiff::tz::TimeZone;

use super::*;
use crate::spec::cron::CronExpression;
use crate::spec::schedule::{Overlap, RunOnStart};

pub(super) const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Pacific/Apia",
];

pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

pub(super) fn wall(text: &str) -> Wall {
    text.parse().unwrap()
}

pub(super) fn schedule(timing: Timing) -> Schedule {
    Schedule {
        timing,
        overlap: Overlap::Skip,
        catch_up: CatchUp::All,
        max_lateness: None,
        jitter: Duration::ZERO,
        timeout: None,
        run_on_start: RunOnStart::No,
    }
}

pub(super) fn cron(text: &str, zone_name: &str) -> Schedule {
    schedule(Timing::Cron {
        expression: CronExpression::parse(text).unwrap(),
        zone: zone(zone_name),
    })
}

pub(super) fn every(span: Duration) -> Schedule {
    schedule(Timing::Every(span))
}

/// The slots after `after`, as wall-clock times with their offset.
fn slots_in(text: &str, zone_name: &str, after: &str, number: usize) -> Vec<String> {
    let schedule = cron(text, zone_name);
    let start = after.parse::<jiff::Zoned>().unwrap().timestamp();
    std::iter::successors(next_after(&schedule, start, start), |slot| {
        next_after(&schedule, start, *slot)
    })
    .take(number)
    .map(|slot| {
        let local = slot.to_zoned(zone(zone_name));
        local.strftime("%Y-%m-%d %H:%M %:z").to_string()
    })
    .collect()
}

#[test]
fn a_time_that_does_not_exist_is_due_at_the_next_that_does() {
    let berlin = "2026-03-28T12:00[Europe/Berlin]";
    assert_eq!(
        slots_in("30 2 * * *", "Europe/Berlin", berlin, 2),
        ["2026-03-29 03:00 +02:00", "2026-03-30 02:30 +02:00"]
    );
    let new_york = "2026-03-07T12:00[America/New_York]";
    assert_eq!(
        slots_in("30 2 * * *", "America/New_York", new_york, 2),
        ["2026-03-08 03:00 -04:00", "2026-03-09 02:30 -04:00"]
    );
    let lord_howe = "2025-10-04T12:00[Australia/Lord_Howe]";
    assert_eq!(
        slots_in("15 2 * * *", "Australia/Lord_Howe", lord_howe, 2),
        ["2025-10-05 02:30 +11:00", "2025-10-06 02:15 +11:00"]
    );
    let sao_paulo = "2018-11-03T12:00[America/Sao_Paulo]";
    assert_eq!(
        slots_in("@midnight", "America/Sao_Paulo", sao_paulo, 2),
        ["2018-11-04 01:00 -02:00", "2018-11-05 00:00 -02:00"]
    );
    let apia_had_no_30th = "2011-12-29T12:00[Pacific/Apia]";
    assert_eq!(
        slots_in("0 9 * * *", "Pacific/Apia", apia_had_no_30th, 2),
        ["2011-12-31 00:00 +14:00", "2011-12-31 09:00 +14:00"]
    );
}

#[test]
fn a_time_that_exists_twice_is_due_once_and_the_first_time() {
    let berlin = "2026-10-24T12:00[Europe/Berlin]";
    assert_eq!(
        slots_in("30 2 * * *", "Europe/Berlin", berlin, 2),
        ["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"]
    );
    let new_york = "2026-10-31T12:00[America/New_York]";
    assert_eq!(
        slots_in("30 1 * * *", "America/New_York", new_york, 2),
        ["2026-11-01 01:30 -04:00", "2026-11-02 01:30 -05:00"]
    );
    assert_eq!(
        slots_in("30 1,13 * * *", "America/New_York", new_york, 4),
        [
            "2026-10-31 13:30 -04:00",
            "2026-11-01 01:30 -04:00",
            "2026-11-01 13:30 -05:00",
            "2026-11-02 01:30 -05:00"
        ]
    );
    let lord_howe = "2026-04-04T12:00[Australia/Lord_Howe]";
    assert_eq!(
        slots_in("45 1 * * *", "Australia/Lord_Howe", lord_howe, 2),
        ["2026-04-05 01:45 +11:00", "2026-04-06 01:45 +10:30"]
    );
}

#[test]
fn several_times_in_one_gap_are_one_slot() {
    assert_eq!(
        slots_in(
            "0,15,30,45 1-3 * * *",
            "Europe/Berlin",
            "2026-03-29T01:40[Europe/Berlin]",
            4
        ),
        [
            "2026-03-29 01:45 +01:00",
            "2026-03-29 03:00 +02:00",
            "2026-03-29 03:15 +02:00",
            "2026-03-29 03:30 +02:00"
        ]
    );
}

#[test]
fn a_rhythm_goes_on_through_changes_of_the_clock() {
    assert_eq!(
        slots_in(
            "*/30 * * * *",
            "America/New_York",
            "2026-11-01T00:45-04:00[America/New_York]",
            5
        ),
        [
            "2026-11-01 01:00 -04:00",
            "2026-11-01 01:30 -04:00",
            "2026-11-01 01:00 -05:00",
            "2026-11-01 01:30 -05:00",
            "2026-11-01 02:00 -05:00"
        ]
    );
    assert_eq!(
        slots_in(
            "0 */2 * * *",
            "Europe/Berlin",
            "2026-03-28T23:00[Europe/Berlin]",
            3
        ),
        [
            "2026-03-29 00:00 +01:00",
            "2026-03-29 04:00 +02:00",
            "2026-03-29 06:00 +02:00"
        ]
    );
    assert_eq!(
        slots_in(
            "@hourly",
            "Australia/Lord_Howe",
            "2026-04-05T00:30[Australia/Lord_Howe]",
            3
        ),
        [
            "2026-04-05 01:00 +11:00",
            "2026-04-05 02:00 +10:30",
            "2026-04-05 03:00 +10:30"
        ]
    );
}

#[test]
fn days_are_those_of_the_calendar() {
    let utc = "2026-01-31T23:59[UTC]";
    assert_eq!(
        slots_in("0 0 29 2 *", "UTC", utc, 2),
        ["2028-02-29 00:00 +00:00", "2032-02-29 00:00 +00:00"]
    );
    assert_eq!(
        slots_in("0 0 L * *", "UTC", utc, 2),
        ["2026-02-28 00:00 +00:00", "2026-03-31 00:00 +00:00"]
    );
    assert_eq!(
        slots_in("0 0 * * 5#2", "UTC", utc, 2),
        ["2026-02-13 00:00 +00:00", "2026-03-13 00:00 +00:00"]
    );
    assert_eq!(
        slots_in("0 0 13 * 5", "UTC", utc, 2),
        ["2026-02-06 00:00 +00:00", "2026-02-13 00:00 +00:00"]
    );
    assert_eq!(
        slots_in("0 0 13 * +5", "UTC", utc, 3),
        [
            "2026-02-13 00:00 +00:00",
            "2026-03-13 00:00 +00:00",
            "2026-11-13 00:00 +00:00"
        ]
    );
}

#[test]
fn daily_follows_the_rule_of_fixed_times() {
    for name in ZONES {
        let at = jiff::civil::time(2, 15, 0, 0);
        let daily = schedule(Timing::Daily {
            at,
            zone: zone(name),
        });
        let same = cron("15 2 * * *", name);
        let mut slot = wall("2011-12-01T00:00:00Z");
        for _ in 0..400 {
            let next = next_after(&daily, slot, slot);
            assert_eq!(next, next_after(&same, slot, slot), "{name} after {slot}");
            slot = next.unwrap();
        }
    }
}

#[test]
fn every_has_its_slots_at_multiples_after_the_anchor() {
    let schedule = every(Duration::from_secs(300));
    let anchor = wall("2026-01-01T00:00:07Z");
    let next = |after| next_after(&schedule, anchor, wall(after)).map(|slot| slot.to_string());
    assert_eq!(
        next("2020-01-01T00:00:00Z").unwrap(),
        "2026-01-01T00:05:07Z"
    );
    assert_eq!(
        next("2026-01-01T00:00:07Z").unwrap(),
        "2026-01-01T00:05:07Z"
    );
    assert_eq!(
        next("2026-01-01T00:05:07Z").unwrap(),
        "2026-01-01T00:10:07Z"
    );
    assert_eq!(
        next("2026-01-01T00:05:06.9Z").unwrap(),
        "2026-01-01T00:05:07Z"
    );
    assert_eq!(next_after(&every(Duration::ZERO), anchor, anchor), None);
    assert_eq!(next_after(&every(Duration::MAX), anchor, anchor), None);
    assert_eq!(next_after(&schedule, anchor, Wall::MAX), None);
}

#[test]
fn downtime_is_answered_as_catch_up_says() {
    use Downtime::{Down, Up};
    let slots = ["T01:00:00Z", "T02:00:00Z", "T03:00:00Z"].map(|t| wall(&format!("2026-01-01{t}")));
    let table = [
        (CatchUp::None, Down, 3),
        (CatchUp::One, Down, 2),
        (CatchUp::All, Down, 0),
        (CatchUp::None, Up, 2),
        (CatchUp::One, Up, 2),
        (CatchUp::All, Up, 0),
    ];
    for (catch_up, downtime, missed) in table {
        let mut schedule = cron("@hourly", "UTC");
        schedule.catch_up = catch_up;
        let last = wall("2026-01-01T00:00:00Z");
        let found = due(
            &schedule,
            last,
            last,
            wall("2026-01-01T03:30:00Z"),
            downtime,
        );
        let (missed, run) = slots.split_at(missed);
        let expected = Due {
            run: run.to_vec(),
            missed: missed.to_vec(),
            truncated: 0,
        };
        assert_eq!(found, expected, "{catch_up:?} {downtime:?}");
        assert_eq!(found.latest(), Some(slots[2]));
    }
}

#[test]
fn a_slot_that_is_too_late_is_missed_whatever_catch_up_says() {
    let mut schedule = cron("@hourly", "UTC");
    schedule.max_lateness = Some(Duration::from_secs(3600));
    schedule.jitter = Duration::from_secs(60);
    let last = wall("2026-01-01T00:00:00Z");
    let lengths = |now| {
        let due = due(&schedule, last, last, wall(now), Downtime::Down);
        (due.missed.len(), due.run.len())
    };
    assert_eq!(lengths("2026-01-01T03:01:00Z"), (1, 2));
    assert_eq!(lengths("2026-01-01T03:01:01Z"), (2, 1));
}

#[test]
fn a_jump_of_ten_years_lists_the_newest_slots_and_counts_the_others() {
    let (from, to) = (wall("2026-01-01T00:00:00Z"), wall("2036-01-01T00:00:30Z"));
    let seconds = u64::try_from(to.duration_since(from).as_secs()).unwrap();
    let table = [
        (cron("* * * * * *", "Europe/Berlin"), seconds),
        (cron("* * * * *", "America/New_York"), seconds / 60),
        (every(Duration::from_millis(500)), seconds * 2),
        (cron("0,30 1-3 * * *", "UTC"), 3652 * 6),
    ];
    for (schedule, total) in table {
        let due = due(&schedule, from, from, to, Downtime::Down);
        assert_eq!(due.run.len(), MAX_LISTED);
        assert_eq!(due.truncated, total - MAX_LISTED as u64);
        assert_eq!(
            next_after(&schedule, from, due.run[MAX_LISTED - 1])
                .unwrap()
                .max(to),
            { next_after(&schedule, from, to).unwrap() }
        );
    }
}

#[test]
fn a_jump_back_repeats_nothing_unless_the_time_before_was_wrong() {
    let now = wall("2026-01-01T12:00:00Z");
    let hour_ahead = wall("2026-01-01T13:00:00Z");
    assert_eq!(resume_from(hour_ahead, now), hour_ahead);
    assert_eq!(resume_from(wall("2036-01-01T00:00:00Z"), now), now);
    assert_eq!(
        resume_from(wall("2020-01-01T00:00:00Z"), now),
        wall("2020-01-01T00:00:00Z")
    );
    let nothing = due(
        &cron("* * * * *", "UTC"),
        now,
        hour_ahead,
        now,
        Downtime::Up,
    );
    assert_eq!(nothing, Due::default());
    assert_eq!(nothing.latest(), None);
}

#[test]
fn jitter_is_alike_for_the_same_slot_and_spread_over_agents() {
    let mut schedule = cron("@hourly", "UTC");
    let slot = wall("2026-01-01T00:00:00Z");
    let name = |number: u32| format!("agent-{number}").parse::<AgentName>().unwrap();
    assert_eq!(jitter_of(&schedule, &name(0), slot), Duration::ZERO);
    schedule.jitter = Duration::from_secs(300);
    let spread: Vec<Duration> = (0..200)
        .map(|n| jitter_of(&schedule, &name(n), slot))
        .collect();
    assert_eq!(spread[7], jitter_of(&schedule, &name(7), slot));
    assert!(spread.iter().all(|jitter| *jitter <= schedule.jitter));
    assert!(
        spread
            .iter()
            .any(|jitter| *jitter < Duration::from_secs(30))
    );
    assert!(
        spread
            .iter()
            .any(|jitter| *jitter > Duration::from_secs(270))
    );
}

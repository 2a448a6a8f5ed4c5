use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::tests::{ZONES, cron, every, schedule, wall, zone};
use super::*;
use crate::spec::cron::{ClockChanges, CronExpression};

fn any_cron() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "30 2 * * *",
        "0,15,30,45 1-3 * * *",
        "0 0 * * *",
        "30 1,13 * * 0",
        "*/20 * * * *",
        "0 */2 * * *",
        "*/15 1-2 * * *",
        "30 2 L * *",
        "10 */6 * * 1-5",
        "5/25 0,2 * * *",
    ])
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        4 => (any_cron(), prop::sample::select(&ZONES[..])).prop_map(|(t, z)| cron(t, z)),
        1 => (0..1440_i64, prop::sample::select(&ZONES[..])).prop_map(|(minute, name)| {
            let at = jiff::civil::time(0, 0, 0, 0) + jiff::SignedDuration::from_mins(minute);
            schedule(Timing::Daily { at, zone: zone(name) })
        }),
        1 => (1..20_000_u64).prop_map(|minutes| every(Duration::from_secs(minutes * 60))),
    ]
}

/// Minutes around changes of the clock in all zones, and any others from 1990 to 2060.
fn any_minute() -> impl Strategy<Value = Wall> {
    let near_change =
        (0..ZONES.len(), 0..30_i64, -1500..1500_i64).prop_map(|(name, years, off)| {
            let start =
                wall("2005-01-01T00:00:00Z") + jiff::SignedDuration::from_hours(8766 * years);
            let zone = zone(ZONES[name]);
            let change = zone
                .following(start)
                .next()
                .map_or(start, |t| t.timestamp());
            let minute = change.as_second() - change.as_second().rem_euclid(60);
            Wall::from_second(minute).unwrap() + jiff::SignedDuration::from_mins(off)
        });
    let any = (631_152_000..2_840_140_800_i64).prop_map(|s| Wall::from_second(s - s % 60).unwrap());
    prop_oneof![3 => near_change, 1 => any]
}

/// The slots in `(after, upto]`, minute by minute, by nothing but the rule's own words.
fn model(schedule: &Schedule, anchor: Wall, after: Wall, upto: Wall) -> Vec<Wall> {
    let minute = jiff::SignedDuration::from_mins(1);
    let minutes = std::iter::successors(Some(after + minute), |at| Some(*at + minute));
    let minutes = minutes.take_while(|at| *at <= upto);
    let matching = |pattern: &croner::Cron, civil| pattern.is_time_matching(&civil).unwrap();
    let fixed = |zone: &TimeZone, matches: &dyn Fn(jiff::civil::DateTime) -> bool, at: Wall| {
        let (here, before) = (zone.to_datetime(at), zone.to_datetime(at - minute));
        let repeated = || (1..=24 * 60).any(|ago| zone.to_datetime(at - minute * ago) == here);
        let step = i32::try_from(here.duration_since(before).as_mins()).unwrap();
        let skipped_or_here = (0..step.max(1)).any(|ago| matches(here - minute * ago));
        skipped_or_here && !repeated()
    };
    minutes
        .filter(|at| match &schedule.timing {
            Timing::Every(span) => {
                let past = at.duration_since(anchor).as_nanos();
                past > 0 && past % i128::try_from(span.as_nanos()).unwrap() == 0
            }
            Timing::Daily { at: time, zone } => fixed(zone, &|civil| civil.time() == *time, *at),
            Timing::Cron { expression, zone } => {
                let pattern = expression.pattern();
                match expression.clock_changes() {
                    ClockChanges::Rhythm => matching(pattern, zone.to_datetime(*at)),
                    ClockChanges::FixedTimes => fixed(zone, &|civil| matching(pattern, civil), *at),
                }
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn the_slots_are_those_of_the_rule(
        schedule in any_schedule(), anchor in any_minute(), from in any_minute()
    ) {
        let upto = from + jiff::SignedDuration::from_mins(2 * 1440);
        let found: Vec<Wall> = std::iter::successors(
            next_after(&schedule, anchor, from),
            |slot| next_after(&schedule, anchor, *slot),
        )
        .take_while(|slot| *slot <= upto)
        .collect();
        prop_assert_eq!(&found, &model(&schedule, anchor, from, upto));
        prop_assert_eq!(count(&schedule, anchor, from, upto), found.len() as u64);
    }

    #[test]
    fn next_strictly_increases_and_jumping_skips_nothing(
        schedule in any_schedule(), anchor in any_minute(), from in any_minute(),
        ahead in 0..2_000_000_i64,
    ) {
        let to = from + jiff::SignedDuration::from_secs(ahead);
        let next = next_after(&schedule, anchor, from).unwrap();
        let next_of_later = next_after(&schedule, anchor, to).unwrap();
        prop_assert!(next > from);
        prop_assert!(next_of_later >= next);
        if next > to {
            prop_assert_eq!(next_of_later, next);
        }
    }

    #[test]
    fn due_partitions_the_slots_and_settling_step_by_step_changes_nothing(
        schedule in any_schedule(), anchor in any_minute(), from in any_minute(),
        first in 0..200_000_i64, second in 0..40_000_000_i64, late in prop::option::of(0..100_000_u64),
        catch_up in prop::sample::select(vec![CatchUp::None, CatchUp::One, CatchUp::All]),
    ) {
        let mut schedule = schedule;
        schedule.catch_up = catch_up;
        schedule.max_lateness = late.map(Duration::from_secs);
        let middle = from + jiff::SignedDuration::from_secs(first);
        let end = middle + jiff::SignedDuration::from_secs(second);
        let all = |due: &Due| {
            let mut all: Vec<Wall> = due.missed.iter().chain(&due.run).copied().collect();
            all.sort();
            all
        };
        let whole = due(&schedule, anchor, from, end, Downtime::Down);
        let parts = [
            due(&schedule, anchor, from, middle, Downtime::Up),
            due(&schedule, anchor, middle, end, Downtime::Down),
        ];
        let listed = all(&whole);
        prop_assert!(listed.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(listed.len() <= MAX_LISTED);
        prop_assert_eq!(listed.len() as u64 + whole.truncated, count(&schedule, anchor, from, end));
        let in_parts: u64 = parts.iter().map(|due| all(due).len() as u64 + due.truncated).sum();
        prop_assert_eq!(in_parts, listed.len() as u64 + whole.truncated);
        prop_assert_eq!(whole.latest(), listed.last().copied());
    }

    #[test]
    fn croner_agrees_where_its_rule_is_ours(
        text in any_cron(), name in prop::sample::select(&ZONES[..]), from in any_minute()
    ) {
        let expression = CronExpression::parse(text).unwrap();
        let ours = expression.clock_changes() == ClockChanges::Rhythm;
        let theirs = expression.pattern().determine_job_type() == croner::JobType::IntervalWildcard;
        prop_assume!(ours == theirs && name != "Pacific/Apia");
        let start = from.to_zoned(zone(name));
        let found = expression.pattern().find_next_occurrence(&start, false).unwrap();
        prop_assert_eq!(next_after(&cron(text, name), from, from), Some(found.timestamp()));
    }
}

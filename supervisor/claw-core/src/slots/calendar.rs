//! Slots that are meant in wall-clock time: cron expressions and times of day.
//!
//! What matches is asked in civil time, where every day has 24 hours; how civil time meets the
//! real one at a change of the clock is decided here, and nowhere else.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span};

use crate::clock::Wall;
use crate::spec::cron::{ClockChanges, CronExpression, day_matches};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const LAST_SECOND: Time = Time::constant(23, 59, 59, 0);

/// What matches in civil time, and the zone it is meant in.
pub(super) struct Calendar<'a> {
    pattern: Pattern<'a>,
    zone: &'a TimeZone,
    changes: ClockChanges,
}

enum Pattern<'a> {
    Cron(&'a croner::Cron),
    Daily(Time),
}

impl<'a> Calendar<'a> {
    pub(super) fn cron(expression: &'a CronExpression, zone: &'a TimeZone) -> Self {
        Self {
            pattern: Pattern::Cron(expression.pattern()),
            zone,
            changes: expression.clock_changes(),
        }
    }

    pub(super) fn daily(at: Time, zone: &'a TimeZone) -> Self {
        Self {
            pattern: Pattern::Daily(whole_second_time(at)),
            zone,
            changes: ClockChanges::FixedTimes,
        }
    }

    /// The first slot strictly after `after`.
    pub(super) fn next_after(&self, after: Wall) -> Option<Wall> {
        match self.changes {
            ClockChanges::FixedTimes => self.next_fixed(after),
            ClockChanges::Rhythm => self.next_of_rhythm(after),
        }
    }

    /// How many slots lie in `(after, upto]`.
    pub(super) fn count(&self, after: Wall, upto: Wall) -> u64 {
        match self.changes {
            ClockChanges::FixedTimes => self.count_fixed(after, upto),
            ClockChanges::Rhythm => self.count_of_rhythm(after, upto),
        }
    }

    /// Walks the civil matches until one is placed after `after`. Placing never reverses an
    /// order, so the first is the next; matches already passed exist only in a repeated hour.
    fn next_fixed(&self, after: Wall) -> Option<Wall> {
        let mut civil = whole_second(self.zone.to_datetime(after));
        loop {
            civil = self.pattern.next(civil)?;
            let placed = place(self.zone, civil)?;
            if placed > after {
                return Some(placed);
            }
        }
    }

    /// Walks the stretches between two changes of the clock; within one, civil time is real time.
    fn next_of_rhythm(&self, after: Wall) -> Option<Wall> {
        let mut offset = self.zone.to_offset(after);
        let mut civil = whole_second(offset.to_datetime(after));
        let mut stretch = after;
        loop {
            let change = self.zone.following(stretch).next();
            let found = self
                .pattern
                .next(civil)
                .and_then(|civil| offset.to_timestamp(civil).ok());
            let Some(change) = change else {
                return found;
            };
            match found {
                Some(found) if found < change.timestamp() => return Some(found),
                None => return None,
                Some(_) => {}
            }
            stretch = change.timestamp();
            offset = change.offset();
            civil = offset.to_datetime(stretch).checked_sub(SECOND).ok()?;
        }
    }

    fn count_fixed(&self, after: Wall, upto: Wall) -> u64 {
        let matches = self
            .pattern
            .count(self.placed_until(after), self.placed_until(upto));
        let merged: u64 = self
            .changes_in(after, upto)
            .map(|change| self.merged_by(change))
            .sum();
        matches.saturating_sub(merged)
    }

    /// The last civil time whose matches are placed at or before `at`.
    fn placed_until(&self, at: Wall) -> DateTime {
        let civil = whole_second(self.zone.to_datetime(at));
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Fold { before, .. } if self.zone.to_offset(at) != before => self
                .zone
                .preceding(at.checked_add(SECOND).unwrap_or(at))
                .next()
                .and_then(|change| {
                    before
                        .to_datetime(change.timestamp())
                        .checked_sub(SECOND)
                        .ok()
                })
                .unwrap_or(civil),
            AmbiguousOffset::Fold { .. }
            | AmbiguousOffset::Unambiguous { .. }
            | AmbiguousOffset::Gap { .. } => civil,
        }
    }

    /// How many slots too many the matches in a gap would make: all of them are one.
    fn merged_by(&self, change: Wall) -> u64 {
        let Ok(just_before) = change.checked_sub(SECOND) else {
            return 0;
        };
        let first = self.zone.to_datetime(just_before);
        let last = self.zone.to_datetime(change);
        self.pattern.count(first, last).saturating_sub(1)
    }

    fn count_of_rhythm(&self, after: Wall, upto: Wall) -> u64 {
        let mut total = 0;
        let mut offset = self.zone.to_offset(after);
        let mut civil = whole_second(offset.to_datetime(after));
        for change in self.changes_in(after, upto) {
            let Ok(just_before) = change.checked_sub(SECOND) else {
                continue;
            };
            total += self.pattern.count(civil, offset.to_datetime(just_before));
            offset = self.zone.to_offset(change);
            let start = offset.to_datetime(change);
            civil = start.checked_sub(SECOND).unwrap_or(start);
        }
        total + self.pattern.count(civil, offset.to_datetime(upto))
    }

    fn changes_in(&self, after: Wall, upto: Wall) -> impl Iterator<Item = Wall> {
        self.zone
            .following(after)
            .map(|change| change.timestamp())
            .take_while(move |change| *change <= upto)
    }
}

/// The moment of a civil time: the first, if it exists twice; the next that exists, if it does not.
fn place(zone: &TimeZone, civil: DateTime) -> Option<Wall> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            let inside = before.to_timestamp(civil).ok()?.checked_add(SECOND).ok()?;
            Some(zone.preceding(inside).next()?.timestamp())
        }
    }
}

impl Pattern<'_> {
    /// The first match strictly after `civil`.
    fn next(&self, civil: DateTime) -> Option<DateTime> {
        match self {
            Self::Cron(cron) => cron.find_next_occurrence(&civil, false).ok(),
            Self::Daily(at) => {
                let today = civil.date().to_datetime(*at);
                if today > civil {
                    return Some(today);
                }
                Some(civil.date().tomorrow().ok()?.to_datetime(*at))
            }
        }
    }

    /// How many matches lie in `(after, upto]`.
    fn count(&self, after: DateTime, upto: DateTime) -> u64 {
        if upto <= after {
            return 0;
        }
        let before_first_day = self.on_day_until(after.date(), after.time());
        let whole_days = self.days(after.date(), upto.date()) * self.per_day(LAST_SECOND);
        (whole_days + self.on_day_until(upto.date(), upto.time())).saturating_sub(before_first_day)
    }

    /// How many days in `[from, to)` match.
    fn days(&self, from: Date, to: Date) -> u64 {
        match self {
            Self::Daily(_) => u64::try_from(to.duration_since(from).as_hours() / 24).unwrap_or(0),
            Self::Cron(cron) => from
                .series(Span::new().days(1))
                .take_while(|day| *day < to)
                .filter(|day| day_matches(cron, *day))
                .count() as u64,
        }
    }

    fn on_day_until(&self, day: Date, until: Time) -> u64 {
        let matches = match self {
            Self::Cron(cron) => day_matches(cron, day),
            Self::Daily(_) => true,
        };
        if matches { self.per_day(until) } else { 0 }
    }

    /// How many matches a matching day has from midnight up to and including `until`.
    fn per_day(&self, until: Time) -> u64 {
        let cron = match self {
            Self::Cron(cron) => cron,
            Self::Daily(at) => return u64::from(*at <= until),
        };
        let pattern = &cron.pattern;
        let hour = |hour: u32| pattern.hour_match(hour).unwrap_or(false);
        let minute = |minute: u32| pattern.minute_match(minute).unwrap_or(false);
        let second = |second: u32| pattern.second_match(second).unwrap_or(false);
        let number = |range: std::ops::RangeInclusive<u32>, matches: &dyn Fn(u32) -> bool| {
            range.filter(|value| matches(*value)).count() as u64
        };
        let [h, m, s] = [until.hour(), until.minute(), until.second()]
            .map(|part| u32::from(part.unsigned_abs()));
        let per_minute = number(0..=59, &second);
        let per_hour = number(0..=59, &minute) * per_minute;
        let this_minute = u64::from(minute(m)) * number(0..=s, &second);
        let this_hour = (number(0..=m, &minute) - u64::from(minute(m))) * per_minute + this_minute;
        (number(0..=h, &hour) - u64::from(hour(h))) * per_hour + u64::from(hour(h)) * this_hour
    }
}

/// Slots lie on whole seconds; the second begun is the one to look after.
fn whole_second(civil: DateTime) -> DateTime {
    civil.date().to_datetime(whole_second_time(civil.time()))
}

fn whole_second_time(time: Time) -> Time {
    Time::new(time.hour(), time.minute(), time.second(), 0).unwrap_or(time)
}

//! The windows in which money is counted.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Whose money.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All agents' together.
    Fleet,
    /// One agent's.
    Agent(Arc<str>),
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day of the calendar.
    Day,
    /// A month of the calendar.
    Month,
}

/// One day or month of the calendar for somebody's money.
///
/// It is known by its first date and not by an instant, so that an account is found again whatever
/// the clock did in between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Whose money.
    pub scope: Scope,
    /// How long.
    pub period: Period,
    /// The day, or the first of the month.
    pub start: Date,
}

impl Period {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Day, Self::Month];

    /// The first date of the period that has this day in it.
    #[must_use]
    pub fn first(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Month => day.first_of_month(),
        }
    }
}

impl Window {
    /// The windows in which the calls of an agent on one day count: its own and the fleet's.
    #[must_use]
    pub fn of(agent: &Arc<str>, day: Date) -> [Self; 4] {
        let window = |scope: Scope, period: Period| Self {
            scope,
            period,
            start: period.first(day),
        };
        [
            window(Scope::Agent(Arc::clone(agent)), Period::Day),
            window(Scope::Agent(Arc::clone(agent)), Period::Month),
            window(Scope::Fleet, Period::Day),
            window(Scope::Fleet, Period::Month),
        ]
    }

    /// When it begins in a time zone: at the first moment of its first date, which is later than
    /// midnight where the clocks skip that hour.
    #[must_use]
    pub fn begins_at(&self, timezone: &TimeZone) -> Timestamp {
        first_moment(self.start, timezone)
    }

    /// When it ends and the next one begins.
    #[must_use]
    pub fn resets_at(&self, timezone: &TimeZone) -> Timestamp {
        let next = match self.period {
            Period::Day => self.start.checked_add(1.day()),
            Period::Month => self.start.checked_add(1.month()),
        };
        next.map_or(Timestamp::MAX, |next| first_moment(next, timezone))
    }
}

/// The date at a moment in a time zone.
pub(super) fn day_of(now: Timestamp, timezone: &TimeZone) -> Date {
    timezone.to_datetime(now).date()
}

fn first_moment(date: Date, timezone: &TimeZone) -> Timestamp {
    let end_of_time = if date < Date::ZERO {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    let moment = date.to_zoned(timezone.clone());
    moment.map_or(end_of_time, |zoned| zoned.timestamp())
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "daily",
            Self::Month => "monthly",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.write_str("the fleet"),
            Self::Agent(name) => write!(f, "agent {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(rule: &str) -> TimeZone {
        TimeZone::posix(rule).expect("a rule of POSIX")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn window(period: Period, start: &str) -> Window {
        Window {
            scope: Scope::Fleet,
            period,
            start: start.parse().expect("a date"),
        }
    }

    fn hours(window: &Window, timezone: &TimeZone) -> i64 {
        let length = window.resets_at(timezone) - window.begins_at(timezone);
        length.get_seconds() / 3_600
    }

    #[test]
    fn days_on_which_the_clocks_change_are_as_long_as_they_are() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(hours(&window(Period::Day, "2026-03-28"), &berlin), 24);
        assert_eq!(hours(&window(Period::Day, "2026-03-29"), &berlin), 23);
        assert_eq!(hours(&window(Period::Day, "2026-10-25"), &berlin), 25);
        let march = window(Period::Month, "2026-03-01");
        assert_eq!(march.begins_at(&berlin), at("2026-02-28T23:00:00Z"));
        assert_eq!(march.resets_at(&berlin), at("2026-03-31T22:00:00Z"));
    }

    #[test]
    fn a_day_without_a_midnight_begins_with_its_first_moment() {
        let skips_midnight = zone("<-03>3<-02>,M3.4.0/0,M10.4.0/0");
        let day = window(Period::Day, "2026-03-22");
        assert_eq!(day.begins_at(&skips_midnight), at("2026-03-22T03:00:00Z"));
        assert_eq!(hours(&day, &skips_midnight), 23);
        let eve = window(Period::Day, "2026-03-21");
        assert_eq!(
            eve.resets_at(&skips_midnight),
            day.begins_at(&skips_midnight)
        );
    }

    #[test]
    fn months_end_where_the_calendar_says() {
        let february = window(Period::Month, "2028-02-01");
        assert_eq!(hours(&february, &TimeZone::UTC), 29 * 24);
        let december = window(Period::Month, "2026-12-01");
        assert_eq!(
            december.resets_at(&TimeZone::UTC),
            at("2027-01-01T00:00:00Z")
        );
    }

    #[test]
    fn each_moment_is_in_the_window_of_its_date() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        let agent = Arc::from("researcher");
        let mut now = at("2026-01-01T00:00:00Z");
        while now < at("2027-01-01T00:00:00Z") {
            for window in Window::of(&agent, day_of(now, &berlin)) {
                assert!(window.begins_at(&berlin) <= now, "{window:?} at {now}");
                assert!(now < window.resets_at(&berlin), "{window:?} at {now}");
            }
            now += 30.minutes();
        }
    }

    #[test]
    fn the_ends_of_time_are_windows_too() {
        let agent = Arc::from("researcher");
        for now in [Timestamp::MIN, Timestamp::MAX] {
            for window in Window::of(&agent, day_of(now, &TimeZone::UTC)) {
                assert!(window.begins_at(&TimeZone::UTC) <= window.resets_at(&TimeZone::UTC));
            }
        }
    }
}

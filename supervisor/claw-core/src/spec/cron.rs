//! Cron expressions, as read from a fleet file.

use std::fmt;

use jiff::civil;
use serde::{Serialize, Serializer};

/// A cron expression that was parsed and fires at least once.
#[derive(Clone)]
pub struct CronExpression {
    text: String,
    cron: Box<croner::Cron>,
    clock_changes: ClockChanges,
}

/// What a change of the wall clock (daylight saving) does to the slots of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockChanges {
    /// It names times of day. One that does not exist is due at the next that does; one that
    /// exists twice is due once, the first time.
    FixedTimes,
    /// It names a rhythm (`*` or a step stands in seconds, minutes or hours). Its slots are the
    /// moments that match, in order: none in the hour left out, all in the hour repeated.
    Rhythm,
}

/// Why a text is not a usable cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// It begins with `@` and names nothing known.
    #[error(
        "`{0}` is no name of a schedule; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"
    )]
    UnknownName(String),
    /// It names no time.
    #[error(
        "`@reboot` names no time; leave `schedule` out to run once at every start, or add `run_on_start: true` to a schedule"
    )]
    Reboot,
    /// It is another scheduler's way to write an interval.
    #[error("`{0}` is not a cron expression; write `schedule: every {1}` instead")]
    Every(String, String),
    /// It begins with a time zone.
    #[error("a cron expression does not name its time zone; use the key `timezone` for `{0}`")]
    TimeZone(String),
    /// No day of any year matches.
    #[error("`{0}` never fires: there is no such day")]
    NeverFires(String),
}

/// Days and weekdays repeat exactly after 400 years; what does not match in that time, never does.
const CALENDAR_CYCLE: std::ops::Range<i16> = 2000..2400;

impl CronExpression {
    /// Reads a cron expression: five fields, or six with seconds first; `@hourly` and its kin.
    ///
    /// # Errors
    ///
    /// Says what cannot be read, or that it never fires.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let fields = expand(text)?;
        let cron = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Disallowed)
            .sloppy_ranges(true)
            .build()
            .parse(fields)
            .map_err(|error| CronError::Syntax(error.to_string()))?;
        if fires_on_no_day(&cron) {
            return Err(CronError::NeverFires(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            cron: Box::new(cron),
            clock_changes: clock_changes(fields),
        })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed pattern.
    #[must_use]
    pub fn pattern(&self) -> &croner::Cron {
        &self.cron
    }

    /// What a change of the wall clock does to its slots.
    #[must_use]
    pub const fn clock_changes(&self) -> ClockChanges {
        self.clock_changes
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronExpression({:?})", self.text)
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for CronExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Replaces a name by its fields and refuses what other schedulers know and we do not.
fn expand(text: &str) -> Result<&str, CronError> {
    let key = text
        .split_once('=')
        .map(|(key, _)| key.to_ascii_lowercase());
    if matches!(key.as_deref(), Some("tz" | "cron_tz")) {
        let zone = text.split_whitespace().next().unwrap_or(text);
        return Err(CronError::TimeZone(zone.to_owned()));
    }
    if !text.starts_with('@') {
        return Ok(text);
    }
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        "@reboot" => Err(CronError::Reboot),
        other => match other.strip_prefix("@every") {
            Some(span) if span.trim().is_empty() => {
                Err(CronError::Every(text.to_owned(), "5m".to_owned()))
            }
            Some(span) if span.starts_with(char::is_whitespace) => {
                Err(CronError::Every(text.to_owned(), span.trim().to_owned()))
            }
            Some(_) | None => Err(CronError::UnknownName(text.to_owned())),
        },
    }
}

/// Debian's rule: a star (or a step, which is a star in short) in the fields of the time of day
/// makes a rhythm. Lists and ranges are fixed times; croner takes them for a rhythm.
fn clock_changes(fields: &str) -> ClockChanges {
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let of_the_day = fields.len().saturating_sub(3);
    let rhythm = fields
        .iter()
        .take(of_the_day)
        .any(|field| field.contains(['*', '/']));
    if rhythm {
        ClockChanges::Rhythm
    } else {
        ClockChanges::FixedTimes
    }
}

/// Whether no day of a whole cycle of the calendar matches.
fn fires_on_no_day(cron: &croner::Cron) -> bool {
    !CALENDAR_CYCLE.into_iter().any(|year| {
        let first = civil::date(year, 1, 1);
        first
            .series(jiff::Span::new().days(1))
            .take_while(|day| day.year() == year)
            .any(|day| day_matches(cron, day))
    })
}

/// Whether the expression has slots on this day.
pub(crate) fn day_matches(cron: &croner::Cron, day: civil::Date) -> bool {
    let (Ok(month), Ok(of_month)) = (u32::try_from(day.month()), u32::try_from(day.day())) else {
        return false;
    };
    let sunday_first = u32::from(day.weekday().to_sunday_zero_offset().unsigned_abs());
    let weekday = croner::Weekday::from_days_from_sunday(sunday_first);
    let pattern = &cron.pattern;
    pattern.month_match(month).unwrap_or(false)
        && pattern
            .day_match(i32::from(day.year()), month, of_month, weekday)
            .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schedules_are_understood() {
        for (name, same_as) in [
            ("@hourly", "0 * * * *"),
            ("@daily", "0 0 * * *"),
            ("@midnight", "0 0 * * *"),
            ("@Weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 1 *"),
        ] {
            let named = CronExpression::parse(name).unwrap();
            let spelled = CronExpression::parse(same_as).unwrap();
            assert_eq!(named.pattern(), spelled.pattern(), "{name}");
            assert_eq!(named.as_str(), name);
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_to_write_instead() {
        let table = [
            ("@reboot", "leave `schedule` out"),
            ("@every 5m", "write `schedule: every 5m` instead"),
            ("@every", "write `schedule: every 5m` instead"),
            ("@everyday", "@hourly, @daily, @midnight"),
            ("@noon", "@hourly, @daily, @midnight"),
            ("TZ=Europe/Berlin 0 9 * * *", "use the key `timezone`"),
            ("CRON_TZ=UTC 0 9 * * *", "use the key `timezone`"),
            ("0 0 31 2 *", "never fires"),
            ("0 0 30 FEB *", "never fires"),
            ("0 0 31 4,6,9,11 *", "never fires"),
            ("* * *", "Pattern must have"),
            ("0 0 0 1 1 * 2030", "Pattern must have 5 or 6 fields"),
            ("61 * * * *", "out of bounds"),
            ("", "empty"),
        ];
        for (text, part) in table {
            let error = CronExpression::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn rare_days_are_days() {
        for text in [
            "0 0 29 2 *",
            "0 0 29 2 +1",
            "0 0 L * *",
            "0 0 * * 5#5",
            "0 0 15W * *",
        ] {
            assert!(CronExpression::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_star_or_a_step_in_the_time_of_day_makes_a_rhythm() {
        let table = [
            ("30 2 * * *", ClockChanges::FixedTimes),
            ("0,30 1-3 * * *", ClockChanges::FixedTimes),
            ("0 30 2 * * *", ClockChanges::FixedTimes),
            ("@daily", ClockChanges::FixedTimes),
            ("*/30 2 * * *", ClockChanges::Rhythm),
            ("0 */2 * * *", ClockChanges::Rhythm),
            ("5/15 2 * * *", ClockChanges::Rhythm),
            ("* 30 2 * * *", ClockChanges::Rhythm),
            ("@hourly", ClockChanges::Rhythm),
        ];
        for (text, expected) in table {
            let parsed = CronExpression::parse(text).unwrap();
            assert_eq!(parsed.clock_changes(), expected, "{text}");
        }
    }
}

//! Durations: `500ms`, `30s`, `5m`, `2h`, `7d`, combined as `1h30m`.

use std::time::Duration;

use super::Rejected;

const GRAMMAR: &str = "write a number and a unit (ms, s, m, h, d or w), such as `30s` or `1h30m`";
/// The longest duration: ten years. Far more, and deadlines could not be computed.
const MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Units from long to short, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("w", 7 * 24 * 3600 * 1_000_000_000),
    ("d", 24 * 3600 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Reads a duration.
pub(in crate::config) fn parse(text: &str) -> Result<Duration, Rejected> {
    if text.is_empty() {
        return Err(Rejected::new("it is empty").help(GRAMMAR));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last = None;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, after) = tail.split_at(letters);
        if number.is_empty() {
            return Err(unreadable(text, rest));
        }
        let rank = rank(text, number, unit, after)?;
        if last.is_some_and(|last| rank <= last) {
            return Err(Rejected::new("its units do not go from long to short")
                .help("write each unit once, the longest first, such as `1h30m`"));
        }
        last = Some(rank);
        let too_long = || Rejected::new("it is longer than 3650d");
        let number: u32 = number.parse().map_err(|_overflow| too_long())?;
        let part = Duration::from_nanos(UNITS[rank].1)
            .checked_mul(number)
            .ok_or_else(too_long)?;
        total = total
            .checked_add(part)
            .filter(|sum| *sum <= MAX)
            .ok_or_else(too_long)?;
        rest = after;
    }
    Ok(total)
}

/// The shortest text that reads as the same duration.
pub(in crate::config) fn format(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    let mut text = String::new();
    for (unit, size) in UNITS.iter().filter(|(unit, _)| *unit != "w") {
        let count = nanos / u128::from(*size);
        nanos %= u128::from(*size);
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

fn rank(text: &str, number: &str, unit: &str, after: &str) -> Result<usize, Rejected> {
    if let Some(rank) = UNITS.iter().position(|(name, _)| *name == unit) {
        return Ok(rank);
    }
    if unit.is_empty() && after.is_empty() && number == text {
        return Err(Rejected::new("it has no unit").help(format!("did you mean `{number}s`?")));
    }
    if unit.is_empty() && after.starts_with(['.', ',']) {
        return Err(Rejected::new("it has a fraction")
            .help("use a smaller unit instead, such as `1500ms` or `1h30m`"));
    }
    if unit.is_empty() {
        return Err(unreadable(text, after));
    }
    let meant = match unit {
        "M" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "S" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "H" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
        "D" | "day" | "days" => Some("d"),
        "W" | "week" | "weeks" => Some("w"),
        "MS" | "msec" | "millis" | "milliseconds" => Some("ms"),
        _ => None,
    };
    let why = format!("`{unit}` is not a unit");
    Err(match (meant, unit) {
        (Some(meant), _) => Rejected::new(why).help(format!("did you mean `{number}{meant}`?")),
        (None, "mo" | "month" | "months" | "y" | "Y" | "year" | "years") => Rejected::new(why)
            .help("months and years differ in length: count in days, such as `365d`"),
        (None, _) => Rejected::new(why).help(GRAMMAR),
    })
}

fn unreadable(text: &str, rest: &str) -> Rejected {
    let why = match rest.chars().next() {
        Some('-') if rest.len() == text.len() => "it is negative".to_owned(),
        Some(c) if c.is_whitespace() => "it has a space in it".to_owned(),
        Some(c) => format!("`{c}` cannot stand there"),
        None => "it ends too early".to_owned(),
    };
    Rejected::new(why).help(GRAMMAR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_of_the_manual_are_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused_with_a_hint() {
        for (text, hint) in [
            ("30", "did you mean `30s`?"),
            ("5M", "did you mean `5m`?"),
            ("5min", "did you mean `5m`?"),
            ("1y", "count in days"),
            ("1.5h", "1h30m"),
            ("5m1h", "longest first"),
            ("99999d", ""),
            ("-5s", ""),
            ("5 s", ""),
            ("", ""),
        ] {
            let rejected = parse(text).expect_err(text);
            let help = rejected.help.unwrap_or_default();
            assert!(help.contains(hint), "{text}: {help}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_reads_back(micros in 0_u64..300_000_000_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            drop(parse(&text));
        }
    }
}

//! Times and sizes for people.

use claw_daemon::api::Time;

/// A span in the two largest units that say something: `4d 12h`, `5m 2s`, `0.3s`.
#[must_use]
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to integer cast saturates, and spans are not negative here"
    )]
    let whole = seconds as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `5m 2s ago`, or `-` where there is nothing.
#[must_use]
pub(crate) fn ago(at: Option<Time>, now: Time) -> String {
    at.map_or_else(dash, |at| {
        format!(
            "{} ago",
            span(now.duration_since(at).as_secs_f64().max(0.0))
        )
    })
}

/// `in 5m 2s`, `now` when it is due, or `-` where there is nothing.
#[must_use]
pub(crate) fn ahead(at: Option<Time>, now: Time) -> String {
    match at.map(|at| at.duration_since(now).as_secs_f64()) {
        None => dash(),
        Some(due) if due <= 0.0 => "now".to_owned(),
        Some(left) => format!("in {}", span(left)),
    }
}

/// A point in time in the zone of this machine, to the second.
#[must_use]
pub(crate) fn local(at: Time) -> String {
    at.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%a %Y-%m-%d %H:%M:%S %Z")
        .to_string()
}

/// A point in time for a line of a log: date and milliseconds, in the zone of this machine.
#[must_use]
pub(crate) fn stamp(at: Time) -> String {
    at.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%b %d %H:%M:%S%.3f")
        .to_string()
}

/// A size in binary units.
#[must_use]
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// What stands where there is nothing.
#[must_use]
pub(crate) fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        let shown: Vec<String> = [0.25, 9.96, 42.0, 302.0, 7_260.0, 390_000.0]
            .map(span)
            .into_iter()
            .collect();
        assert_eq!(shown, ["0.2s", "10.0s", "42s", "5m 2s", "2h 1m", "4d 12h"]);
    }

    #[test]
    fn sizes_show_three_digits_at_most() {
        let shown: Vec<String> = [0, 1023, 1024, 12_900_000, 536_870_912, 1 << 41]
            .map(size)
            .into_iter()
            .collect();
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.0 KiB", "12.3 MiB", "512 MiB", "2.0 TiB"]
        );
    }
}

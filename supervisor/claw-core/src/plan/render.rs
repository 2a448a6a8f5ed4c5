//! Values as they would stand in the fleet file.

use std::time::Duration;

use serde::Serialize;

use crate::spec::CleanExit;

/// Text, quoted where YAML would read it as something else.
pub(super) fn text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let a_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.'));
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_reserved = reserved.contains(&text.to_ascii_lowercase().as_str());
    if a_word && text.chars().all(plain) && !is_reserved {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// A list in brackets.
pub(super) fn list<T>(items: impl IntoIterator<Item = T>, item: impl Fn(T) -> String) -> String {
    let items: Vec<String> = items.into_iter().map(item).collect();
    format!("[{}]", items.join(", "))
}

/// A value of one of our enums without data: the word it is serialised as.
pub(super) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// A duration in the largest unit that says it exactly.
pub(super) fn duration(span: Duration) -> String {
    const UNITS: [(u128, &str); 5] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
    ];
    let nanos = span.as_nanos();
    UNITS
        .iter()
        .find(|(unit, _)| nanos >= *unit && nanos.is_multiple_of(*unit))
        .map_or_else(
            || {
                if nanos == 0 {
                    "0s".to_owned()
                } else {
                    format!("{span:?}")
                }
            },
            |(unit, name)| format!("{}{name}", nanos / unit),
        )
}

/// Bytes in the largest unit that says them exactly.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || bytes.to_string(),
            |(unit, name)| format!("{}{name}", bytes / unit),
        )
}

/// Thousandths of a core as cores.
pub(super) fn cpu(millis: u32) -> String {
    let cores = format!("{}.{:03}", millis / 1000, millis % 1000);
    cores.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A signal by its name where it has a common one.
pub(super) fn signal(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        12 => "SIGUSR2",
        15 => "SIGTERM",
        _ => return number.to_string(),
    };
    name.to_owned()
}

/// An ending that counts as clean.
pub(super) fn clean_exit(exit: &CleanExit) -> String {
    match exit {
        CleanExit::Code(code) => code.to_string(),
        CleanExit::Signal(number) => signal(*number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_as_in_the_fleet_file() {
        let ms = Duration::from_millis;
        let table = [
            (duration(Duration::ZERO), "0s"),
            (duration(ms(500)), "500ms"),
            (duration(ms(300_000)), "5m"),
            (duration(ms(90_000)), "90s"),
            (duration(ms(604_800_000)), "7d"),
            (duration(Duration::from_nanos(1_500)), "1.5µs"),
            (bytes(512 << 20), "512Mi"),
            (bytes(1000), "1000"),
            (bytes(0), "0"),
            (cpu(500), "0.5"),
            (cpu(2000), "2"),
            (cpu(1005), "1.005"),
            (signal(15), "SIGTERM"),
            (signal(37), "37"),
            (text("./report.sh"), "./report.sh"),
            (text("no"), "\"no\""),
            (text("8080"), "\"8080\""),
            (text("a: b"), "\"a: b\""),
            (text(""), "\"\""),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }
}

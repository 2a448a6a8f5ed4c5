//! Signals by name or number.

use super::Rejected;
use crate::config::section::nearest;

/// Linux signals that a program can be sent on purpose.
const NAMES: [(&str, i32); 26] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
];
const FIRST_REAL_TIME: i32 = 34;
const LAST: i32 = 64;

/// Reads a signal: `SIGTERM`, `TERM`, `SIGRTMIN+3` or `15`.
pub(in crate::config) fn parse(text: &str) -> Result<i32, Rejected> {
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST).contains(&number) {
            Ok(number)
        } else {
            Err(Rejected::new("signals have the numbers 1 to 64"))
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(plus) = name.strip_prefix("RTMIN") {
        let offset = match plus.strip_prefix('+') {
            Some(offset) => offset.parse::<u8>().ok(),
            None => plus.is_empty().then_some(0),
        };
        let number = offset.map(|offset| FIRST_REAL_TIME + i32::from(offset));
        return number
            .filter(|number| *number <= LAST)
            .ok_or_else(|| Rejected::new("real-time signals are SIGRTMIN to SIGRTMIN+30"));
    }
    match NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, number)) => Ok(*number),
        None => {
            let help = match nearest(name, NAMES.iter().map(|(name, _)| *name)) {
                Some(near) => format!("did you mean `SIG{near}`?"),
                None => "write a name such as `SIGTERM` or `SIGINT`".to_owned(),
            };
            Err(Rejected::new("there is no such signal").help(help))
        }
    }
}

/// The name of a signal.
pub(in crate::config) fn name(number: i32) -> String {
    match NAMES.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("sigint", 2),
            ("15", 15),
            ("SIGRTMIN+3", 37),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in ["SIGTREM", "0", "65", "", "SIGRTMIN+99", "-9"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

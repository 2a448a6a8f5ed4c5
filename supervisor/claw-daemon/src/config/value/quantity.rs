//! Quantities as Kubernetes writes them: `512Mi` of memory, `0.5` or `500m` processors.

use super::Rejected;

const MEMORY_GRAMMAR: &str = "write a number with Ki, Mi, Gi or Ti, such as `512Mi`";
const CPU_GRAMMAR: &str = "write processors such as `0.5`, or thousandths such as `500m`";
/// More than any machine has.
const MAX_BYTES: u128 = 1 << 50;
/// More than any machine has.
const MAX_CPU_MILLIS: u128 = 1_024_000;

const MEMORY_UNITS: [(&str, u64); 9] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
    ("", 1),
];

/// Reads a size of memory in bytes.
pub(in crate::config) fn memory(text: &str) -> Result<u64, Rejected> {
    let (number, unit) = split(text);
    let Some((_, size)) = MEMORY_UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_memory_unit(number, unit));
    };
    let bytes = scaled(number, *size).ok_or_else(|| not_a_number(number, MEMORY_GRAMMAR))?;
    if bytes == 0 {
        return Err(Rejected::new("it is zero").help(MEMORY_GRAMMAR));
    }
    if bytes > MAX_BYTES {
        return Err(Rejected::new("it is more than 1024Ti"));
    }
    u64::try_from(bytes).map_err(|_impossible| Rejected::new("it is more than 1024Ti"))
}

/// Reads a number of processors in thousandths.
pub(in crate::config) fn cpu_millis(text: &str) -> Result<u32, Rejected> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" => 1000,
        "m" => 1,
        "%" => {
            let why = "percentages are not read";
            return Err(Rejected::new(why).help("write `0.5` for half a processor"));
        }
        _ => {
            let why = format!("`{unit}` is not a unit of processors");
            return Err(Rejected::new(why).help(CPU_GRAMMAR));
        }
    };
    let millis = scaled(number, scale).ok_or_else(|| not_a_number(number, CPU_GRAMMAR))?;
    if millis == 0 {
        return Err(Rejected::new("it is zero").help(CPU_GRAMMAR));
    }
    if millis > MAX_CPU_MILLIS {
        let why = "it is more than 1024 processors";
        return Err(Rejected::new(why).help("thousandths are written with `m`, such as `500m`"));
    }
    u32::try_from(millis).map_err(|_impossible| Rejected::new("it is more than 1024 processors"))
}

/// The shortest text that reads as the same size.
#[cfg(test)]
fn format_memory(bytes: u64) -> String {
    let fits = |size: u64| bytes.is_multiple_of(size);
    let (unit, size) = MEMORY_UNITS[..4]
        .iter()
        .find(|(_, size)| fits(*size))
        .unwrap_or(&("", 1));
    format!("{}{unit}", bytes / size)
}

fn split(text: &str) -> (&str, &str) {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    text.split_at(text.len() - unit.len())
}

/// A decimal number times a scale, rounded up; exact, without floating point.
fn scaled(number: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let readable = (1..=18).contains(&whole.len())
        && fraction.len() <= 12
        && digits(whole)
        && digits(fraction)
        && (number == whole || !fraction.is_empty());
    if !readable {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    let unit = 10_u128.pow(places);
    let value = format!("{whole}{fraction}").parse::<u128>().ok()?;
    Some((value * u128::from(scale)).div_ceil(unit))
}

fn not_a_number(number: &str, grammar: &str) -> Rejected {
    let why = match number {
        "" => "it begins with no number".to_owned(),
        number => format!("`{number}` is not a number that can be read"),
    };
    Rejected::new(why).help(grammar)
}

fn unknown_memory_unit(number: &str, unit: &str) -> Rejected {
    let meant = match unit {
        "m" | "mb" | "MB" | "mib" | "MiB" | "Mb" | "mi" => Some("Mi"),
        "g" | "gb" | "GB" | "gib" | "GiB" | "Gb" | "gi" => Some("Gi"),
        "K" | "kb" | "KB" | "kib" | "KiB" | "Kb" | "ki" => Some("Ki"),
        "t" | "tb" | "TB" | "TiB" | "ti" => Some("Ti"),
        _ => None,
    };
    let why = if unit.starts_with(char::is_whitespace) {
        "it has a space in it".to_owned()
    } else {
        format!("`{unit}` is not a unit of memory")
    };
    match meant {
        Some(meant) => Rejected::new(why).help(format!("did you mean `{number}{meant}`?")),
        None => Rejected::new(why).help(MEMORY_GRAMMAR),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_read_as_kubernetes_reads_it() {
        for (text, bytes) in [
            ("512Mi", 512 << 20),
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("100M", 100_000_000),
            ("64k", 64_000),
            ("1048576", 1 << 20),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn ambiguous_memory_is_refused_with_a_hint() {
        for (text, hint) in [
            ("512m", "did you mean `512Mi`?"),
            ("1g", "did you mean `1Gi`?"),
            ("512MB", "did you mean `512Mi`?"),
            ("lots", "such as `512Mi`"),
            ("0", "such as `512Mi`"),
            ("512 Mi", ""),
            ("1.Gi", ""),
            (".5Gi", ""),
        ] {
            let rejected = memory(text).expect_err(text);
            assert!(rejected.help.unwrap_or_default().contains(hint), "{text}");
        }
    }

    #[test]
    fn processors_are_read_whole_split_and_in_thousandths() {
        for (text, millis) in [("0.5", 500), ("500m", 500), ("2", 2000), ("0.0001", 1)] {
            assert_eq!(cpu_millis(text), Ok(millis), "{text}");
        }
        for text in ["0", "50%", "2 cores", "-1", "4096"] {
            assert!(cpu_millis(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_size_reads_back(bytes in 1_u64..(1 << 50)) {
            prop_assert_eq!(memory(&format_memory(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            drop(memory(&text));
            drop(cpu_millis(&text));
        }
    }
}

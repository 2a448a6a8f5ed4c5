//! Users of the host, by their numbers.

use std::ops::RangeInclusive;

use super::Rejected;

/// Below are the system's own users, and people.
const FIRST: u32 = 65_536;

/// -1 as a user means "no change" to the kernel.
const LAST: u32 = u32::MAX - 1;

/// Reads `FIRST-LAST`.
pub(in crate::config) fn range(text: &str) -> Result<RangeInclusive<u32>, Rejected> {
    let form = "write `FIRST-LAST`, such as `200000-265535`";
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let (first, last) = text
        .split_once('-')
        .ok_or_else(|| Rejected::plainly().help(form))?;
    let (Some(first), Some(last)) = (number(first.trim()), number(last.trim())) else {
        return Err(Rejected::new("users are numbers").help(form));
    };
    if first < FIRST || last > LAST {
        let why = format!("users of agents are from {FIRST} to {LAST}, apart from those of people");
        return Err(Rejected::new(why).help(form));
    }
    if first > last {
        return Err(Rejected::new("its end comes before its beginning").help(form));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_users_is_read() {
        assert_eq!(range("200000-265535"), Ok(200_000..=265_535));
        assert_eq!(range("70000 - 70000"), Ok(70_000..=70_000));
        for text in [
            "",
            "-",
            "1000-2000",
            "200000",
            "300000-200000",
            "200000-4294967295",
            "200000-+265535",
            "a-b",
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}

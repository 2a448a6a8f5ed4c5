//! The wait that a provider asks for.

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Longer waits are taken for this one: a provider that says "tomorrow" is asked again before.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Reads `retry-after-ms` (milliseconds, as OpenAI and Azure send it) or else `Retry-After`, in
/// seconds or as a date (RFC 9110, section 10.2.3). A date that has passed is no wait.
///
/// What cannot be read is taken for absent, and what is longer than an hour for an hour.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(wait) = text("retry-after-ms").and_then(|text| seconds(text, 1000.0)) {
        return Some(wait);
    }
    let named = text("retry-after")?;
    seconds(named, 1.0).or_else(|| until(named, now))
}

fn seconds(text: &str, per_second: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    let wait = Duration::try_from_secs_f64(number / per_second);
    Some(wait.unwrap_or(LONGEST).min(LONGEST))
}

fn until(text: &str, now: Timestamp) -> Option<Duration> {
    // A wrong weekday does not make the time less clear.
    let parser = DateTimeParser::new().relaxed_weekday(true);
    let date = parser.parse_timestamp(text).ok()?;
    let wait = date.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        let now = "1994-11-06T08:49:30Z".parse().expect("a time");
        retry_after(&map, now)
    }

    fn milliseconds(number: u64) -> Option<Duration> {
        Some(Duration::from_millis(number))
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_read() {
        assert_eq!(read(&[("retry-after", "2")]), milliseconds(2000));
        assert_eq!(read(&[("retry-after", "0.5")]), milliseconds(500));
        assert_eq!(read(&[("retry-after-ms", "1250")]), milliseconds(1250));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(&[("retry-after", date)]), milliseconds(7000));
        let both = [("retry-after", "9"), ("retry-after-ms", "20")];
        assert_eq!(read(&both), milliseconds(20), "the finer one counts");
    }

    #[test]
    fn a_date_that_has_passed_is_no_wait() {
        let date = "Sun, 06 Nov 1994 08:49:00 GMT";
        assert_eq!(read(&[("retry-after", date)]), milliseconds(0));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        for text in ["", "soon", "-1", "NaN", "inf", "1 s", "Sun, 06 Nov"] {
            assert_eq!(read(&[("retry-after", text)]), None, "{text:?}");
        }
        assert_eq!(read(&[]), None);
        let mixed = [("retry-after-ms", "soon"), ("retry-after", "1")];
        assert_eq!(read(&mixed), milliseconds(1000));
    }

    #[test]
    fn no_wait_is_longer_than_an_hour() {
        for text in ["86400", "1e300", "Sun, 06 Nov 2094 08:49:37 GMT"] {
            assert_eq!(read(&[("retry-after", text)]), Some(LONGEST), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_provider_sends_is_read_or_left(value in "[ -~]{0,40}") {
            let wait = read(&[("retry-after", &value), ("retry-after-ms", &value)]);
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST));
        }
    }
}

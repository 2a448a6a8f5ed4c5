//! Query parameters: each read by name, unknown ones refused, a bad value named.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::limits;
use super::problem::ApiError;
use crate::api::Time;

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    unreadable: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(match Query::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Self {
                pairs,
                unreadable: None,
            },
            Err(rejection) => Self {
                pairs: Vec::new(),
                unreadable: Some(rejection.body_text()),
            },
        })
    }
}

impl Params {
    /// Refuses every parameter that is not one of `known`, and one given twice.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        if let Some(why) = &self.unreadable {
            return Err(ApiError::bad_parameter("query", why.clone()));
        }
        for (place, (name, _value)) in self.pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, known));
            }
            if self.pairs[..place].iter().any(|(other, _)| other == name) {
                let detail = format!("`{name}` is given more than once");
                return Err(ApiError::bad_parameter(name, detail));
            }
        }
        Ok(())
    }

    /// Reads a parameter, if it is there.
    pub(super) fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ApiError> {
        let Some((_, value)) = self.pairs.iter().find(|(other, _)| other == name) else {
            return Ok(None);
        };
        parse(value).map(Some).map_err(|why| {
            let shown: String = value.chars().take(80).collect();
            ApiError::bad_parameter(name, format!("`{name}={shown}`: {why}"))
        })
    }
}

fn unknown(name: &str, known: &[&str]) -> ApiError {
    let near = known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    let hint = match (near, known) {
        (Some((_, other)), _) => format!("did you mean `{other}`?"),
        (None, []) => "this path takes none".to_owned(),
        (None, _) => format!("this path takes `{}`", known.join("`, `")),
    };
    let shown: String = name.chars().take(80).collect();
    ApiError::bad_parameter(&shown, format!("there is no parameter `{shown}`; {hint}"))
}

/// Reads a span of time such as `500ms`, `30s`, `5m`, `2h`, `7d`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let bad = || "a span of time looks like `500ms`, `30s`, `5m`, `2h` or `7d`".to_owned();
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_not_a_number| bad())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let span = number.checked_mul(unit_ms).map(Duration::from_millis);
    span.ok_or_else(|| "that is too long".to_owned())
}

/// Reads `wait`: a span within the bound.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let wait = span(text)?;
    if wait > limits::WAIT {
        return Err(format!("the longest wait is {}s", limits::WAIT.as_secs()));
    }
    Ok(wait)
}

/// Reads a point in time: RFC 3339, or a span before `now`.
pub(super) fn point(text: &str, now: Time) -> Result<Time, String> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    let bad = "a point in time looks like `2026-11-20T09:00:00Z`, or `1h` for one hour ago";
    let ago = span(text).map_err(|_not_a_span| bad.to_owned())?;
    now.checked_sub(ago).map_err(|_too_early| bad.to_owned())
}

/// Reads a whole number of at most `most`.
pub(super) fn count<N>(most: N) -> impl FnOnce(&str) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    move |text| match text.parse::<N>() {
        Ok(number) if number <= most => Ok(number),
        Ok(_) | Err(_) => Err(format!("this is a whole number of at most {most}")),
    }
}

/// Reads a switch: `true`, `false`, `1`, `0`, or nothing for `true`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("this is `true` or `false`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_in_the_fleet_file() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 m",
            "99999999999999999999d",
            "30S",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_point_in_time_is_absolute_or_ago() {
        let now: Time = "2026-11-20T10:00:00Z".parse().unwrap();
        let nine: Time = "2026-11-20T09:00:00Z".parse().unwrap();
        assert_eq!(point("1h", now), Ok(nine));
        assert_eq!(point("2026-11-20T09:00:00Z", now), Ok(nine));
        assert!(point("yesterday", now).is_err());
        assert!(point("99999999d", now).is_err());
    }
}

//! A provider's limit on requests: the one that is configured, and the one it tells of itself.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;

use super::LONGEST_WAIT;

/// A provider that says it has no room until later than this is asked again before.
const LONGEST_RESET: Duration = Duration::from_secs(5 * 60);

/// So many requests in a time, as `500/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many requests, at least one.
    pub count: NonZeroU32,
    /// In this time.
    pub per: Duration,
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotARate {
    /// It has no slash.
    #[error("not a rate such as 500/min")]
    NoSlash,
    /// What stands before the slash.
    #[error("the number before the slash must be from 1 to 4294967295")]
    Count,
    /// What stands after it.
    #[error("the time after the slash must be one of s, sec, min, h, hour, day")]
    Time,
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (count, time) = text.split_once('/').ok_or(NotARate::NoSlash)?;
        let count = count.trim().parse().map_err(|_not| NotARate::Count)?;
        let seconds = match time.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 60 * 60,
            "d" | "day" => 24 * 60 * 60,
            _ => return Err(NotARate::Time),
        };
        let per = Duration::from_secs(seconds);
        Ok(Self { count, per })
    }
}

/// The requests of one provider's key, by the generic cell rate algorithm: a whole time's worth
/// may go at once, and comes back one by one. Times are on any clock that does not go back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimiter {
    /// When all requests will have come back.
    full_at: Duration,
    /// The provider has said that there is no room before.
    closed_until: Duration,
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It may, and is counted.
    Now,
    /// It may after this long, and is counted.
    After(Duration),
    /// There is no room soon; it is not counted.
    None {
        /// When there is.
        retry_after: Duration,
    },
}

impl RateLimiter {
    /// Takes room for one request, if there is some within [`LONGEST_WAIT`]. The rate may change
    /// from call to call.
    pub fn take(&mut self, rate: Option<Rate>, now: Duration) -> Room {
        let closed = self.closed_until.saturating_sub(now);
        let Some(rate) = rate else {
            return if closed > LONGEST_WAIT {
                Room::None {
                    retry_after: closed,
                }
            } else {
                room(closed)
            };
        };
        let each = rate.per / rate.count.get();
        let full_at = self.full_at.max(now) + each;
        let wait = full_at.saturating_sub(now + rate.per).max(closed);
        if wait > LONGEST_WAIT {
            return Room::None { retry_after: wait };
        }
        self.full_at = full_at;
        room(wait)
    }

    /// Gives back the room of a request that was counted and not sent.
    pub fn give_back(&mut self, rate: Option<Rate>, now: Duration) {
        if let Some(rate) = rate {
            let each = rate.per / rate.count.get();
            self.full_at = self.full_at.saturating_sub(each).max(now);
        }
    }

    /// Whether the provider has said that there is no room yet.
    #[must_use]
    pub fn is_closed(&self, now: Duration) -> bool {
        self.closed_until > now
    }

    /// Takes note of what a provider has said about itself.
    pub fn observe(&mut self, headroom: Headroom, now: Duration) {
        if headroom.remaining == 0 {
            let reset = headroom.reset.min(LONGEST_RESET);
            self.closed_until = self.closed_until.max(now + reset);
        }
    }
}

fn room(wait: Duration) -> Room {
    if wait.is_zero() {
        Room::Now
    } else {
        Room::After(wait)
    }
}

/// What a provider says is left of a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// Requests or tokens.
    pub remaining: u64,
    /// When there are as many as ever again.
    pub reset: Duration,
}

impl Headroom {
    /// Reads the limits on requests and tokens from an answer of OpenAI (`x-ratelimit-*`, with
    /// times as `6m0s`) or Anthropic (`anthropic-ratelimit-*`, with times of RFC 3339). Of several
    /// limits that are used up the one that lasts longest counts.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let limits = [
            (
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ),
            ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
            (
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ),
            (
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
            ),
        ];
        let read = limits.iter().filter_map(|(remaining, reset)| {
            let remaining = text(remaining)?.parse().ok()?;
            let reset = reset_in(text(reset)?, now)?;
            Some(Self { remaining, reset })
        });
        read.min_by_key(|limit| (limit.remaining, std::cmp::Reverse(limit.reset)))
    }
}

fn reset_in(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Duration::try_from(at.duration_since(now)).unwrap_or_default());
    }
    parts(text)
}

/// A time as Go prints it: `1h2m3.5s`, `120ms`.
fn parts(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn rate(text: &str) -> Option<Rate> {
        Some(text.parse().expect("a rate"))
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for (text, per) in [
            ("500/min", 60),
            ("500 / minute", 60),
            ("500/s", 1),
            ("500/h", 3600),
        ] {
            let read: Rate = text.parse().expect("a rate");
            assert_eq!((read.count.get(), read.per), (500, seconds(per)), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_is_told_why() {
        assert_eq!("500".parse::<Rate>(), Err(NotARate::NoSlash));
        assert_eq!("0/min".parse::<Rate>(), Err(NotARate::Count));
        assert_eq!("many/min".parse::<Rate>(), Err(NotARate::Count));
        assert_eq!("5/fortnight".parse::<Rate>(), Err(NotARate::Time));
    }

    #[test]
    fn a_whole_times_worth_goes_at_once_and_the_next_waits() {
        let mut limiter = RateLimiter::default();
        for _ in 0..60 {
            assert_eq!(limiter.take(rate("60/min"), seconds(9)), Room::Now);
        }
        assert_eq!(
            limiter.take(rate("60/min"), seconds(9)),
            Room::After(seconds(1))
        );
        assert_eq!(
            limiter.take(rate("60/min"), seconds(9)),
            Room::After(seconds(2))
        );
        let none = Room::None {
            retry_after: seconds(3),
        };
        assert_eq!(limiter.take(rate("60/min"), seconds(9)), none);
        assert_eq!(
            limiter.take(rate("60/min"), seconds(9)),
            none,
            "not counted"
        );
        assert_eq!(limiter.take(None, seconds(9)), Room::Now);
    }

    #[test]
    fn a_provider_without_room_is_not_asked_before_it_has_some() {
        let mut limiter = RateLimiter::default();
        let spent = Headroom {
            remaining: 0,
            reset: seconds(5),
        };
        limiter.observe(spent, seconds(100));
        let none = Room::None {
            retry_after: seconds(5),
        };
        assert_eq!(limiter.take(None, seconds(100)), none);
        assert_eq!(limiter.take(rate("60/min"), seconds(100)), none);
        assert_eq!(limiter.take(None, seconds(104)), Room::After(seconds(1)));
        assert_eq!(limiter.take(None, seconds(105)), Room::Now);
    }

    #[test]
    fn a_limit_that_is_far_away_closes_nothing() {
        let mut limiter = RateLimiter::default();
        let left = Headroom {
            remaining: 1,
            reset: seconds(60),
        };
        limiter.observe(left, seconds(0));
        assert_eq!(limiter.take(None, seconds(0)), Room::Now);
        let tomorrow = Headroom {
            remaining: 0,
            reset: seconds(86400),
        };
        limiter.observe(tomorrow, seconds(0));
        assert_eq!(limiter.take(None, LONGEST_RESET), Room::Now);
    }

    fn read(headers: &[(&'static str, &str)]) -> Option<Headroom> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        Headroom::read(&map, "2026-01-01T00:00:00Z".parse().expect("a time"))
    }

    #[test]
    fn what_providers_say_is_read() {
        let openai = read(&[
            ("x-ratelimit-remaining-requests", "7"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0.5s"),
        ]);
        let reset = Duration::from_millis(360_500);
        assert_eq!(
            openai,
            Some(Headroom {
                remaining: 0,
                reset
            })
        );
        let anthropic = read(&[
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:09Z"),
        ]);
        let reset = seconds(9);
        assert_eq!(
            anthropic,
            Some(Headroom {
                remaining: 0,
                reset
            })
        );
        let odd = read(&[
            ("x-ratelimit-remaining-requests", "some"),
            ("x-ratelimit-reset-requests", "later"),
        ]);
        assert_eq!(odd, None);
    }

    proptest! {
        #[test]
        fn no_more_go_than_a_burst_and_what_came_back(
            count in 1_u32..100,
            steps in prop::collection::vec(0_u64..5_000, 1..300),
        ) {
            let per = seconds(60);
            let rate = Rate { count: NonZeroU32::new(count).expect("not zero"), per };
            let (mut limiter, mut now) = (RateLimiter::default(), seconds(1));
            let mut sent = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                match limiter.take(Some(rate), now) {
                    Room::Now => sent.push(now),
                    Room::After(wait) => {
                        prop_assert!(wait <= LONGEST_WAIT);
                        sent.push(now + wait);
                    }
                    Room::None { retry_after } => {
                        prop_assert!(retry_after > LONGEST_WAIT);
                    }
                }
            }
            for (index, from) in sent.iter().enumerate() {
                for (more, to) in (1_u128..).zip(&sent[index..]) {
                    let back = (*to - *from).as_nanos() * u128::from(count) / per.as_nanos();
                    // One for the rounding of what comes back.
                    prop_assert!(more <= u128::from(count) + back + 1);
                }
            }
        }

        #[test]
        fn whatever_a_provider_sends_closes_for_minutes_at_most(text in "[0-9a-zµ.:-]{0,20}") {
            let headers = [
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", text.as_str()),
            ];
            let ascii = text.is_ascii();
            if let Some(headroom) = ascii.then(|| read(&headers)).flatten() {
                let mut limiter = RateLimiter::default();
                limiter.observe(headroom, Duration::ZERO);
                prop_assert_eq!(limiter.take(None, LONGEST_RESET), Room::Now);
            }
        }
    }
}

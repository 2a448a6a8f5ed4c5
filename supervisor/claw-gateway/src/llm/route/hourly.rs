//! The tokens of one agent within the last hour: `llm_tokens_per_hour`.

use std::num::NonZeroU64;
use std::time::Duration;

/// A minute of the clock, in seconds: what is used comes back in such steps.
const MINUTE: u64 = 60;

/// How many minutes count.
const MINUTES: u64 = 60;

/// See [`MINUTES`].
const BUCKETS: usize = 60;

/// What was used in each of the last sixty minutes. A call reserves an estimate and may turn out
/// larger, so more than the limit may have been used: that is a debt, and it is waited for.
///
/// Times are on any clock that does not go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourlyTokens {
    /// The minute of each bucket, and its tokens; a bucket of another minute is empty.
    buckets: [(u64, u64); BUCKETS],
}

impl Default for HourlyTokens {
    fn default() -> Self {
        Self {
            buckets: [(0, 0); BUCKETS],
        }
    }
}

/// Tokens that are reserved, to be settled once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is not settled counts as estimated"]
pub struct Ticket {
    minute: u64,
    estimate: u64,
}

/// There are no tokens left in this hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{used} of {limit} tokens are used in this hour")]
pub struct Spent {
    /// Tokens of the last hour, those of calls in flight as estimated.
    pub used: u64,
    /// The limit.
    pub limit: NonZeroU64,
    /// When there is room for the call, unless others come first.
    pub retry_after: Duration,
}

impl HourlyTokens {
    /// Reserves an estimate. One that is larger than the limit has room in an hour in which nothing
    /// else was used.
    ///
    /// # Errors
    /// When there is no room.
    pub fn reserve(
        &mut self,
        now: Duration,
        estimate: u64,
        limit: Option<NonZeroU64>,
    ) -> Result<Ticket, Spent> {
        let minute = minute_of(now);
        if let Some(limit) = limit {
            let wanted = estimate.min(limit.get());
            let used = self.used(now);
            if used.saturating_add(wanted) > limit.get() {
                let room = limit.get() - wanted;
                let retry_after = self.wait(now, used, room);
                return Err(Spent {
                    used,
                    limit,
                    retry_after,
                });
            }
        }
        let bucket = &mut self.buckets[index(minute)];
        if bucket.0 != minute {
            *bucket = (minute, 0);
        }
        bucket.1 = bucket.1.saturating_add(estimate);
        Ok(Ticket { minute, estimate })
    }

    /// Books what was used in truth, in the minute in which it was reserved.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is taken back, so that it is settled once"
    )]
    pub fn settle(&mut self, ticket: Ticket, actual: u64) {
        let Ticket { minute, estimate } = ticket;
        let bucket = &mut self.buckets[index(minute)];
        // A call of more than an hour has left its minute behind.
        if bucket.0 == minute {
            bucket.1 = bucket.1.saturating_sub(estimate).saturating_add(actual);
        }
    }

    /// The tokens of the last hour.
    #[must_use]
    pub fn used(&self, now: Duration) -> u64 {
        self.counting(minute_of(now))
            .fold(0, |sum, (_minute, tokens)| sum.saturating_add(tokens))
    }

    fn counting(&self, now: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = move |(minute, _tokens): &(u64, u64)| minute + MINUTES > now;
        self.buckets.iter().copied().filter(counts)
    }

    /// How long until no more than `room` is used.
    fn wait(&self, now: Duration, used: u64, room: u64) -> Duration {
        let mut minutes: Vec<_> = self.counting(minute_of(now)).collect();
        minutes.sort_unstable();
        let mut left = used;
        for (minute, tokens) in minutes {
            left = left.saturating_sub(tokens);
            if left <= room {
                let gone_at = Duration::from_secs((minute + MINUTES) * MINUTE);
                return gone_at.saturating_sub(now);
            }
        }
        Duration::ZERO
    }
}

fn minute_of(now: Duration) -> u64 {
    now.as_secs() / MINUTE
}

fn index(minute: u64) -> usize {
    usize::try_from(minute % MINUTES).expect("below sixty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(tokens: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(tokens)
    }

    fn minutes(number: u64) -> Duration {
        Duration::from_secs(number * MINUTE)
    }

    fn refused(used: u64, of: u64, retry_after: Duration) -> Result<Ticket, Spent> {
        let limit = NonZeroU64::new(of).expect("not zero");
        Err(Spent {
            used,
            limit,
            retry_after,
        })
    }

    #[test]
    fn what_is_used_comes_back_after_an_hour() {
        let mut tokens = HourlyTokens::default();
        let first = tokens.reserve(minutes(0), 600, limit(1000)).expect("room");
        tokens.settle(first, 700);
        let second = tokens.reserve(minutes(10), 300, limit(1000)).expect("room");
        tokens.settle(second, 300);
        let refusal = tokens.reserve(minutes(20), 700, limit(1000));
        assert_eq!(refusal, refused(1000, 1000, minutes(40)));
        let third = tokens.reserve(minutes(60), 700, limit(1000)).expect("room");
        tokens.settle(third, 0);
        assert_eq!(tokens.used(minutes(60)), 300);
    }

    #[test]
    fn a_debt_is_waited_for() {
        let mut tokens = HourlyTokens::default();
        let call = tokens.reserve(minutes(5), 10, limit(1000)).expect("room");
        tokens.settle(call, 5000);
        assert_eq!(tokens.used(minutes(5)), 5000);
        let refusal = tokens.reserve(minutes(6), 1, limit(1000));
        assert_eq!(refusal, refused(5000, 1000, minutes(59)));
    }

    #[test]
    fn a_call_larger_than_the_limit_has_room_in_an_empty_hour() {
        let mut tokens = HourlyTokens::default();
        let call = tokens.reserve(minutes(5), 5000, limit(1000)).expect("room");
        tokens.settle(call, 1);
        let refusal = tokens.reserve(minutes(6), 5000, limit(1000));
        assert_eq!(refusal, refused(1, 1000, minutes(59)));
    }

    #[test]
    fn calls_in_flight_count_as_estimated() {
        let mut tokens = HourlyTokens::default();
        let held = tokens.reserve(minutes(1), 900, limit(1000)).expect("room");
        let refusal = tokens.reserve(minutes(1), 200, limit(1000));
        assert_eq!(refusal, refused(900, 1000, minutes(60)));
        tokens.settle(held, 100);
        let next = tokens.reserve(minutes(1), 200, limit(1000));
        assert!(next.is_ok());
    }

    #[test]
    fn a_call_that_outlives_its_hour_changes_no_other_minute() {
        let mut tokens = HourlyTokens::default();
        let old = tokens.reserve(minutes(3), 50, None).expect("room");
        let new = tokens.reserve(minutes(63), 7, None).expect("room");
        tokens.settle(old, 1_000_000);
        assert_eq!(tokens.used(minutes(63)), 7);
        tokens.settle(new, 8);
        assert_eq!(tokens.used(minutes(63)), 8);
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_calls_of_the_last_sixty_minutes(
            calls in prop::collection::vec((0_u64..600, 0_u64..500, 0_u64..900), 0..80),
            limit in 1_u64..4000,
        ) {
            let mut tokens = HourlyTokens::default();
            let mut now = Duration::ZERO;
            let mut booked: Vec<(u64, u64)> = Vec::new();
            for (passed, estimate, actual) in calls {
                now += Duration::from_secs(passed);
                let minute = minute_of(now);
                let counted = booked.iter().filter(|(at, _)| at + MINUTES > minute);
                let used: u64 = counted.map(|(_, tokens)| tokens).sum();
                prop_assert_eq!(tokens.used(now), used);
                match tokens.reserve(now, estimate, NonZeroU64::new(limit)) {
                    Ok(ticket) => {
                        prop_assert!(used + estimate.min(limit) <= limit);
                        tokens.settle(ticket, actual);
                        booked.push((minute, actual));
                    }
                    Err(spent) => {
                        prop_assert!(used + estimate.min(limit) > limit);
                        let later = now + spent.retry_after;
                        let then = tokens.clone().reserve(later, estimate, NonZeroU64::new(limit));
                        prop_assert!(then.is_ok(), "there is room at the time that is told");
                    }
                }
            }
        }
    }
}

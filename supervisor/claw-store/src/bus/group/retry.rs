//! When a failed event is tried again.

use std::time::Duration;

use super::config::RetryPolicy;

/// SplitMix64: small, fast, good enough for jitter; a seed replays exactly.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl RetryPolicy {
    /// The delay after this many failed attempts.
    pub(crate) fn delay(&self, attempts: u32, jitter: &mut Jitter) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let plain = self.base.saturating_mul(1 << doublings).min(self.max);
        let plain = u64::try_from(plain.as_millis()).unwrap_or(u64::MAX);
        let bound = plain.saturating_mul(u64::from(self.jitter_percent.min(100))) / 100;
        let offset = jitter.draw() % (bound.saturating_mul(2).saturating_add(1));
        Duration::from_millis(plain.saturating_sub(bound).saturating_add(offset))
    }

    /// Whether an event has been delivered as often as it may.
    pub(crate) fn is_spent(&self, attempts: u32) -> bool {
        attempts >= self.max_attempts.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_strays_no_further_than_allowed() {
        let policy = RetryPolicy {
            max_attempts: 9,
            base: Duration::from_millis(100),
            max: Duration::from_secs(5),
            jitter_percent: 20,
        };
        let mut jitter = Jitter::new(1);
        for (attempts, plain) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (6, 3_200),
            (7, 5_000),
            (40, 5_000),
        ] {
            for _ in 0..200 {
                let delay = policy.delay(attempts, &mut jitter).as_millis();
                let bounds = plain * 8 / 10..=plain * 12 / 10;
                assert!(bounds.contains(&delay), "{delay} after {attempts}");
            }
        }
    }

    #[test]
    fn without_jitter_the_delay_is_exact() {
        let policy = RetryPolicy {
            jitter_percent: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.delay(3, &mut Jitter::new(7)), Duration::from_secs(4));
    }
}

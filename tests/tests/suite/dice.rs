//! Random choices that can be made again: the seed is printed, and may be given.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A small generator (xorshift64*); what it must be is different each time, not secret.
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed in `CLAW_TEST_SEED`, or a new one.
    pub(crate) fn new() -> Self {
        Self::or(fresh)
    }

    /// With the seed in `CLAW_TEST_SEED`, or that one: for what is hunted for on purpose, and must
    /// not surprise whoever runs all tests.
    pub(crate) fn usual(seed: u64) -> Self {
        Self::or(|| seed)
    }

    fn or(seed: impl FnOnce() -> u64) -> Self {
        let given = std::env::var("CLAW_TEST_SEED").ok();
        let seed = given.map_or_else(seed, |text| text.parse().expect("a number"));
        eprintln!("CLAW_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % end
    }

    /// A time below `end`.
    pub(crate) fn time(&mut self, end: Duration) -> Duration {
        let end = u64::try_from(end.as_micros()).expect("a short time");
        Duration::from_micros(self.below(end))
    }
}

fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
}

//! Randomness as a value: seeded once, so that a seed and a list of events replay exactly.

use std::time::Duration;

/// SplitMix64: small, fast, good enough for jitter and for the random part of run ids.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A share of `span`, from nothing to all of it.
    pub(crate) fn share_of(&mut self, span: Duration) -> Duration {
        let share = span.as_nanos() * u128::from(self.draw() >> 32) / u128::from(u32::MAX);
        Duration::from_nanos_u128(share)
    }

    /// The next number of twice the width, for run ids.
    pub(crate) fn draw_wide(&mut self) -> u128 {
        (u128::from(self.draw()) << 64) | u128::from(self.draw())
    }
}

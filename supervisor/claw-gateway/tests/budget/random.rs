//! Chance that can be repeated.

/// The generator splitmix64 (<https://prng.di.unimi.it/splitmix64.c>).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From nothing up to `most`.
    pub(crate) fn up_to(&mut self, most: i64) -> i64 {
        let span = most.max(0).unsigned_abs() + 1;
        i64::try_from(self.next() % span).expect("not above `most`")
    }

    /// An index below `count`.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        let last = i64::try_from(count).expect("it is small") - 1;
        usize::try_from(self.up_to(last)).expect("it is not negative")
    }

    /// Whether something happens that does so this often in a thousand times.
    pub(crate) fn happens(&mut self, in_a_thousand: i64) -> bool {
        self.up_to(999) < in_a_thousand
    }
}

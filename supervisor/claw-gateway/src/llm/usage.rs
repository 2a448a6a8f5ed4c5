//! What a call to a model used, in one form for all providers.

/// The tokens and extras of one call. No token is in two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Usage {
    /// Prompt tokens that came from no cache and went to none.
    pub input: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to a cache that lives for five minutes, or as long as the provider's
    /// usual one.
    pub cache_write_5m: u64,
    /// Prompt tokens written to a cache that lives for an hour.
    pub cache_write_1h: u64,
    /// Tokens of the answer without those of [`reasoning`](Self::reasoning).
    pub output: u64,
    /// Tokens of thought that the answer does not show.
    pub reasoning: u64,
    /// Searches the provider made.
    pub searches: u64,
}

impl Usage {
    /// All prompt tokens.
    #[must_use]
    pub const fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// All tokens of the answer.
    #[must_use]
    pub const fn answer(&self) -> u64 {
        self.output.saturating_add(self.reasoning)
    }
}

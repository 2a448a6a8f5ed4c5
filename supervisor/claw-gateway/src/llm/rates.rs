//! What the tokens of a model cost, and what a call can cost at most.

use std::collections::BTreeMap;

use super::money::Money;
use super::usage::Usage;

/// Prices per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TokenRates {
    /// Of the prompt, neither from a cache nor for one.
    pub input: Money,
    /// Of the answer.
    pub output: Money,
    /// Of the prompt, from a cache.
    pub cache_read: Money,
    /// Of the prompt, into a cache that lives for minutes.
    pub cache_write_5m: Money,
    /// Of the prompt, into a cache that lives for an hour.
    pub cache_write_1h: Money,
    /// Of thought.
    pub reasoning: Money,
}

/// What holds for requests with long prompts. All tokens of such a request cost the higher rates,
/// not only those beyond the threshold
/// (<https://ai.google.dev/gemini-api/docs/pricing>, <https://developers.openai.com/api/docs/pricing>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LongPrompt {
    /// It holds for prompts of more tokens than this, cached ones included.
    pub above: u64,
    /// What it costs then.
    pub rates: TokenRates,
}

/// The rates of one service tier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tariff {
    base: TokenRates,
    /// By ascending threshold.
    long: Vec<LongPrompt>,
}

/// What one model costs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rates {
    /// What is charged unless the provider names another tier.
    pub standard: Tariff,
    /// By the provider's name of a service tier, such as `flex`, `priority` and `batch`.
    pub service: BTreeMap<String, Tariff>,
    /// For each request.
    pub per_request: Money,
    /// For each search the provider makes, where that is known.
    pub per_search: Option<Money>,
}

/// Which service tiers a request may end up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceTiers<'a> {
    /// Any: the request leaves it to the account's settings, which nobody here knows.
    Any,
    /// The standard one or this one: a provider that cannot keep to the tier it was asked for
    /// serves, and charges, as standard.
    StandardOr(&'a str),
}

/// The providers' names of the tier with the standard rates, and of leaving it to the account.
const STANDARD_TIERS: [&str; 4] = ["auto", "default", "standard", "standard_only"];

/// What a call uses at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bound<'a> {
    /// Tokens of the prompt, cached or not.
    pub prompt: u64,
    /// Tokens of the answer and of thought together.
    pub answer: u64,
    /// Searches.
    pub searches: u64,
    /// Where it may be served.
    pub service: ServiceTiers<'a>,
}

/// What has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unpriced<'a> {
    /// The service tier.
    Tier(&'a str),
    /// The provider's searches.
    Searches,
}

impl TokenRates {
    /// Rates without a cache: reading from one and writing to one cost as much as any input, and
    /// thought as much as any output.
    #[must_use]
    pub const fn flat(input: Money, output: Money) -> Self {
        Self {
            input,
            output,
            cache_read: input,
            cache_write_5m: input,
            cache_write_1h: input,
            reasoning: output,
        }
    }

    fn cost(&self, usage: &Usage) -> Money {
        let parts = [
            self.input.times(usage.input),
            self.cache_read.times(usage.cache_read),
            self.cache_write_5m.times(usage.cache_write_5m),
            self.cache_write_1h.times(usage.cache_write_1h),
            self.output.times(usage.output),
            self.reasoning.times(usage.reasoning),
        ];
        parts.into_iter().sum()
    }

    fn dearest_input(&self) -> Money {
        self.input
            .max(self.cache_read)
            .max(self.cache_write_5m)
            .max(self.cache_write_1h)
    }

    fn dearest_output(&self) -> Money {
        self.output.max(self.reasoning)
    }
}

impl Tariff {
    /// A tariff of these rates, and others for long prompts.
    #[must_use]
    pub fn new(base: TokenRates, mut long: Vec<LongPrompt>) -> Self {
        long.sort_by_key(|step| step.above);
        Self { base, long }
    }

    /// The rates of prompts that are not long.
    #[must_use]
    pub const fn base(&self) -> &TokenRates {
        &self.base
    }

    /// What holds for long prompts, by ascending threshold.
    #[must_use]
    pub fn long(&self) -> &[LongPrompt] {
        &self.long
    }

    /// The rates of a prompt of so many tokens.
    fn at(&self, prompt: u64) -> &TokenRates {
        let step = self.long.iter().rfind(|step| prompt > step.above);
        step.map_or(&self.base, |step| &step.rates)
    }

    /// The rates of all prompts of up to so many tokens.
    fn up_to(&self, prompt: u64) -> impl Iterator<Item = &TokenRates> {
        let reached = self.long.iter().take_while(move |step| prompt > step.above);
        std::iter::once(&self.base).chain(reached.map(|step| &step.rates))
    }
}

impl Rates {
    /// The same price for all input, and another for all output.
    #[must_use]
    pub fn flat(input: Money, output: Money) -> Self {
        Self {
            standard: Tariff::new(TokenRates::flat(input, output), Vec::new()),
            ..Self::default()
        }
    }

    /// What a call has cost. A service tier that has no rates of its own costs the standard ones.
    #[must_use]
    pub fn cost(&self, usage: &Usage, service_tier: Option<&str>) -> Money {
        let named = service_tier.and_then(|name| self.service.get(name));
        let tariff = named.unwrap_or(&self.standard);
        tariff
            .at(usage.prompt())
            .cost(usage)
            .plus(self.per_request)
            .plus(self.searching(usage.searches))
    }

    /// What of a call within the bound has no price here: its searches, or the service tier it asks
    /// for. Without one the amounts below would be too low. Of a model that costs nothing all has.
    #[must_use]
    pub fn unpriced<'a>(&self, bound: &Bound<'a>) -> Option<Unpriced<'a>> {
        if *self == Self::default() {
            return None;
        }
        match bound.service {
            ServiceTiers::StandardOr(tier)
                if !STANDARD_TIERS.contains(&tier) && !self.service.contains_key(tier) =>
            {
                Some(Unpriced::Tier(tier))
            }
            ServiceTiers::Any | ServiceTiers::StandardOr(_) => {
                let is_unknown = bound.searches > 0 && self.per_search.is_none();
                is_unknown.then_some(Unpriced::Searches)
            }
        }
    }

    /// What a call within the bound can cost at most, however its tokens are divided.
    #[must_use]
    pub fn most(&self, bound: &Bound<'_>) -> Money {
        let dearest = self.reachable(bound).map(|rates| {
            let prompt = rates.dearest_input().times(bound.prompt);
            prompt.plus(rates.dearest_output().times(bound.answer))
        });
        let dearest = dearest.max().unwrap_or(Money::ZERO);
        dearest.plus(self.fees(bound))
    }

    /// How many tokens the answer may have, at most those of the bound, for [`most`](Self::most)
    /// to stay within `free`. Without an answer when not even the prompt fits.
    #[must_use]
    pub fn answer_within(&self, free: Money, bound: &Bound<'_>) -> Option<u64> {
        let fits = self.reachable(bound).map(|rates| {
            let prompt = rates.dearest_input().times(bound.prompt);
            let left = free.minus(self.fees(bound).plus(prompt)).pico();
            let left = u64::try_from(left).ok()?;
            let each = rates.dearest_output().pico().unsigned_abs();
            Some(left.checked_div(each).unwrap_or(u64::MAX))
        });
        let least = fits.min().flatten()?;
        Some(least.min(bound.answer))
    }

    fn fees(&self, bound: &Bound<'_>) -> Money {
        self.per_request.plus(self.searching(bound.searches))
    }

    fn searching(&self, searches: u64) -> Money {
        self.per_search
            .map_or(Money::ZERO, |each| each.times(searches))
    }

    fn reachable<'a>(&'a self, bound: &'a Bound<'_>) -> impl Iterator<Item = &'a TokenRates> {
        let named = self.service.iter().filter(|(name, _)| match bound.service {
            ServiceTiers::Any => true,
            ServiceTiers::StandardOr(asked) => name.as_str() == asked,
        });
        std::iter::once(&self.standard)
            .chain(named.map(|(_, tariff)| tariff))
            .flat_map(|tariff| tariff.up_to(bound.prompt))
    }
}

#[cfg(test)]
mod tests;

//! New prices on top of those that are there.

use std::fmt;

use super::super::money::Money;
use super::super::rates::{Rates, Tariff, TokenRates};
use super::table::{Entry, PriceTable};

/// A price that changes by more than this factor is taken for a mistake of the unit.
pub const LARGE_CHANGE: i64 = 10;

/// Whether large changes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargeChanges {
    /// They are refused; the old price stays.
    Refuse,
    /// They are taken.
    Take,
}

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Models that were unknown.
    pub added: Vec<Change>,
    /// Models that cost something else now.
    pub changed: Vec<Change>,
    /// Models whose old prices stay, because the new ones are too different.
    pub refused: Vec<Change>,
    /// How many models cost what they did.
    pub unchanged: usize,
}

/// A model with other prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The provider.
    pub provider: String,
    /// Its id of the model.
    pub model: String,
    /// What it cost, if that was known.
    pub before: Option<Rates>,
    /// What it costs now.
    pub after: Rates,
}

impl PriceTable {
    /// Puts what is known about models on top of what was. Models, service tiers, thresholds and
    /// fees that are not named stay as they are.
    pub fn merge(&mut self, entries: impl IntoIterator<Item = Entry>, large: LargeChanges) -> Diff {
        let mut diff = Diff::default();
        for new in entries {
            let old = self.get(&new.provider, &new.model);
            let merged = old.map_or_else(|| new.clone(), |old| on_top(old, new.clone()));
            let change = Change {
                provider: new.provider,
                model: new.model,
                before: old.map(|old| old.rates.clone()),
                after: merged.rates.clone(),
            };
            match &change.before {
                None => diff.added.push(change),
                Some(before) if *before == change.after => diff.unchanged += 1,
                Some(before) => {
                    if large == LargeChanges::Refuse && is_large(before, &change.after) {
                        diff.refused.push(change);
                        continue;
                    }
                    diff.changed.push(change);
                }
            }
            self.put(merged);
        }
        diff
    }
}

fn on_top(old: &Entry, mut new: Entry) -> Entry {
    let aliases = old.aliases.iter().filter(|id| !new.aliases.contains(id));
    let aliases: Vec<String> = aliases.cloned().collect();
    new.aliases.extend(aliases);
    let rates = &mut new.rates;
    rates.standard = with_steps_of(&rates.standard, &old.rates.standard);
    for (tier, tariff) in &old.rates.service {
        let known = rates.service.get(tier);
        let merged = known.map_or_else(|| tariff.clone(), |known| with_steps_of(known, tariff));
        rates.service.insert(tier.clone(), merged);
    }
    // A table that does not know of fees does not say that there are none.
    if rates.per_request == Money::ZERO {
        rates.per_request = old.rates.per_request;
    }
    rates.per_search = rates.per_search.or(old.rates.per_search);
    Entry {
        max_input: new.max_input.or(old.max_input),
        max_output: new.max_output.or(old.max_output),
        max_per_image: new.max_per_image.or(old.max_per_image),
        valid_from: new.valid_from.or(old.valid_from),
        source: new.source.or_else(|| old.source.clone()),
        ..new
    }
}

/// The tariff, with what the old one has for long prompts where the new one names no threshold.
fn with_steps_of(new: &Tariff, old: &Tariff) -> Tariff {
    let named = |above: u64| new.long().iter().any(|step| step.above == above);
    let kept = old.long().iter().filter(|step| !named(step.above));
    let long = new.long().iter().chain(kept).copied();
    Tariff::new(*new.base(), long.collect())
}

fn is_large(before: &Rates, after: &Rates) -> bool {
    let searches = before.per_search.zip(after.per_search);
    let fees = std::iter::once((before.per_request, after.per_request)).chain(searches);
    // A fee that is new is no mistake of the unit.
    let fees = fees.filter(|(before, _)| *before > Money::ZERO);
    let of_tiers = before.service.iter().filter_map(|(tier, tariff)| {
        let after = after.service.get(tier)?;
        Some((tariff, after))
    });
    let tariffs = std::iter::once((&before.standard, &after.standard)).chain(of_tiers);
    tariffs
        .flat_map(|(before, after)| tokens(before).zip(tokens(after)))
        .chain(fees)
        .any(|(before, after)| far_apart(before, after))
}

fn tokens(tariff: &Tariff) -> impl Iterator<Item = Money> {
    let long = tariff.long().iter().map(|step| &step.rates);
    let all = std::iter::once(tariff.base()).chain(long);
    all.flat_map(|rates: &TokenRates| {
        [
            rates.input,
            rates.output,
            rates.cache_read,
            rates.cache_write_5m,
            rates.cache_write_1h,
            rates.reasoning,
        ]
    })
}

fn far_apart(one: Money, other: Money) -> bool {
    let wide = |money: Money| i128::from(money.pico());
    let (less, more) = (wide(one.min(other)), wide(one.max(other)));
    more > less * i128::from(LARGE_CHANGE)
}

type PriceOf = fn(&TokenRates) -> Money;

/// A line for each model, with USD per million tokens.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.added {
            writeln!(f, "+ {change}")?;
        }
        for change in &self.changed {
            writeln!(f, "~ {change}")?;
        }
        for change in &self.refused {
            writeln!(f, "! {change} (more than {LARGE_CHANGE} times, not taken)")?;
        }
        write!(f, "{} unchanged", self.unchanged)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:", self.provider, self.model)?;
        let before = self.before.as_ref().map(|rates| rates.standard.base());
        let after = self.after.standard.base();
        let prices: [(&str, PriceOf); 6] = [
            ("input", |rates| rates.input),
            ("output", |rates| rates.output),
            ("cache read", |rates| rates.cache_read),
            ("cache write", |rates| rates.cache_write_5m),
            ("cache write 1h", |rates| rates.cache_write_1h),
            ("reasoning", |rates| rates.reasoning),
        ];
        let mut told = "";
        for (name, price) in prices {
            let usd = |rates: &TokenRates| price(rates).times(1_000_000);
            match before.map(usd) {
                None if name == "input" || name == "output" => {
                    write!(f, "{told} {name} {}", usd(after))?;
                }
                Some(before) if before != usd(after) => {
                    write!(f, "{told} {name} {before} -> {}", usd(after))?;
                }
                None | Some(_) => continue,
            }
            told = ",";
        }
        if told.is_empty() {
            f.write_str(" other prices of long prompts, service tiers or fees")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

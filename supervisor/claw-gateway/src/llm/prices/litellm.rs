//! LiteLLM's table: an object with a row for each model, in USD per token, whose field names carry
//! the threshold and the service tier, as in `input_cost_per_token_above_200k_tokens_priority`
//! (<https://github.com/BerriAI/litellm>, `model_prices_and_context_window.json`).

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::super::money::Money;
use super::super::rates::{LongPrompt, Rates, Tariff, TokenRates};
use super::import::{Import, NotATable, Skipped, SkippedBecause, per_token};
use super::table::Entry;

/// The row that explains the format.
const EXPLANATION: &str = "sample_spec";

/// Their name of a provider and ours, where they differ.
const PROVIDERS: [(&str, &str); 5] = [
    ("cohere_chat", "cohere"),
    ("fireworks_ai", "fireworks"),
    ("gemini", "google"),
    ("text-completion-openai", "openai"),
    ("together_ai", "together"),
];

/// Their suffix of a service tier and the provider's name of it.
const SERVICE_TIERS: [(&str, &str); 4] = [
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
    ("_ultrafast", "ultrafast"),
];

/// The provider whose models run on machines of one's own.
const LOCAL: &str = "ollama";

/// Reads the table. `on` is the day on which it was current.
///
/// # Errors
///
/// It is not an object of JSON. Rows that are of no use are skipped, with the reason.
pub fn read(text: &str, on: Date) -> Result<Import, NotATable> {
    let rows: BTreeMap<String, Value> = serde_json::from_str(text)?;
    let mut import = Import::default();
    for (name, row) in rows {
        if name == EXPLANATION {
            continue;
        }
        match entry(&name, &row, on) {
            Ok(entry) => import.entries.push(entry),
            Err(because) => import.skipped.push(Skipped { row: name, because }),
        }
    }
    Ok(import)
}

fn entry(name: &str, row: &Value, on: Date) -> Result<Entry, SkippedBecause> {
    let row = row.as_object().ok_or(SkippedBecause::NotAModel)?;
    let theirs = text(row, "litellm_provider").ok_or(SkippedBecause::NotAModel)?;
    let ours = PROVIDERS.iter().find(|(name, _)| *name == theirs);
    let provider = ours.map_or(theirs, |(_, ours)| ours);
    let kind = match text(row, "mode") {
        Some("chat" | "responses" | "completion") => Kind::Writes,
        Some("embedding") => Kind::Embeds,
        other => return Err(SkippedBecause::NotText(other.unwrap_or("nothing").into())),
    };
    let prices = Prices::read(row)?;
    let rates = prices.rates(kind, provider)?;
    let prefix = name.strip_prefix(theirs);
    let model = prefix.and_then(|rest| rest.strip_prefix('/'));
    let count = |field| row.get(field)?.as_u64();
    Ok(Entry {
        provider: provider.to_owned(),
        model: model.unwrap_or(name).to_owned(),
        aliases: Vec::new(),
        rates,
        // `max_tokens` is an older name for the most of an answer, and says nothing of the prompt.
        max_input: count("max_input_tokens"),
        max_output: count("max_output_tokens").or_else(|| count("max_tokens")),
        max_per_image: None,
        valid_from: None,
        source: text(row, "source").map(str::to_owned),
        checked_on: on,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Writes,
    Embeds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rate {
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    Reasoning,
}

/// Longer names before those that they begin with.
const FIELDS: [(&str, Rate); 6] = [
    ("input_cost_per_token", Rate::Input),
    ("output_cost_per_token", Rate::Output),
    ("output_cost_per_reasoning_token", Rate::Reasoning),
    ("cache_read_input_token_cost", Rate::CacheRead),
    (
        "cache_creation_input_token_cost_above_1hr",
        Rate::CacheWrite1h,
    ),
    ("cache_creation_input_token_cost", Rate::CacheWrite5m),
];

/// Where a price holds: above so many tokens of the prompt, and in which service tier.
type Place<'a> = (u64, Option<&'a str>);

/// The prices of a row.
#[derive(Default)]
struct Prices {
    tokens: BTreeMap<Place<'static>, BTreeMap<Rate, Money>>,
    per_request: Money,
    per_search: Option<Money>,
}

impl Prices {
    fn read(row: &Map<String, Value>) -> Result<Self, SkippedBecause> {
        let mut prices = Self::default();
        for (field, value) in row {
            if value.is_null() {
                continue;
            }
            let wrong = |source| SkippedBecause::NotAPrice {
                field: field.clone(),
                source,
            };
            if let Some((rate, place)) = named(field) {
                let price = per_token(value).map_err(wrong)?;
                prices.tokens.entry(place).or_default().insert(rate, price);
            } else if field == "input_cost_per_request" {
                prices.per_request = per_token(value).map_err(wrong)?;
            } else if field == "search_context_cost_per_query"
                && let Some(sizes) = value.as_object()
            {
                for size in sizes.values() {
                    let each = per_token(size).map_err(wrong)?;
                    prices.per_search = prices.per_search.max(Some(each));
                }
            }
        }
        Ok(prices)
    }

    fn rates(&self, kind: Kind, provider: &str) -> Result<Rates, SkippedBecause> {
        let base = |rate| self.at(rate, (0, None));
        let input = base(Rate::Input).ok_or(SkippedBecause::NoPrice("input_cost_per_token"))?;
        let output = match (base(Rate::Output), kind) {
            (Some(output), Kind::Writes | Kind::Embeds) => output,
            (None, Kind::Embeds) => Money::ZERO,
            (None, Kind::Writes) => {
                return Err(SkippedBecause::NoPrice("output_cost_per_token"));
            }
        };
        if input == Money::ZERO && output == Money::ZERO && provider != LOCAL {
            return Err(SkippedBecause::Free);
        }
        let service = SERVICE_TIERS.iter().filter(|(_, name)| {
            let mut places = self.tokens.keys();
            places.any(|(_, tier)| *tier == Some(*name))
        });
        Ok(Rates {
            standard: self.tariff(None),
            service: service
                .map(|(_, name)| ((*name).to_owned(), self.tariff(Some(*name))))
                .collect(),
            per_request: self.per_request,
            per_search: self.per_search,
        })
    }

    fn tariff(&self, tier: Option<&'static str>) -> Tariff {
        let mut steps: Vec<u64> = self.tokens.keys().map(|(above, _)| *above).collect();
        steps.retain(|above| *above > 0);
        steps.dedup();
        let long = steps.into_iter().map(|above| LongPrompt {
            above,
            rates: self.token_rates((above, tier)),
        });
        Tariff::new(self.token_rates((0, tier)), long.collect())
    }

    fn token_rates(&self, place: Place<'static>) -> TokenRates {
        let or = |rate, usual| self.dearest(rate, place).unwrap_or(usual);
        let input = or(Rate::Input, Money::ZERO);
        let output = or(Rate::Output, Money::ZERO);
        let cache_write_5m = or(Rate::CacheWrite5m, input);
        TokenRates {
            input,
            output,
            cache_read: or(Rate::CacheRead, input),
            cache_write_5m,
            cache_write_1h: or(Rate::CacheWrite1h, input.max(cache_write_5m)),
            reasoning: or(Rate::Reasoning, output),
        }
    }

    fn at(&self, rate: Rate, place: Place<'static>) -> Option<Money> {
        self.tokens.get(&place)?.get(&rate).copied()
    }

    /// The price of a place or, where it has none, the dearer of those of the same threshold and of
    /// the same tier: an amount that is held must not be too low.
    fn dearest(&self, rate: Rate, (above, tier): Place<'static>) -> Option<Money> {
        let own = self.at(rate, (above, tier));
        let around = self.at(rate, (above, None)).max(self.at(rate, (0, tier)));
        own.or(around).or(self.at(rate, (0, None)))
    }
}

/// Which price a field names, if it is one for text tokens.
fn named(field: &str) -> Option<(Rate, Place<'static>)> {
    FIELDS.iter().find_map(|(name, rate)| {
        let rest = field.strip_prefix(name)?;
        let tiers = SERVICE_TIERS.iter();
        let tier = tiers.map(|(suffix, name)| Some((rest.strip_suffix(suffix)?, *name)));
        let (rest, tier) = match tier.flatten().next() {
            Some((rest, tier)) => (rest, Some(tier)),
            None => (rest, None),
        };
        if rest.is_empty() {
            return Some((*rate, (0, tier)));
        }
        let thousands = rest.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
        let thousands: u64 = thousands.parse().ok()?;
        Some((*rate, (thousands.checked_mul(1_000)?, tier)))
    })
}

fn text<'a>(row: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    row.get(field)?.as_str()
}

#[cfg(test)]
mod tests;

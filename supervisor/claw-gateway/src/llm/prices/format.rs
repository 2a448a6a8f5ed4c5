//! How rates and tables are written: JSON, in USD per million tokens.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

use super::super::money::Money;
use super::super::rates::{LongPrompt, Rates, Tariff, TokenRates};
use super::import::NotATable;
use super::table::Entry;

/// Tokens for which prices are told.
const MILLION: i64 = 1_000_000;

/// Why a text is not what [`rates_to_json`] writes.
#[derive(Debug, thiserror::Error)]
#[error("these are not rates")]
pub struct NotRates(#[from] serde_json::Error);

/// Writes rates, such as the journal keeps with each call.
#[must_use]
pub fn rates_to_json(rates: &Rates) -> String {
    serde_json::to_string(&RatesRow::from(rates)).expect("there is nothing in it that JSON has not")
}

/// Reads rates.
///
/// # Errors
///
/// They were not written by [`rates_to_json`].
pub fn rates_from_json(text: &str) -> Result<Rates, NotRates> {
    let row: RatesRow = serde_json::from_str(text)?;
    Ok(row.into())
}

pub(super) fn read(text: &str) -> Result<impl Iterator<Item = Entry>, NotATable> {
    let rows: Vec<EntryRow> = serde_json::from_str(text)?;
    Ok(rows.into_iter().map(Entry::from))
}

pub(super) fn write<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let lines: Vec<String> = entries
        .map(|entry| {
            serde_json::to_string(&EntryRow::from(entry))
                .expect("there is nothing in it that JSON has not")
        })
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryRow {
    provider: String,
    model: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    rates: RatesRow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_input: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_output: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_per_image: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_from: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    checked_on: Date,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RatesRow {
    tokens: TariffRow,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    service: BTreeMap<String, TariffRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_request: Option<Usd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_search: Option<Usd>,
}

/// The prices of short prompts first, then those of longer ones.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Vec<TokensRow>", into = "Vec<TokensRow>")]
struct TariffRow {
    base: TokensRow,
    long: Vec<(u64, TokensRow)>,
}

/// The prices of prompts of more than so many tokens. What is left out costs as much as any input
/// or output.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<u64>,
    input: PerMillion,
    output: PerMillion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_read: Option<PerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_write_5m: Option<PerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_write_1h: Option<PerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning: Option<PerMillion>,
}

/// The price of a token, told for a million of them.
#[derive(Clone, Copy, PartialEq)]
struct PerMillion(Money);

#[derive(Clone, Copy)]
struct Usd(Money);

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: Result<Number, _> = self.0.to_string().parse();
        number
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        let money: Money = number.to_string().parse().map_err(D::Error::custom)?;
        if money.is_negative() {
            return Err(D::Error::custom("a price is not less than nothing"));
        }
        Ok(Self(money))
    }
}

impl Serialize for PerMillion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Usd(self.0.times(MILLION.unsigned_abs())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PerMillion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Usd(money) = Usd::deserialize(deserializer)?;
        if money.pico() % MILLION != 0 {
            return Err(D::Error::custom(
                "a price finer than 0.000001 USD a million",
            ));
        }
        Ok(Self(Money::from_pico(money.pico() / MILLION)))
    }
}

impl TokensRow {
    fn new(above: Option<u64>, rates: &TokenRates) -> Self {
        let unlike = |rate: Money, usual: Money| (rate != usual).then_some(PerMillion(rate));
        Self {
            above,
            input: PerMillion(rates.input),
            output: PerMillion(rates.output),
            cache_read: unlike(rates.cache_read, rates.input),
            cache_write_5m: unlike(rates.cache_write_5m, rates.input),
            cache_write_1h: unlike(rates.cache_write_1h, rates.input),
            reasoning: unlike(rates.reasoning, rates.output),
        }
    }

    fn rates(&self) -> TokenRates {
        let or = |rate: Option<PerMillion>, usual: PerMillion| rate.unwrap_or(usual).0;
        TokenRates {
            input: self.input.0,
            output: self.output.0,
            cache_read: or(self.cache_read, self.input),
            cache_write_5m: or(self.cache_write_5m, self.input),
            cache_write_1h: or(self.cache_write_1h, self.input),
            reasoning: or(self.reasoning, self.output),
        }
    }
}

impl TryFrom<Vec<TokensRow>> for TariffRow {
    type Error = &'static str;

    fn try_from(rows: Vec<TokensRow>) -> Result<Self, Self::Error> {
        let mut rows = rows.into_iter();
        let base = rows.next().filter(|row| row.above.is_none());
        let long = rows.map(|row| Some((row.above?, row)));
        let long: Option<Vec<_>> = long.collect();
        match (base, long) {
            (Some(base), Some(long)) => Ok(Self { base, long }),
            (None, _) | (_, None) => Err("the first prices, and no others, are without `above`"),
        }
    }
}

impl From<TariffRow> for Vec<TokensRow> {
    fn from(row: TariffRow) -> Self {
        let long = row.long.into_iter().map(|(_, row)| row);
        std::iter::once(row.base).chain(long).collect()
    }
}

impl From<&Tariff> for TariffRow {
    fn from(tariff: &Tariff) -> Self {
        let long = tariff.long().iter().map(|step| {
            let row = TokensRow::new(Some(step.above), &step.rates);
            (step.above, row)
        });
        Self {
            base: TokensRow::new(None, tariff.base()),
            long: long.collect(),
        }
    }
}

impl From<&TariffRow> for Tariff {
    fn from(row: &TariffRow) -> Self {
        let long = row.long.iter().map(|(above, row)| LongPrompt {
            above: *above,
            rates: row.rates(),
        });
        Self::new(row.base.rates(), long.collect())
    }
}

impl From<&Rates> for RatesRow {
    fn from(rates: &Rates) -> Self {
        let fee = |fee: Money| (fee != Money::ZERO).then_some(Usd(fee));
        let service = rates.service.iter();
        Self {
            tokens: TariffRow::from(&rates.standard),
            service: service
                .map(|(name, tariff)| (name.clone(), TariffRow::from(tariff)))
                .collect(),
            per_request: fee(rates.per_request),
            per_search: rates.per_search.map(Usd),
        }
    }
}

impl From<RatesRow> for Rates {
    fn from(row: RatesRow) -> Self {
        let fee = |fee: Option<Usd>| fee.map_or(Money::ZERO, |Usd(fee)| fee);
        let service = row.service.iter();
        Self {
            standard: Tariff::from(&row.tokens),
            service: service
                .map(|(name, row)| (name.clone(), Tariff::from(row)))
                .collect(),
            per_request: fee(row.per_request),
            per_search: row.per_search.map(|Usd(fee)| fee),
        }
    }
}

impl From<&Entry> for EntryRow {
    fn from(entry: &Entry) -> Self {
        Self {
            provider: entry.provider.clone(),
            model: entry.model.clone(),
            aliases: entry.aliases.clone(),
            rates: RatesRow::from(&entry.rates),
            max_input: entry.max_input,
            max_output: entry.max_output,
            max_per_image: entry.max_per_image,
            valid_from: entry.valid_from,
            source: entry.source.clone(),
            checked_on: entry.checked_on,
        }
    }
}

impl From<EntryRow> for Entry {
    fn from(row: EntryRow) -> Self {
        Self {
            provider: row.provider,
            model: row.model,
            aliases: row.aliases,
            rates: row.rates.into(),
            max_input: row.max_input,
            max_output: row.max_output,
            max_per_image: row.max_per_image,
            valid_from: row.valid_from,
            source: row.source,
            checked_on: row.checked_on,
        }
    }
}

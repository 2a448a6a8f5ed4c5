//! The table itself.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::super::rates::Rates;
use super::format;
use super::import::NotATable;

/// From this age on a price should be looked up again, in days.
pub const STALE_AFTER_DAYS: i32 = 90;

/// The model id of a row that holds for all models of its provider without rows of their own.
pub const ANY_MODEL: &str = "*";

/// What is known about one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The provider, in lower case.
    pub provider: String,
    /// The provider's id of the model.
    pub model: String,
    /// Other ids of the provider for it.
    pub aliases: Vec<String>,
    /// What it costs.
    pub rates: Rates,
    /// Tokens of a prompt at most.
    pub max_input: Option<u64>,
    /// Tokens of an answer at most, with those of thought.
    pub max_output: Option<u64>,
    /// Tokens that one image in a prompt counts at most.
    pub max_per_image: Option<u64>,
    /// Since when it costs that.
    pub valid_from: Option<Date>,
    /// Where it says so.
    pub source: Option<String>,
    /// When somebody looked there.
    pub checked_on: Date,
}

/// Prices by provider and model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceTable {
    entries: BTreeMap<String, BTreeMap<String, Entry>>,
    /// By provider and alias, the id of the model.
    aliases: BTreeMap<String, BTreeMap<String, String>>,
}

impl Entry {
    /// How many days ago somebody looked.
    #[must_use]
    pub fn age(&self, on: Date) -> i32 {
        on.duration_since(self.checked_on)
            .as_hours()
            .div_euclid(24)
            .try_into()
            .unwrap_or(i32::MAX)
    }
}

impl PriceTable {
    /// The table that comes with the program.
    ///
    /// # Panics
    ///
    /// Never: the file is part of the program, and a test reads it.
    #[must_use]
    pub fn shipped() -> Self {
        Self::from_json(include_str!("shipped.json")).expect("a test reads this very file")
    }

    /// Reads a table in the format of the shipped one: an array with an object for each model.
    ///
    /// # Errors
    ///
    /// It is not in that format.
    pub fn from_json(text: &str) -> Result<Self, NotATable> {
        let mut table = Self::default();
        for entry in format::read(text)? {
            table.put(entry);
        }
        Ok(table)
    }

    /// Writes it in the format of the shipped one, a model in each line.
    #[must_use]
    pub fn to_json(&self) -> String {
        format::write(self.entries())
    }

    /// What is known about a model of a provider: by its id, by another id of the provider, by the
    /// id without a date at its end, or by what holds for all models of the provider.
    #[must_use]
    pub fn lookup(&self, provider: &str, model: &str) -> Option<&Entry> {
        let named = |id: &str| {
            let alias = self.aliases.get(provider).and_then(|ids| ids.get(id));
            let id = alias.map_or(id, String::as_str);
            self.entries.get(provider)?.get(id)
        };
        named(model)
            .or_else(|| named(undated(model)?))
            .or_else(|| named(ANY_MODEL))
    }

    /// All rows, by provider and model.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().flat_map(BTreeMap::values)
    }

    /// How many days ago somebody looked at any of these prices last.
    #[must_use]
    pub fn age(&self, on: Date) -> Option<i32> {
        self.entries().map(|entry| entry.age(on)).min()
    }

    pub(super) fn get(&self, provider: &str, model: &str) -> Option<&Entry> {
        self.entries.get(provider)?.get(model)
    }

    /// Puts a row in the place of the one with its id. An id never stands for another model than
    /// the one of that name.
    pub(super) fn put(&mut self, entry: Entry) {
        let models = self.entries.entry(entry.provider.clone()).or_default();
        let ids = self.aliases.entry(entry.provider.clone()).or_default();
        ids.remove(&entry.model);
        for alias in &entry.aliases {
            if !models.contains_key(alias) {
                ids.insert(alias.clone(), entry.model.clone());
            }
        }
        models.insert(entry.model.clone(), entry);
    }
}

/// The id without the date at its end: `-2026-11-20`, `-20261120` or `@20261120`.
fn undated(model: &str) -> Option<&str> {
    ["-dddd-dd-dd", "-dddddddd", "@dddddddd"]
        .iter()
        .find_map(|shape| without_suffix(model, shape.as_bytes()))
}

/// In a shape, `d` stands for a digit.
fn without_suffix<'a>(model: &'a str, shape: &[u8]) -> Option<&'a str> {
    let at = model.len().checked_sub(shape.len())?;
    let suffix = &model.as_bytes()[at..];
    let fits = suffix.iter().zip(shape).all(|(byte, wanted)| match wanted {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    (fits && at > 0).then(|| &model[..at])
}

#[cfg(test)]
mod tests;

//! The table of models.dev: an object of providers, each with an object of models, in USD per
//! million tokens (<https://models.dev/api.json>).

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::super::money::Money;
use super::super::rates::{LongPrompt, Rates, Tariff, TokenRates};
use super::import::{Import, NotATable, Skipped, SkippedBecause, per_million};
use super::table::Entry;

/// Their name of a provider and ours, where they differ.
const PROVIDERS: [(&str, &str); 2] = [("fireworks-ai", "fireworks"), ("togetherai", "together")];

/// The one threshold that they know, in tokens of the prompt.
const LONG: u64 = 200_000;

/// Reads the table. `on` is the day on which it was current.
///
/// # Errors
///
/// It is not an object of JSON. Rows that are of no use are skipped, with the reason.
pub fn read(text: &str, on: Date) -> Result<Import, NotATable> {
    let providers: BTreeMap<String, Value> = serde_json::from_str(text)?;
    let mut import = Import::default();
    for (theirs, provider) in providers {
        let Some(models) = provider.get("models").and_then(Value::as_object) else {
            import.skipped.push(Skipped {
                row: theirs,
                because: SkippedBecause::NotAModel,
            });
            continue;
        };
        let ours = PROVIDERS.iter().find(|(name, _)| *name == theirs);
        let ours = ours.map_or(theirs.as_str(), |(_, ours)| ours);
        for (model, row) in models {
            match entry((ours, model), row, on) {
                Ok(entry) => import.entries.push(entry),
                Err(because) => import.skipped.push(Skipped {
                    row: format!("{theirs}/{model}"),
                    because,
                }),
            }
        }
    }
    Ok(import)
}

fn entry((provider, model): (&str, &str), row: &Value, on: Date) -> Result<Entry, SkippedBecause> {
    let row = row.as_object().ok_or(SkippedBecause::NotAModel)?;
    let kinds = row
        .get("modalities")
        .and_then(|kinds| kinds["output"].as_array());
    if let Some(kinds) = kinds
        && !kinds.iter().any(|kind| kind == "text")
    {
        let kinds = kinds.iter().filter_map(Value::as_str);
        return Err(SkippedBecause::NotText(
            kinds.collect::<Vec<_>>().join(", "),
        ));
    }
    let cost = row.get("cost").and_then(Value::as_object);
    let cost = cost.ok_or(SkippedBecause::NoPrice("cost"))?;
    let base = token_rates(cost)?;
    if base.input == Money::ZERO && base.output == Money::ZERO {
        return Err(SkippedBecause::Free);
    }
    let long = cost.get("context_over_200k").and_then(Value::as_object);
    let long = long
        .map(token_rates)
        .transpose()?
        .map(|rates| LongPrompt { above: LONG, rates });
    let limit = |name: &str| row.get("limit")?.get(name)?.as_u64();
    Ok(Entry {
        provider: provider.to_owned(),
        model: model.to_owned(),
        aliases: Vec::new(),
        rates: Rates {
            standard: Tariff::new(base, long.into_iter().collect()),
            ..Rates::default()
        },
        max_input: limit("input").or_else(|| limit("context")),
        max_output: limit("output"),
        max_per_image: None,
        valid_from: None,
        source: None,
        checked_on: on,
    })
}

fn token_rates(cost: &Map<String, Value>) -> Result<TokenRates, SkippedBecause> {
    let price = |field: &str| {
        let value = cost.get(field).filter(|value| !value.is_null());
        let price = value.map(per_million).transpose();
        price.map_err(|source| SkippedBecause::NotAPrice {
            field: field.to_owned(),
            source,
        })
    };
    let input = price("input")?.ok_or(SkippedBecause::NoPrice("input"))?;
    let output = price("output")?.ok_or(SkippedBecause::NoPrice("output"))?;
    let cache_write = price("cache_write")?.unwrap_or(input);
    Ok(TokenRates {
        input,
        output,
        cache_read: price("cache_read")?.unwrap_or(input),
        cache_write_5m: cache_write,
        // They name one price; the longer cache is at twice the input where there is one
        // (<https://platform.claude.com/docs/en/about-claude/pricing>).
        cache_write_1h: if cache_write > input {
            cache_write.max(input.times(2))
        } else {
            cache_write
        },
        reasoning: price("reasoning")?.unwrap_or(output),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::prices::rates_to_json;

    fn imported(text: &str) -> Import {
        read(text, "2026-11-22".parse().unwrap()).unwrap()
    }

    #[test]
    fn prices_for_a_million_tokens_are_read_with_their_threshold() {
        let import = imported(
            r#"{"fireworks-ai": {"id": "fireworks-ai", "models": {"m": {
                "id": "m", "modalities": {"input": ["text"], "output": ["text"]},
                "cost": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75,
                         "context_over_200k": {"input": 6, "output": 22.5}},
                "limit": {"context": 1000000, "output": 64000}}}}}"#,
        );
        assert_eq!(import.skipped, Vec::new());
        let entry = &import.entries[0];
        assert_eq!((&*entry.provider, &*entry.model), ("fireworks", "m"));
        assert_eq!(entry.max_input, Some(1_000_000));
        assert_eq!(entry.max_output, Some(64_000));
        assert_eq!(
            rates_to_json(&entry.rates),
            concat!(
                r#"{"tokens":[{"input":3.0,"output":15.0,"cache_read":0.3,"#,
                r#""cache_write_5m":3.75,"cache_write_1h":6.0},"#,
                r#"{"above":200000,"input":6.0,"output":22.5}]}"#
            )
        );
    }

    #[test]
    fn what_is_unknown_does_not_become_free() {
        let import = imported(
            r#"{"p": {"models": {
                    "a": {}, "b": {"cost": {"input": 1}}, "c": {"cost": {"input": 0, "output": 0}},
                    "d": {"modalities": {"output": ["image"]}, "cost": {"input": 1, "output": 1}},
                    "e": {"cost": {"input": -1, "output": 1}}, "f": 7,
                    "g": {"cost": {"input": 1e9, "output": 1}},
                    "h": {"cost": {"input": 0.0000001, "output": 1}}}},
                "q": {}}"#,
        );
        let taken: Vec<&str> = import.entries.iter().map(|entry| &*entry.model).collect();
        assert_eq!(taken, ["h"]);
        assert_eq!(import.entries[0].rates.standard.base().input.pico(), 1);
        let skipped = import.skipped.iter();
        let skipped: Vec<String> = skipped
            .map(|skipped| format!("{}: {}", skipped.row, skipped.because))
            .collect();
        assert_eq!(
            skipped,
            [
                "p/a: it has no cost",
                "p/b: it has no output",
                "p/c: its prices are 0",
                "p/d: it is for image",
                "p/e: its input is no price",
                "p/f: it is not a model with a provider",
                "p/g: its input is no price",
                "q: it is not a model with a provider",
            ]
        );
    }
}

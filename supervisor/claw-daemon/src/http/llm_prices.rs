//! What models cost, put together from the fleet file and the table of prices.

use std::collections::BTreeSet;

use claw_gateway::llm::prices::{Entry, STALE_AFTER_DAYS};
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{Model, Price};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::ports::Prices;
use crate::api::{LlmPrice, LlmPriceList, LlmPriceOrigin, LlmPricing, Time};

/// Which models are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that the fleet file names.
    Named,
    /// All that are known.
    All,
}

pub(super) fn list(prices: &Prices, which: Which, now: Time) -> LlmPriceList {
    let today = TimeZone::UTC.to_datetime(now).date();
    let models = prices.settings.models.iter();
    let mut found: Vec<LlmPrice> = models
        .map(|(name, model)| named(prices, (name, model), today))
        .collect();
    if which == Which::All {
        let told: BTreeSet<_> = found
            .iter()
            .map(|price| (price.provider.clone(), price.model.clone()))
            .collect();
        let others = prices.table.entries().filter(|entry| {
            let id = (entry.provider.clone(), entry.model.clone());
            !told.contains(&id)
        });
        found.extend(others.map(|entry| of_table(entry, today)));
    }
    LlmPriceList {
        prices: found,
        stale_after_days: STALE_AFTER_DAYS,
    }
}

fn named(prices: &Prices, (name, model): (&str, &Model), today: Date) -> LlmPrice {
    let price = LlmPrice {
        name: Some(name.to_owned()),
        provider: model.provider.to_string(),
        model: model.id.to_string(),
        pricing: LlmPricing::Unknown,
        rates: None,
        origin: None,
        source: None,
        checked_on: None,
        age_days: None,
    };
    let rates = match &model.price {
        Price::Unknown => return price,
        Price::Free => {
            return LlmPrice {
                pricing: LlmPricing::Free,
                ..price
            };
        }
        Price::Known(rates) => rates,
    };
    let entry = row(prices, model, rates);
    let of_file = LlmPrice {
        pricing: LlmPricing::Known,
        rates: Some((&**rates).into()),
        origin: Some(LlmPriceOrigin::FleetFile),
        ..price
    };
    match entry {
        None => of_file,
        Some(entry) => LlmPrice {
            origin: Some(LlmPriceOrigin::Table),
            source: entry.source.clone(),
            checked_on: Some(entry.checked_on),
            age_days: Some(entry.age(today)),
            ..of_file
        },
    }
}

/// The row of the table that a price is from. A provider may have another name in the fleet file
/// than in the table.
fn row<'a>(prices: &'a Prices, model: &Model, rates: &Rates) -> Option<&'a Entry> {
    let by_name = prices.table.lookup(&model.provider, &model.id);
    let is_id = |id: &str| *id == *model.id;
    by_name
        .into_iter()
        .chain(
            prices.table.entries().filter(|entry| {
                is_id(&entry.model) || entry.aliases.iter().any(|alias| is_id(alias))
            }),
        )
        .find(|entry| entry.rates == *rates)
}

fn of_table(entry: &Entry, today: Date) -> LlmPrice {
    LlmPrice {
        name: None,
        provider: entry.provider.clone(),
        model: entry.model.clone(),
        pricing: LlmPricing::Known,
        rates: Some((&entry.rates).into()),
        origin: Some(LlmPriceOrigin::Table),
        source: entry.source.clone(),
        checked_on: Some(entry.checked_on),
        age_days: Some(entry.age(today)),
    }
}

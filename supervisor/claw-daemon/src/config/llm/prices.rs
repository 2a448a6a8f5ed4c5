//! `llm.prices`, and prices that stand at a model.

use std::sync::{Arc, LazyLock};

use claw_gateway::llm::money::Money;
use claw_gateway::llm::prices::{LargeChanges, PriceTable};
use claw_gateway::llm::rates::{Rates, Tariff, TokenRates};
use claw_gateway::llm::serve::UnknownPrice;

use super::super::diagnostic::Code;
use super::super::item::{Fields, Item};
use super::super::keys_llm::{PRICES, RATES};
use super::super::reader::Reader;
use super::super::source::{self, Exposure, Source};
use super::super::tree::Value;
use super::super::value::money;

/// A fleet file is read often, and the table of the program stays.
static SHIPPED: LazyLock<Arc<PriceTable>> = LazyLock::new(|| Arc::new(PriceTable::shipped()));

impl Reader<'_> {
    /// The prices that hold, and what is done about models without one.
    pub(super) fn llm_prices(&mut self, llm: &Fields<'_>) -> (Arc<PriceTable>, UnknownPrice) {
        let mut table = Arc::clone(&SHIPPED);
        let Some(fields) = self.inner(llm, "prices", &PRICES) else {
            return (table, UnknownPrice::Reject);
        };
        if let Some(item) = fields.get("file")
            && let Some(own) = self.price_file(&item)
        {
            let own = own.entries().cloned();
            Arc::make_mut(&mut table).merge(own, LargeChanges::Take);
        }
        let unknown = fields
            .get("unknown")
            .and_then(|item| self.unknown_price(&item));
        (table, unknown.unwrap_or(UnknownPrice::Reject))
    }

    fn price_file(&mut self, item: &Item<'_>) -> Option<PriceTable> {
        let path = self.path(item)?;
        let text = match source::read_text(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the price file {} cannot be used: {error}", item.shown());
                self.error(item, Code::File, message, error.help());
                return None;
            }
        };
        let name = path.display().to_string();
        let read = PriceTable::from_json(&text);
        // It is watched also when it is wrong, so that its next version is read.
        self.sources
            .add(Source::new(name, path, text, Exposure::Shown));
        match read {
            Ok(table) => Some(table),
            Err(error) => {
                let why = std::error::Error::source(&error);
                let why = why.map_or_else(|| error.to_string(), ToString::to_string);
                let message = format!("the price file {} cannot be read: {why}", item.shown());
                let help = "have it written by `clawctl llm prices import`: an array with an object for each model";
                self.error(item, Code::File, message, help);
                None
            }
        }
    }

    fn unknown_price(&mut self, item: &Item<'_>) -> Option<UnknownPrice> {
        if let Value::Text(_) = item.node.value {
            return self
                .choice(item, &[("reject", ())])
                .map(|()| UnknownPrice::Reject);
        }
        let fields = self.fields(&RATES, item)?;
        let rates = self.rates(&fields);
        if rates.is_none() && fields.entries().is_empty() {
            let help = "write `unknown: {input: 3, output: 15}`, in USD for a million tokens";
            self.error(item, Code::MissingKey, "the price is empty", help);
        }
        Some(UnknownPrice::Assume(Arc::new(rates?)))
    }

    /// The price that stands in a map, if one does.
    pub(super) fn rates(&mut self, fields: &Fields<'_>) -> Option<Rates> {
        let mut price = |key: &str| -> Option<Money> {
            let item = fields.get(key)?;
            let what = "a price of a million tokens";
            self.parsed(&item, what, money::per_million_tokens)
        };
        let (input, output) = (price("input"), price("output"));
        let (cache_read, cache_write) = (price("cache_read"), price("cache_write"));
        let keys = ["input", "output", "cache_read", "cache_write"];
        let there = fields.present(&keys);
        let whole = ["input", "output"]
            .iter()
            .all(|key| fields.get(key).is_some());
        if let (Some(item), false) = (there.first(), whole) {
            let message = "a price has `input` and `output`";
            let help = "add the other one, in USD for a million tokens";
            self.key_error(item, Code::MissingKey, message, help);
        }
        let mut rates = TokenRates::flat(input?, output?);
        rates.cache_read = cache_read.unwrap_or(rates.cache_read);
        if let Some(cache_write) = cache_write {
            rates.cache_write_5m = cache_write;
            rates.cache_write_1h = cache_write;
        }
        Some(Rates {
            standard: Tariff::new(rates, Vec::new()),
            ..Rates::default()
        })
    }
}

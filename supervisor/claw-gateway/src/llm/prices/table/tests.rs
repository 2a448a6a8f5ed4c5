use super::*;
use crate::llm::money::Money;
use crate::llm::rates::{Bound, ServiceTiers};

fn on(text: &str) -> Date {
    text.parse().unwrap()
}

fn input(entry: &Entry) -> String {
    let million = entry.rates.standard.base().input.times(1_000_000);
    million.to_string()
}

fn found(provider: &str, model: &str) -> Option<String> {
    let table = PriceTable::shipped();
    table
        .lookup(provider, model)
        .map(|entry| format!("{} {}", entry.model, input(entry)))
}

#[test]
fn the_shipped_table_is_what_it_would_be_written_as() {
    let table = PriceTable::shipped();
    assert_eq!(table.to_json(), include_str!("../shipped.json"));
}

#[test]
fn shipped_rows_have_a_price_unless_they_are_declared_free() {
    for entry in PriceTable::shipped().entries() {
        let bound = Bound {
            prompt: 1,
            answer: 1,
            searches: 0,
            service: ServiceTiers::Any,
        };
        let free = entry.rates.most(&bound) == Money::ZERO;
        assert_eq!(free, entry.provider == "ollama", "{entry:?}");
    }
}

#[test]
fn models_are_found_by_id_alias_and_date() {
    let gpt = Some("gpt-5.4 2.50".to_owned());
    assert_eq!(found("openai", "gpt-5.4"), gpt);
    assert_eq!(found("openai", "gpt-5.4-2026-03-05"), gpt, "an alias");
    assert_eq!(found("openai", "gpt-5.4-2026-12-24"), gpt, "a later date");
    assert_eq!(
        found("openai", "gpt-4o-2024-05-13").as_deref(),
        Some("gpt-4o-2024-05-13 5.00"),
        "a date with prices of its own"
    );
    let claude = Some("claude-sonnet-4-5 3.00".to_owned());
    assert_eq!(found("anthropic", "claude-sonnet-4-5-20250929"), claude);
    assert_eq!(found("anthropic", "claude-sonnet-4-5@20250929"), claude);
    for unknown in [
        "gpt-5.4-mega",
        "gpt-5.4-20-12-24",
        "",
        "-2026-12-24",
        "*",
        "ä-2026-12-24",
    ] {
        assert_eq!(found("openai", unknown), None, "{unknown:?}");
    }
    assert_eq!(found("nobody", "gpt-5.4"), None);
}

#[test]
fn models_of_a_provider_that_is_free_by_declaration_are_free() {
    assert_eq!(found("ollama", "llama3.1:70b").as_deref(), Some("* 0.00"));
}

#[test]
fn prices_that_nobody_has_looked_at_for_long_are_told_by_their_age() {
    let table = PriceTable::shipped();
    let checked_on = table.entries().map(|entry| entry.checked_on).max();
    let checked_on = checked_on.expect("there are rows");
    assert_eq!(table.age(checked_on), Some(0));
    let later = checked_on.checked_add(jiff::ToSpan::days(90)).unwrap();
    assert_eq!(table.age(later), Some(STALE_AFTER_DAYS));
    assert_eq!(table.age(on("2026-01-01")).map(|age| age < 0), Some(true));
    assert_eq!(PriceTable::default().age(later), None);
}

#[test]
fn a_table_that_says_too_little_or_too_much_is_refused() {
    let row = |rates: &str| {
        format!(
            r#"[{{"provider": "p", "model": "m", "rates": {rates}, "checked_on": "2026-11-22"}}]"#
        )
    };
    PriceTable::from_json(&row(r#"{"tokens": [{"input": 1, "output": 2}]}"#)).unwrap();
    for rates in [
        r#"{"tokens": []}"#,
        r#"{"tokens": [{"above": 200000, "input": 1, "output": 2}]}"#,
        r#"{"tokens": [{"input": 1, "output": 2}, {"input": 1, "output": 2}]}"#,
        r#"{"tokens": [{"input": 1}]}"#,
        r#"{"tokens": [{"input": -1, "output": 2}]}"#,
        r#"{"tokens": [{"input": "1", "output": 2}]}"#,
        r#"{"tokens": [{"input": 0.0000001, "output": 2}]}"#,
        r#"{"tokens": [{"input": 1, "output": 2, "inputs": 3}]}"#,
    ] {
        PriceTable::from_json(&row(rates)).expect_err(rates);
    }
}

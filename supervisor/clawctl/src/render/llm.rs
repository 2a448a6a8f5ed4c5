//! Models and their money: budgets, usage, calls, prices.

use claw_daemon::api::{
    LlmAlert, LlmCall, LlmPrice, LlmPriceList, LlmPriceOrigin, LlmPricing, LlmUsage, LlmUsageList,
    LlmWindow, Time, Usd,
};
use claw_gateway::llm::money::Money;

use super::table;
use super::time::{ahead, dash, span, stamp};

/// Pico-USD in the last of the four places that tables show.
const LAST_PLACE: u64 = 100_000_000;

/// The table of `clawctl llm budget`.
#[must_use]
pub(crate) fn windows(windows: &[LlmWindow], now: Time) -> String {
    let mut rows = table::with_head(&[
        "Whose",
        "Window",
        "Spent",
        "Limit",
        "Used",
        "Held",
        "Uncertain",
        "Left",
        "Resets",
        "Note",
    ]);
    for window in windows {
        let whose = window.name.agent.as_deref().unwrap_or("all together");
        rows.add_row([
            whose.to_owned(),
            window.name.window.as_str().to_owned(),
            usd(window.spent_usd),
            window.limit_usd.map_or_else(dash, usd),
            window
                .used_pct()
                .map_or_else(dash, |used| format!("{used:.0}%")),
            usd(window.held_usd),
            usd(window.uncertain_usd),
            window.left_usd.map_or_else(dash, usd),
            ahead(Some(window.resets_at), now),
            note(window, now),
        ]);
    }
    table::align_right(&mut rows, &[2, 3, 4, 5, 6, 7]);
    table::text(&rows)
}

fn note(window: &LlmWindow, now: Time) -> String {
    match (window.alert, window.reached_at) {
        (LlmAlert::Reached, _) => "the limit is reached".to_owned(),
        (LlmAlert::None | LlmAlert::Nearing, Some(at)) => {
            format!("at this rate the limit is reached {}", ahead(Some(at), now))
        }
        (LlmAlert::Nearing, None) => "the limit comes near".to_owned(),
        (LlmAlert::None, None) => String::new(),
    }
}

/// What of a window may have been spent besides.
#[must_use]
pub(crate) const fn uncertain(window: &LlmWindow) -> Money {
    window.uncertain_usd.0
}

/// What is spent of the present day, in a few words: `0.0312 of 0.05 USD today`.
#[must_use]
pub(crate) fn today(window: &LlmWindow) -> String {
    let spent = short(window.spent_usd);
    let spent = match window.limit_usd {
        Some(limit) => format!("{spent} of {} USD today", short(limit)),
        None => format!("{spent} USD today"),
    };
    match window.alert {
        LlmAlert::Reached => format!("{spent}, the limit is reached"),
        LlmAlert::Nearing => format!("{spent}, the limit comes near"),
        LlmAlert::None => spent,
    }
}

/// The table of `clawctl llm usage`, with the sum of all.
#[must_use]
pub(crate) fn usage(list: &LlmUsageList) -> String {
    let mut rows = table::with_head(&[
        list.by.as_str(),
        "Calls",
        "Prompt",
        "Cached",
        "Answer",
        "Spent",
        "Uncertain",
    ]);
    for used in &list.usage {
        rows.add_row(used_row(used));
    }
    if list.usage.len() > 1 {
        rows.add_row(used_row(&sum(&list.usage)));
    }
    table::align_right(&mut rows, &[1, 2, 3, 4, 5, 6]);
    table::text(&rows)
}

fn used_row(used: &LlmUsage) -> [String; 7] {
    let tokens = &used.tokens;
    [
        used.name.clone(),
        used.calls.to_string(),
        tokens.prompt().to_string(),
        tokens.cache_read.to_string(),
        tokens.answer().to_string(),
        usd(used.spent_usd),
        usd(used.uncertain_usd),
    ]
}

fn sum(all: &[LlmUsage]) -> LlmUsage {
    let mut sum = LlmUsage {
        name: "all together".to_owned(),
        calls: 0,
        tokens: Default::default(),
        spent_usd: Usd::default(),
        uncertain_usd: Usd::default(),
    };
    for used in all {
        sum.calls = sum.calls.saturating_add(used.calls);
        let tokens = &mut sum.tokens;
        let uncached = used.tokens.prompt().saturating_sub(used.tokens.cache_read);
        tokens.input = tokens.input.saturating_add(uncached);
        tokens.cache_read = tokens.cache_read.saturating_add(used.tokens.cache_read);
        tokens.output = tokens.output.saturating_add(used.tokens.answer());
        sum.spent_usd = Usd(sum.spent_usd.0.plus(used.spent_usd.0));
        sum.uncertain_usd = Usd(sum.uncertain_usd.0.plus(used.uncertain_usd.0));
    }
    sum
}

/// The table of `clawctl llm calls`.
#[must_use]
pub(crate) fn calls(calls: &[LlmCall]) -> String {
    let mut rows = table::with_head(&[
        "Id",
        "When",
        "Agent",
        "Provider",
        "Model",
        "Outcome",
        "Failed",
        "Prompt",
        "Answer",
        "Spent",
        "Uncertain",
        "Took",
    ]);
    for call in calls {
        let tokens = call.tokens.as_ref();
        rows.add_row([
            call.id.to_string(),
            stamp(call.at),
            call.agent.clone(),
            call.provider.clone(),
            call.model_id.clone(),
            call.outcome
                .as_deref()
                .unwrap_or("under way")
                .replace('_', " "),
            failed(call),
            tokens.map_or_else(dash, |tokens| tokens.prompt().to_string()),
            tokens.map_or_else(dash, |tokens| tokens.answer().to_string()),
            call.spent_usd.map_or_else(dash, usd),
            call.uncertain_usd.map_or_else(dash, usd),
            call.duration_seconds.map_or_else(dash, span),
        ]);
    }
    table::align_right(&mut rows, &[0, 7, 8, 9, 10, 11]);
    table::text(&rows)
}

/// How attempts failed before the last one, in their order.
fn failed(call: &LlmCall) -> String {
    let attempts = call
        .attempts
        .as_ref()
        .and_then(|attempts| attempts.as_array());
    let how = attempts.into_iter().flatten().filter_map(|attempt| {
        let failure = attempt["failure"].as_str()?.replace('_', " ");
        Some(match attempt["status"].as_u64() {
            Some(status) => status.to_string(),
            None => failure,
        })
    });
    let how: Vec<String> = how.collect();
    if how.is_empty() {
        dash()
    } else {
        how.join(", ")
    }
}

/// The table of `clawctl llm prices`, in USD for a million tokens.
#[must_use]
pub(crate) fn prices(list: &LlmPriceList) -> String {
    let mut rows = table::with_head(&[
        "Name", "Provider", "Model", "Input", "Output", "Cached", "Checked",
    ]);
    for price in &list.prices {
        let rate = |rate: Option<Usd>| match (rate, price.pricing) {
            (Some(rate), _) => usd(rate),
            (None, LlmPricing::Free) => "free".to_owned(),
            (None, LlmPricing::Known | LlmPricing::Unknown) => "unknown".to_owned(),
        };
        let rates = price.rates.as_ref();
        rows.add_row([
            price.name.clone().unwrap_or_else(dash),
            price.provider.clone(),
            price.model.clone(),
            rate(rates.map(|rates| rates.input_usd)),
            rate(rates.map(|rates| rates.output_usd)),
            rate(rates.map(|rates| rates.cache_read_usd)),
            checked(price),
        ]);
    }
    table::align_right(&mut rows, &[3, 4, 5]);
    table::text(&rows)
}

fn checked(price: &LlmPrice) -> String {
    match (price.origin, price.checked_on, price.age_days) {
        (Some(LlmPriceOrigin::FleetFile), ..) => "in the fleet file".to_owned(),
        (_, Some(on), Some(days)) => format!("{on}, {days} days ago"),
        (_, Some(on), None) => on.to_string(),
        (_, None, _) => dash(),
    }
}

/// What is wrong with prices of models that the fleet file names, and what to do about it.
#[must_use]
pub(crate) fn price_remarks(list: &LlmPriceList) -> Vec<String> {
    let named = || {
        list.prices
            .iter()
            .filter_map(|price| Some((price.name.as_deref()?, price)))
    };
    let quoted = |names: Vec<&str>| format!("`{}`", names.join("`, `"));
    let unknown = named().filter(|(_, price)| price.pricing == LlmPricing::Unknown);
    let unknown: Vec<&str> = unknown.map(|(name, _)| name).collect();
    let stale = named().filter(|(_, price)| price.is_stale(list.stale_after_days));
    let stale: Vec<&str> = stale.map(|(name, _)| name).collect();
    let mut remarks = Vec::new();
    if !unknown.is_empty() {
        remarks.push(format!(
            "nobody knows what {} costs, so calls are refused while a budget applies; set the price \
             in the fleet file, or see `clawctl llm prices import --help`",
            quoted(unknown)
        ));
    }
    if !stale.is_empty() {
        remarks.push(format!(
            "the price of {} was checked more than {} days ago; see `clawctl llm prices import --help`",
            quoted(stale),
            list.stale_after_days
        ));
    }
    remarks
}

/// An amount to four places, so that columns of amounts stand by their points.
fn usd(Usd(money): Usd) -> String {
    let sign = if money.is_negative() { "-" } else { "" };
    let amount = money.pico().unsigned_abs();
    let places = (amount + LAST_PLACE / 2) / LAST_PLACE;
    if places == 0 && amount > 0 {
        return format!("{sign}<0.0001");
    }
    format!("{sign}{}.{:04}", places / 10_000, places % 10_000)
}

/// The same, without zeros that say nothing.
fn short(amount: Usd) -> String {
    let text = usd(amount);
    let end = text.trim_end_matches('0').len();
    let least = text.find('.').map_or(text.len(), |point| point + 3);
    text[..end.max(least)].to_owned()
}

#[cfg(test)]
mod tests {
    use claw_daemon::api::{LlmRates, LlmTokens, LlmUsageBy};
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-11-20T10:00:00Z";

    fn now() -> Time {
        NOW.parse().unwrap()
    }

    fn amount(text: &str) -> Usd {
        text.parse().unwrap()
    }

    fn window(agent: Option<&str>, window: &str, more: &serde_json::Value) -> LlmWindow {
        let mut whole = json!({
            "scope": if agent.is_some() { "agent" } else { "global" },
            "agent": agent,
            "window": window,
            "starts_on": "2026-11-20",
            "held_usd": "0.00",
            "uncertain_usd": "0.00",
            "alert": "none",
            "resets_at": "2026-11-21T00:00:00Z",
        });
        let more = more.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(more);
        serde_json::from_value(whole).unwrap()
    }

    fn tight() -> LlmWindow {
        let more = json!({
            "limit_usd": "0.05", "spent_usd": "0.0322", "uncertain_usd": "0.009",
            "left_usd": "0.0088", "reached_at": "2026-11-20T15:31:00Z",
        });
        window(Some("monitor"), "day", &more)
    }

    #[test]
    fn budgets_are_told_with_amounts_by_their_points() {
        let month = json!({"spent_usd": "112.5", "held_usd": "0.00000001",
            "resets_at": "2026-12-01T00:00:00Z"});
        let spent = json!({"limit_usd": "1.00", "spent_usd": "1.002", "left_usd": "-0.002",
            "alert": "reached"});
        let all = [
            window(None, "month", &month),
            tight(),
            window(Some("nightly"), "day", &spent),
        ];
        let table = "\
WHOSE         WINDOW     SPENT   LIMIT  USED     HELD  UNCERTAIN     LEFT  RESETS      NOTE
all together  month   112.5000       -     -  <0.0001     0.0000        -  in 10d 14h
monitor       day       0.0322  0.0500   82%   0.0000     0.0090   0.0088  in 14h 0m   at this rate the limit is reached in 5h 31m
nightly       day       1.0020  1.0000  100%   0.0000     0.0000  -0.0020  in 14h 0m   the limit is reached";
        assert_eq!(windows(&all, now()), table);
    }

    #[test]
    fn what_was_spent_today_is_told_in_a_few_words() {
        assert_eq!(today(&tight()), "0.0322 of 0.05 USD today");
        let near = json!({"spent_usd": "12.00", "alert": "nearing"});
        let free = window(Some("a"), "day", &near);
        assert_eq!(today(&free), "12.00 USD today, the limit comes near");
    }

    #[test]
    fn usage_ends_with_the_sum_of_all() {
        let used = |name: &str, calls, spent: &str| LlmUsage {
            name: name.to_owned(),
            calls,
            tokens: LlmTokens {
                input: 480,
                cache_read: 8_000,
                output: 1_800,
                reasoning: 200,
                ..LlmTokens::default()
            },
            spent_usd: amount(spent),
            uncertain_usd: amount("0.009"),
        };
        let mut list = LlmUsageList {
            since: now(),
            by: LlmUsageBy::Model,
            usage: vec![used("gpt-5.4", 12, "0.0322"), used("mini", 3, "10.5")],
        };
        let table = "\
MODEL         CALLS  PROMPT  CACHED  ANSWER    SPENT  UNCERTAIN
gpt-5.4          12    8480    8000    2000   0.0322     0.0090
mini              3    8480    8000    2000  10.5000     0.0090
all together     15   16960   16000    4000  10.5322     0.0180";
        assert_eq!(usage(&list), table);
        list.usage.truncate(1);
        assert_eq!(usage(&list).lines().count(), 2, "one is its own sum");
    }

    #[test]
    fn calls_are_told_with_those_under_way() {
        let call = |more: serde_json::Value| {
            let mut whole = json!({
                "id": 7, "agent": "monitor", "provider": "openai", "model": "best",
                "model_id": "gpt-5.4", "at": NOW, "held_usd": "0.04", "request_hash": "0aff",
            });
            let more = more.as_object().unwrap().clone();
            whole.as_object_mut().unwrap().extend(more);
            serde_json::from_value::<LlmCall>(whole).unwrap()
        };
        let ended = call(json!({
            "outcome": "cut_by_budget", "spent_usd": "0.0312", "uncertain_usd": "0.00",
            "duration_seconds": 9.5,
            "attempts": [{"at": NOW, "failure": "timed_out"},
                {"at": NOW, "failure": "status", "status": 503}],
            "tokens": {"input": 480, "cache_read": 20, "cache_write_5m": 0, "cache_write_1h": 0,
                "output": 1800, "reasoning": 0, "searches": 0},
        }));
        let table = calls(&[call(json!({"id": 12})), ended]);
        let fields: Vec<Vec<&str>> = table
            .lines()
            .skip(1)
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .collect()
            })
            .collect();
        let when = stamp(now());
        assert_eq!(
            fields,
            [
                vec![
                    "12",
                    &when,
                    "monitor",
                    "openai",
                    "gpt-5.4",
                    "under way",
                    "-",
                    "-",
                    "-",
                    "-",
                    "-",
                    "-"
                ],
                vec![
                    "7",
                    &when,
                    "monitor",
                    "openai",
                    "gpt-5.4",
                    "cut by budget",
                    "timed out, 503",
                    "500",
                    "1800",
                    "0.0312",
                    "0.0000",
                    "9.5s"
                ],
            ]
        );
    }

    fn price(name: Option<&str>, model: &str, pricing: LlmPricing) -> LlmPrice {
        LlmPrice {
            name: name.map(str::to_owned),
            provider: "openai".to_owned(),
            model: model.to_owned(),
            pricing,
            rates: None,
            origin: None,
            source: None,
            checked_on: None,
            age_days: None,
        }
    }

    #[test]
    fn prices_are_told_with_what_is_wrong_with_them() {
        let rates = LlmRates {
            input_usd: amount("2.5"),
            output_usd: amount("15"),
            cache_read_usd: amount("0.25"),
            cache_write_5m_usd: amount("2.5"),
            cache_write_1h_usd: amount("2.5"),
            reasoning_usd: amount("15"),
            per_request_usd: None,
            per_search_usd: None,
            dearer_above: Vec::new(),
            service_tiers: Vec::new(),
        };
        let old = LlmPrice {
            rates: Some(rates.clone()),
            origin: Some(LlmPriceOrigin::Table),
            checked_on: Some("2026-05-01".parse().unwrap()),
            age_days: Some(203),
            ..price(Some("best"), "gpt-5.4", LlmPricing::Known)
        };
        let own = LlmPrice {
            rates: Some(rates),
            origin: Some(LlmPriceOrigin::FleetFile),
            ..price(Some("house"), "house-1", LlmPricing::Known)
        };
        let list = LlmPriceList {
            prices: vec![
                old,
                own,
                price(Some("local"), "llama", LlmPricing::Free),
                price(Some("new"), "gpt-9", LlmPricing::Unknown),
            ],
            stale_after_days: 90,
        };
        let table = "\
NAME   PROVIDER  MODEL      INPUT   OUTPUT   CACHED  CHECKED
best   openai    gpt-5.4   2.5000  15.0000   0.2500  2026-05-01, 203 days ago
house  openai    house-1   2.5000  15.0000   0.2500  in the fleet file
local  openai    llama       free     free     free  -
new    openai    gpt-9    unknown  unknown  unknown  -";
        assert_eq!(prices(&list), table);
        let remarks = price_remarks(&list);
        assert_eq!(remarks.len(), 2);
        assert!(
            remarks[0].starts_with("nobody knows what `new` costs"),
            "{remarks:?}"
        );
        assert!(remarks[1].starts_with("the price of `best` was checked more than 90"));
    }
}

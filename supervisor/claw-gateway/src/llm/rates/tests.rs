use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// USD per million tokens.
fn usd(text: &str) -> Money {
    let per_million: Money = text.parse().unwrap();
    Money::from_pico(per_million.pico() / 1_000_000)
}

/// As <https://ai.google.dev/gemini-api/docs/pricing> has it for gemini-2.5-pro, with a flex tier.
fn gemini() -> Rates {
    let base = TokenRates {
        cache_read: usd("0.125"),
        ..TokenRates::flat(usd("1.25"), usd("10"))
    };
    let rates = TokenRates {
        cache_read: usd("0.25"),
        ..TokenRates::flat(usd("2.5"), usd("15"))
    };
    let long = LongPrompt {
        above: 200_000,
        rates,
    };
    let flex = TokenRates::flat(usd("0.625"), usd("5"));
    Rates {
        standard: Tariff::new(base, vec![long]),
        service: BTreeMap::from([("flex".to_owned(), Tariff::new(flex, Vec::new()))]),
        per_request: Money::ZERO,
        per_search: Some("0.035".parse().unwrap()),
    }
}

fn bound(prompt: u64, answer: u64) -> Bound<'static> {
    Bound {
        prompt,
        answer,
        searches: 0,
        service: ServiceTiers::StandardOr("default"),
    }
}

#[test]
fn a_call_costs_what_the_price_page_says() {
    let usage = Usage {
        input: 100_000,
        cache_read: 100_000,
        output: 900,
        reasoning: 100,
        searches: 2,
        ..Usage::default()
    };
    let cost = |usage: &Usage, tier| gemini().cost(usage, tier).to_string();
    assert_eq!(cost(&usage, None), "0.2175");
    assert_eq!(cost(&usage, Some("flex")), "0.20");
    assert_eq!(
        cost(&usage, Some("default")),
        "0.2175",
        "a tier without rates of its own is standard"
    );
}

#[test]
fn a_tier_or_a_search_without_a_price_is_not_covered() {
    let in_tier = |tier| Bound {
        service: ServiceTiers::StandardOr(tier),
        ..bound(1, 1)
    };
    for tier in ["default", "auto", "standard", "standard_only", "flex"] {
        assert_eq!(gemini().unpriced(&in_tier(tier)), None, "{tier}");
    }
    let unpriced = Some(Unpriced::Tier("priority"));
    assert_eq!(gemini().unpriced(&in_tier("priority")), unpriced);
    let searching = Bound {
        searches: 1,
        ..bound(1, 1)
    };
    assert_eq!(gemini().unpriced(&searching), None);
    let unknown = Rates {
        per_search: None,
        ..gemini()
    };
    assert_eq!(unknown.unpriced(&searching), Some(Unpriced::Searches));
    assert_eq!(unknown.unpriced(&bound(1, 1)), None);
    assert_eq!(Rates::default().unpriced(&searching), None);
}

#[test]
fn one_token_more_than_the_threshold_makes_all_tokens_dearer() {
    let prompt = |input| Usage {
        input,
        ..Usage::default()
    };
    let cost = |usage| gemini().cost(&usage, None).to_string();
    assert_eq!(cost(prompt(200_000)), "0.25");
    assert_eq!(cost(prompt(200_001)), "0.5000025");
}

#[test]
fn the_bound_takes_the_dearest_tier_that_can_be_reached() {
    let most = |bound| gemini().most(&bound).to_string();
    assert_eq!(most(bound(200_000, 1_000)), "0.26");
    assert_eq!(most(bound(200_001, 1_000)), "0.5150025");
    let mut dear = gemini();
    let priority = TokenRates::flat(usd("2.25"), usd("18"));
    let priority = Tariff::new(priority, Vec::new());
    dear.service.insert("priority".into(), priority);
    assert_eq!(dear.most(&bound(1_000, 1_000)).to_string(), "0.01125");
    let any = Bound {
        service: ServiceTiers::Any,
        ..bound(1_000, 1_000)
    };
    assert_eq!(dear.most(&any).to_string(), "0.02025");
}

#[test]
fn as_much_answer_as_the_money_is_enough_for() {
    let rates = gemini();
    let within = |free: &str, bound| rates.answer_within(free.parse().unwrap(), &bound);
    assert_eq!(within("0.26", bound(200_000, 5_000)), Some(1_000));
    assert_eq!(within("0.26", bound(200_000, 300)), Some(300));
    assert_eq!(within("0.25", bound(200_000, 5_000)), Some(0));
    assert_eq!(within("0.2499", bound(200_000, 5_000)), None);
    let free = Rates::flat(Money::ZERO, Money::ZERO);
    assert_eq!(free.answer_within(Money::ZERO, &bound(9, 9)), Some(9));
}

fn money() -> impl Strategy<Value = Money> {
    prop_oneof![
        8 => (0..100_000_000_i64).prop_map(Money::from_pico),
        1 => (0..=i64::MAX).prop_map(Money::from_pico),
    ]
}

fn token_rates() -> impl Strategy<Value = TokenRates> {
    (money(), money(), money(), money(), money(), money()).prop_map(
        |(input, output, cache_read, cache_write_5m, cache_write_1h, reasoning)| TokenRates {
            input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            reasoning,
        },
    )
}

fn tariff() -> impl Strategy<Value = Tariff> {
    let long = (0..1_000_u64, token_rates()).prop_map(|(above, rates)| LongPrompt { above, rates });
    (token_rates(), vec(long, 0..3)).prop_map(|(base, long)| Tariff::new(base, long))
}

fn rates() -> impl Strategy<Value = Rates> {
    let service = btree_map("flex|priority|batch", tariff(), 0..3);
    (tariff(), service, money(), proptest::option::of(money())).prop_map(
        |(standard, service, per_request, per_search)| Rates {
            standard,
            service,
            per_request,
            per_search,
        },
    )
}

/// Splits a number of tokens in parts, some of which remain unused.
fn parts<const N: usize>(whole: u64, cuts: [u64; N]) -> [u64; N] {
    let mut left = whole;
    cuts.map(|cut| {
        let part = cut % left.saturating_add(1);
        left -= part;
        part
    })
}

proptest! {
    #[test]
    fn no_usage_within_the_bound_costs_more_than_the_most(
        rates in rates(),
        prompt in prop_oneof![4 => 0..2_000_u64, 1 => 0..u64::MAX],
        answer in prop_oneof![4 => 0..2_000_u64, 1 => 0..u64::MAX],
        searches in 0..5_u64,
        cuts in any::<([u64; 4], [u64; 2])>(),
        tier in prop_oneof!["flex|priority|batch|default"],
        any_tier in any::<bool>(),
    ) {
        let [input, cache_read, cache_write_5m, cache_write_1h] = parts(prompt, cuts.0);
        let [output, reasoning] = parts(answer, cuts.1);
        let usage = Usage {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            searches,
        };
        let service = if any_tier { ServiceTiers::Any } else { ServiceTiers::StandardOr(&tier) };
        let bound = Bound { prompt, answer, searches, service };
        let most = rates.most(&bound);
        prop_assert!(rates.cost(&usage, Some(&tier)) <= most);
        prop_assert!(rates.cost(&usage, None) <= most);
    }

    #[test]
    fn an_answer_within_is_the_longest_that_fits(
        rates in rates(),
        prompt in 0..2_000_u64,
        wanted in 0..5_000_u64,
        free in (0..1_000_000_000_000_i64).prop_map(Money::from_pico),
    ) {
        let bound = |answer| Bound { prompt, answer, searches: 1, service: ServiceTiers::Any };
        match rates.answer_within(free, &bound(wanted)) {
            Some(answer) => {
                prop_assert!(answer <= wanted);
                prop_assert!(rates.most(&bound(answer)) <= free);
                prop_assert!(answer == wanted || rates.most(&bound(answer + 1)) > free);
            }
            None => prop_assert!(rates.most(&bound(0)) > free),
        }
    }
}

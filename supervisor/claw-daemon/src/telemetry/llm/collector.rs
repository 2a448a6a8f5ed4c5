//! The books as OpenMetrics.

use std::fmt::Error;

use claw_gateway::llm::budget::{Balance, Scope};
use claw_gateway::llm::money::Money;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::LlmMetrics;
use super::books::{Books, KINDS, OfModel};
use crate::api::{LlmPeriod, LlmScope};

/// A label with its value.
type Label<'a> = (&'static str, &'a str);

/// A series: its labels and what it is worth.
type Series<'a, const N: usize, V> = ([Label<'a>; N], V);

/// A metric: its name without the prefix, and what it says.
type Named = (&'static str, &'static str);

/// A metric of the budgets, with its value; `None`: the window has none.
type OfBudget = (Named, fn(&Balance) -> Option<Money>);

const BUDGETS: [OfBudget; 4] = [
    (
        (
            "llm_budget_limit_usd",
            "What may be spent in the present window, in USD.",
        ),
        |balance| balance.limit,
    ),
    (
        (
            "llm_budget_spent_usd",
            "What is spent of it, as far as it is known, in USD.",
        ),
        |balance| Some(balance.account.settled()),
    ),
    (
        (
            "llm_budget_held_usd",
            "What of it is held for calls under way, in USD.",
        ),
        |balance| Some(balance.account.held()),
    ),
    (
        (
            "llm_budget_uncertain_usd",
            "What of it may have been spent besides, in USD.",
        ),
        |balance| Some(balance.account.uncertain()),
    ),
];

impl Collector for LlmMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let books = self.books();
        // A fleet without models has no series of them, not even empty ones.
        if books.agents.is_empty() && books.budgets.is_empty() {
            return Ok(());
        }
        of_calls(&mut encoder, &books)?;
        of_times(&mut encoder, &books)?;
        of_agents(&mut encoder, &books)?;
        for (named, amount) in BUDGETS {
            let series = books.budgets.iter().filter_map(|balance| {
                let usd = amount(balance)?.as_usd();
                Some((window(balance), usd))
            });
            gauge(&mut encoder, named, series)?;
        }
        Ok(())
    }
}

fn of_calls(encoder: &mut DescriptorEncoder<'_>, books: &Books) -> Result<(), Error> {
    let tokens = models(books).flat_map(|([agent, provider, model], counted)| {
        let kinds = KINDS.iter().zip(counted.tokens);
        kinds.map(move |((kind, _), tokens)| ([agent, provider, model, ("type", *kind)], tokens))
    });
    let named = (
        "llm_tokens",
        "Tokens that providers have reported, by kind.",
    );
    counter(encoder, named, tokens)?;
    let cost = models(books).map(|(labels, counted)| (labels, counted.cost.as_usd()));
    let named = (
        "llm_cost_usd",
        "What calls have cost, as far as it is known, in USD.",
    );
    counter(encoder, named, cost)?;
    let overrun = models(books).map(|(labels, counted)| (labels, counted.overrun.as_usd()));
    let named = (
        "llm_budget_overrun_usd",
        "What calls have cost above what was held, in USD.",
    );
    counter(encoder, named, overrun)?;
    let outcomes = models(books).flat_map(|([agent, provider, model], counted)| {
        counted
            .outcomes
            .iter()
            .map(move |(outcome, calls)| ([agent, provider, model, ("outcome", *outcome)], *calls))
    });
    let named = (
        "llm_requests",
        "Calls to providers that have ended, by how.",
    );
    counter(encoder, named, outcomes)?;
    let retries = models(books).map(|(labels, counted)| (labels, counted.retries));
    counter(
        encoder,
        ("llm_retries", "Attempts that followed a failed one."),
        retries,
    )
}

fn of_times(encoder: &mut DescriptorEncoder<'_>, books: &Books) -> Result<(), Error> {
    let help = "From the admission of a call to the end of its answer.";
    let latency = models(books).filter_map(|(labels, of)| Some((labels, of.latency()?)));
    histogram(encoder, ("llm_latency", help), latency)?;
    let help = "From the admission of a call to the first byte of its answer.";
    let first_byte = models(books).filter_map(|(labels, of)| Some((labels, of.first_byte()?)));
    histogram(encoder, ("llm_ttft", help), first_byte)
}

fn of_agents(encoder: &mut DescriptorEncoder<'_>, books: &Books) -> Result<(), Error> {
    let agents = || {
        books
            .agents
            .iter()
            .map(|(name, agent)| (("agent", &**name), agent))
    };
    let rejections = agents().flat_map(|(label, agent)| {
        let windows = agent.rejections.iter();
        windows.map(move |((scope, period), calls)| {
            let labels = [
                label,
                ("scope", scope.as_str()),
                ("window", period.as_str()),
            ];
            (labels, *calls)
        })
    });
    let help = "Calls for which a budget had no room; some went on to another model.";
    counter(encoder, ("llm_budget_rejections", help), rejections)?;
    let refusals = agents().flat_map(|(label, agent)| {
        let codes = agent.refusals.iter();
        codes.map(move |(code, requests)| ([label, ("code", *code)], *requests))
    });
    let help = "Requests of agents that were refused, by the code they were told.";
    counter(encoder, ("llm_refusals", help), refusals)?;
    let cache = agents().flat_map(|(label, agent)| {
        let results = agent.cache.iter();
        results.map(move |(result, requests)| ([label, ("result", result.as_str())], *requests))
    });
    let help = "Requests of agents whose answers are kept, by what came of asking the cache.";
    counter(encoder, ("llm_cache_requests", help), cache)?;
    let in_flight = agents().map(|(label, agent)| ([label], agent.in_flight));
    gauge(
        encoder,
        ("llm_in_flight", "Calls to providers under way."),
        in_flight,
    )
}

/// All models of all agents, with their labels.
fn models(books: &Books) -> impl Iterator<Item = Series<'_, 3, &OfModel>> {
    books.agents.iter().flat_map(|(agent, of)| {
        of.models.iter().map(move |((provider, model), counted)| {
            let labels = [
                ("agent", &**agent),
                ("provider", &**provider),
                ("model", &**model),
            ];
            (labels, counted)
        })
    })
}

fn window(balance: &Balance) -> [Label<'_>; 3] {
    let window = &balance.window;
    let agent = match &window.scope {
        Scope::Fleet => "",
        Scope::Agent(name) => name,
    };
    [
        ("scope", LlmScope::from(&window.scope).as_str()),
        ("agent", agent),
        ("window", LlmPeriod::from(window.period).as_str()),
    ]
}

fn counter<'a, const N: usize, V>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    series: impl Iterator<Item = Series<'a, N, V>>,
) -> Result<(), Error>
where
    ConstCounter<V>: EncodeMetric,
{
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in series {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge<'a, const N: usize, V>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    series: impl Iterator<Item = Series<'a, N, V>>,
) -> Result<(), Error>
where
    ConstGauge<V>: EncodeMetric,
{
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn histogram<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): Named,
    series: impl Iterator<Item = Series<'a, N, &'a Histogram>>,
) -> Result<(), Error> {
    let unit = Some(&Unit::Seconds);
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for (labels, histogram) in series {
        histogram.encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

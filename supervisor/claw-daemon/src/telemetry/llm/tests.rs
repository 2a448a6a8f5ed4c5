use std::sync::Arc;

use claw_gateway::llm::budget::{Budgets, Ledger};
use claw_gateway::llm::budget::{CallId, Limits, Refused, Settled, Window};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::{
    AgentSettings, Attempt, AttemptFailure, CacheResult, Caching, Caller, Credential,
    Model as ModelSettings, Price,
};
use claw_gateway::llm::usage::Usage;
use claw_gateway::llm::wire::Api;
use claw_store::llm::Tokens;
use prometheus_client::encoding::text::encode;

use super::*;
use crate::telemetry::exposition::Exposition;

const NOW: &str = "2026-11-20T10:00:00Z";

fn now() -> Time {
    NOW.parse().unwrap()
}

fn later(millis: i64) -> Time {
    now() + jiff::SignedDuration::from_millis(millis)
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

/// Agents that may call these models of one provider.
fn settings(agents: &[&str], models: &[&str]) -> Settings {
    let model = |id: &str| ModelSettings {
        provider: "openai".into(),
        id: id.into(),
        price: Price::Unknown,
        max_output: None,
        context: None,
        image_tokens: None,
    };
    let names: Vec<Arc<str>> = models.iter().map(|name| Arc::from(*name)).collect();
    let agent = AgentSettings {
        models: names.clone(),
        ..AgentSettings::default()
    };
    Settings {
        models: names
            .iter()
            .map(|name| (Arc::clone(name), Arc::new(model(name))))
            .collect(),
        agents: agents
            .iter()
            .map(|name| (Arc::from(*name), Arc::new(agent.clone())))
            .collect(),
        ..Settings::default()
    }
}

fn call(agent: &str, model: &str) -> CallRecord {
    CallRecord {
        id: CallId(1),
        request: "r-1".into(),
        agent: agent.into(),
        instance: "1".into(),
        run: None,
        api: Api::ChatCompletions,
        admitted_at: now(),
        day: "2026-11-20".parse().unwrap(),
        provider: "openai".into(),
        model_asked: "best".into(),
        model: model.into(),
        request_hash: [0; 32],
        rates: None,
        held: usd("0.05"),
        estimate: usd("0.01"),
        clamped_to: None,
        attempts: Vec::new(),
        first_byte_at: Some(later(300)),
        end: None,
    }
}

fn with_end(call: CallRecord, ending: Ending, spent: &str) -> CallRecord {
    let settled = Settled {
        spent: usd(spent),
        uncertain: Money::ZERO,
        overrun: usd(spent).minus(call.held).max(Money::ZERO),
        windows: Window::of(&call.agent, call.day),
        alerts: Vec::new(),
    };
    CallRecord {
        end: Some(CallEnd {
            at: later(4_000),
            ending,
            usage: Some(Usage {
                input: 100,
                output: 20,
                ..Usage::default()
            }),
            service_tier: None,
            model_served: None,
            status: Some(200),
            settled,
        }),
        ..call
    }
}

fn caller(agent: &str) -> Caller {
    Caller {
        agent: agent.into(),
        replica: agent.into(),
        instance: "1".into(),
        run: None,
        credential: Credential::Trusted,
    }
}

/// A budget of one cent, and why two cents do not fit into it.
fn refused(agent: &str) -> (Ledger, Box<Refused>) {
    let mut budgets = Budgets::default();
    let limits = Limits {
        daily: Some(usd("0.01")),
        monthly: None,
    };
    budgets.agents.insert(agent.into(), limits);
    let mut ledger = Ledger::new(budgets);
    let refused = ledger.reserve(now(), &agent.into(), usd("0.02"), &Limits::default());
    let refused = refused.unwrap_err();
    (ledger, refused)
}

fn scrape(metrics: &LlmMetrics) -> String {
    let mut registry = Registry::with_prefix("openclaw");
    registry.register_collector(Box::new(metrics.clone()));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    Exposition::OpenMetrics.render(&text)
}

/// The lines of a scrape with this in it.
fn lines<'a>(text: &'a str, with: &str) -> Vec<&'a str> {
    let all = text.lines().filter(|line| !line.starts_with('#'));
    all.filter(|line| line.contains(with)).collect()
}

#[test]
fn a_fleet_without_models_has_no_series_of_them() {
    assert_eq!(scrape(&LlmMetrics::default()), "# EOF\n");
}

#[test]
fn each_series_of_a_call_is_exposed() {
    let metrics = LlmMetrics::default();
    let mut settings = settings(&["coder"], &["gpt", "mini"]);
    for agent in settings.agents.values_mut() {
        Arc::make_mut(agent).cache = Caching::On;
    }
    metrics.configure(&settings);
    metrics.observe(&Event::Cache {
        caller: &caller("coder"),
        result: CacheResult::Hit,
    });
    let mut served = call("coder", "gpt");
    metrics.observe(&Event::Begun(&served));
    let attempt = Attempt {
        at: later(100),
        failure: AttemptFailure::Status(503),
    };
    served.attempts.push(attempt);
    metrics.observe(&Event::FirstByte(&served));
    metrics.observe(&Event::Begun(&call("coder", "mini")));
    let over = with_end(served, Ending::Answered, "0.0625");
    metrics.observe(&Event::Ended(&over));
    let (ledger, refused) = refused("coder");
    metrics.observe(&Event::OverBudget {
        caller: &caller("coder"),
        refused: &refused,
    });
    metrics.observe(&Event::Refused {
        caller: &caller("coder"),
        status: 402,
        code: "budget_exceeded",
        message: "no",
    });
    metrics.set_budgets(&ledger.balances(now(), &"coder".into()));
    insta::assert_snapshot!(scrape(&metrics));
}

#[test]
fn the_last_failed_attempt_of_a_failed_call_is_no_retry() {
    let metrics = LlmMetrics::default();
    metrics.configure(&settings(&["coder"], &["gpt"]));
    let attempt = Attempt {
        at: now(),
        failure: AttemptFailure::Connect,
    };
    let mut failed = with_end(call("coder", "gpt"), Ending::Failed, "0");
    failed.attempts = vec![attempt; 3];
    metrics.observe(&Event::Begun(&failed));
    metrics.observe(&Event::Ended(&failed));
    let text = scrape(&metrics);
    let labels = r#"{agent="coder",provider="openai",model="gpt""#;
    assert_eq!(
        lines(&text, "retries"),
        [format!("openclaw_llm_retries_total{labels}}} 2")]
    );
    assert_eq!(
        lines(&text, "requests"),
        [format!(
            "openclaw_llm_requests_total{labels},outcome=\"failed\"}} 1"
        )]
    );
    assert!(lines(&text, "latency").is_empty(), "nobody got an answer");
}

#[test]
fn counters_go_on_from_the_totals_of_the_store() {
    let metrics = LlmMetrics::default();
    metrics.configure(&settings(&["coder"], &["gpt"]));
    let total = |agent: &str, model: &str| TotalRow {
        agent: agent.to_owned(),
        provider: "openai".to_owned(),
        model_id: model.to_owned(),
        calls: 3,
        tokens: Tokens {
            input: 1_000,
            ..Tokens::default()
        },
        spent: usd("1.5").pico(),
    };
    metrics.begin(&[
        total("coder", "gpt"),
        total("coder", "retired"),
        total("coder", "older"),
        total("gone", "gpt"),
    ]);
    let ended = with_end(call("coder", "gpt"), Ending::Answered, "0.25");
    metrics.observe(&Event::Begun(&ended));
    metrics.observe(&Event::Ended(&ended));
    let text = scrape(&metrics);
    let costs = [
        r#"openclaw_llm_cost_usd_total{agent="coder",provider="openai",model="gpt"} 1.75"#,
        r#"openclaw_llm_cost_usd_total{agent="coder",provider="other",model="other"} 3.0"#,
    ];
    assert_eq!(lines(&text, "cost_usd"), costs);
    let input = lines(&text, r#"model="gpt",type="input""#);
    assert_eq!(
        input,
        [
            r#"openclaw_llm_tokens_total{agent="coder",provider="openai",model="gpt",type="input"} 1100"#
        ]
    );
}

#[test]
fn an_agent_that_may_call_no_models_is_forgotten_with_its_last_call() {
    let metrics = LlmMetrics::default();
    metrics.configure(&settings(&["coder", "writer"], &["gpt"]));
    let under_way = call("coder", "gpt");
    metrics.observe(&Event::Begun(&under_way));
    metrics.configure(&settings(&["writer"], &["gpt"]));
    let in_flight = |text: &str| {
        let lines = lines(text, "in_flight").into_iter();
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        in_flight(&scrape(&metrics)),
        [
            r#"openclaw_llm_in_flight{agent="coder"} 1"#,
            r#"openclaw_llm_in_flight{agent="writer"} 0"#
        ]
    );
    let ended = with_end(under_way, Ending::Abandoned, "0.01");
    metrics.observe(&Event::Ended(&ended));
    let text = scrape(&metrics);
    assert!(!text.contains("coder"), "{text}");
}

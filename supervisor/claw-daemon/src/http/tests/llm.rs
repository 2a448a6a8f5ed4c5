//! Models: budgets, usage, calls, corrections and prices.

use serde_json::{Value, json};

use super::fleet::Fleet;
use super::samples::OLD_RUN;
use super::{Call, get, post};
use crate::api::{LlmBudgets, routes};

async fn pretty(fleet: &Fleet, call: Call) -> String {
    let answered = call.send(fleet).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    serde_json::to_string_pretty(&answered.json()).unwrap()
}

fn reconcile(body: &Value) -> Call {
    post(routes::LLM_RECONCILE).json(&body.to_string())
}

#[tokio::test]
async fn windows_are_told_with_what_is_left_and_when_it_is_gone() {
    let fleet = Fleet::new().with_models().await;
    insta::assert_snapshot!(pretty(&fleet, get("/api/llm/budget?agent=monitor")).await);
    let all = get("/api/llm/budget").send(&fleet).await.json();
    let all: LlmBudgets = serde_json::from_value(all).unwrap();
    let names = all.windows.iter().map(|window| {
        let agent = window.name.agent.as_deref().unwrap_or("*");
        (agent, window.name.window.as_str())
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            ("*", "day"),
            ("*", "month"),
            ("monitor", "day"),
            ("monitor", "month"),
            ("nightly", "day"),
            ("nightly", "month"),
        ]
    );
}

#[tokio::test]
async fn an_agent_without_models_and_one_that_is_not_there_are_told_apart() {
    let fleet = Fleet::new().with_models().await;
    let idle = get("/api/llm/budget?agent=idle").send(&fleet).await;
    assert_eq!(
        (idle.status, &idle.json()["code"], &idle.json()["agent"]),
        (404, &"no_models".into(), &"idle".into())
    );
    let nobody = get("/api/llm/budget?agent=nobody").send(&fleet).await;
    assert_eq!(
        (nobody.status, &nobody.json()["code"]),
        (404, &"no_such_agent".into())
    );
}

#[tokio::test]
async fn a_fleet_without_models_says_so_on_every_path() {
    let fleet = Fleet::new();
    let body = json!({"call": 1, "actual_usd": "0.00"});
    for call in [
        get(routes::LLM_BUDGET),
        get(routes::LLM_USAGE),
        get(routes::LLM_CALLS),
        get(routes::LLM_PRICES),
        reconcile(&body),
    ] {
        let target = call.target.clone();
        let answered = call.send(&fleet).await;
        let problem = answered.json();
        assert_eq!(
            (answered.status, &problem["code"]),
            (404, &"no_models".into()),
            "{target}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("there is no `llm` section in the fleet file;"));
    }
}

#[tokio::test]
async fn usage_is_summed_up_over_calls_that_have_ended() {
    let fleet = Fleet::new().with_models().await;
    insta::assert_snapshot!(pretty(&fleet, get("/api/llm/usage?by=model")).await);
    for (query, names) in [
        ("", json!(["monitor"])),
        ("?by=day&since=1h", json!(["2026-11-20"])),
        ("?by=run", json!([])),
        ("?since=30s", json!([])),
    ] {
        let usage = get(&format!("{}{query}", routes::LLM_USAGE));
        let usage = usage.send(&fleet).await.json();
        let rows = usage["usage"].as_array().unwrap().iter();
        let found: Vec<_> = rows.map(|row| row["name"].clone()).collect();
        assert_eq!(Value::from(found), names, "{query}");
    }
    let odd = get("/api/llm/usage?by=hour").send(&fleet).await;
    assert_eq!((odd.status, &odd.json()["parameter"]), (400, &"by".into()));
}

#[tokio::test]
async fn calls_are_told_newest_first_with_those_under_way() {
    let fleet = Fleet::new().with_models().await;
    insta::assert_snapshot!(pretty(&fleet, get("/api/llm/calls?limit=2")).await);
    let ids = async |query: &str| {
        let call = get(&format!("{}?{query}", routes::LLM_CALLS));
        let list = call.send(&fleet).await.json();
        let calls = list["calls"].as_array().unwrap().iter();
        let ids = calls
            .map(|call| call["id"].as_u64().unwrap())
            .collect::<Vec<_>>();
        (ids, list["next"].as_u64())
    };
    assert_eq!(ids("limit=2&before=2").await, (vec![1], None));
    assert_eq!(ids("agent=monitor&limit=1").await, (vec![2], Some(2)));
    assert_eq!(ids(&format!("run={OLD_RUN}")).await, (vec![3], None));
    assert_eq!(ids("since=30s").await, (vec![], None));
}

#[tokio::test]
async fn what_was_billed_takes_the_place_of_what_is_uncertain() {
    let fleet = Fleet::new().with_models().await;
    let of_call = json!({"call": 2, "actual_usd": "0.0008"});
    insta::assert_snapshot!(pretty(&fleet, reconcile(&of_call)).await);
    let again = reconcile(&of_call).send(&fleet).await;
    assert_eq!(
        (again.status, &again.json()["code"]),
        (409, &"not_uncertain".into())
    );
}

#[tokio::test]
async fn a_window_is_corrected_as_a_whole_by_any_of_its_days() {
    let fleet = Fleet::new().with_models().await;
    let month = json!({
        "window": {"scope": "global", "window": "month", "starts_on": "2026-11-17"},
        "actual_usd": "0.00",
    });
    let corrected = reconcile(&month).send(&fleet).await.json();
    let window = &corrected["windows"][0];
    assert_eq!(
        (
            &window["starts_on"],
            &window["spent_usd"],
            &window["uncertain_usd"]
        ),
        (&"2026-11-01".into(), &"0.00".into(), &"0.00".into())
    );
    let today = json!({
        "window": {"scope": "agent", "agent": "monitor", "window": "day"},
        "actual_usd": "0.04",
    });
    let corrected = reconcile(&today).send(&fleet).await.json();
    assert_eq!(corrected["windows"][0]["starts_on"], "2026-11-20");
    assert_eq!(corrected["windows"][0]["left_usd"], "0.01");
}

#[tokio::test]
async fn impossible_corrections_are_refused_with_the_field_at_fault() {
    let fleet = Fleet::new().with_models().await;
    let window = json!({"scope": "global", "window": "day"});
    for (body, field) in [
        (json!({"call": 2, "actual_usd": "-0.01"}), "actual_usd"),
        (json!({"actual_usd": "1.00"}), "call"),
        (
            json!({"call": 2, "window": window, "actual_usd": "1.00"}),
            "call",
        ),
        (
            json!({"window": {"scope": "agent", "window": "day"}, "actual_usd": "1.00"}),
            "window",
        ),
        (
            json!({"window": {"scope": "agent", "agent": "nobody", "window": "day"},
                "actual_usd": "1.00"}),
            "window",
        ),
    ] {
        let answered = reconcile(&body).send(&fleet).await;
        assert_eq!(
            (answered.status, &answered.json()["parameter"]),
            (400, &field.into()),
            "{body}"
        );
    }
    let number = reconcile(&json!({"call": 2, "actual_usd": 0.05}))
        .send(&fleet)
        .await;
    assert_eq!(
        (number.status, &number.json()["code"]),
        (400, &"invalid_json".into()),
        "an amount is a text"
    );
}

#[tokio::test]
async fn prices_are_told_with_their_age_and_where_they_are_from() {
    let fleet = Fleet::new().with_models().await;
    insta::assert_snapshot!(pretty(&fleet, get("/api/llm/prices")).await);
    let all = get("/api/llm/prices?all=true").send(&fleet).await.json();
    let last = all["prices"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["model"], &last["age_days"], &last["name"]),
        (&"gpt-5.4-mini".into(), &203.into(), &Value::Null)
    );
}

#[tokio::test]
async fn a_scrape_tells_how_budgets_stand() {
    let fleet = Fleet::new().with_models().await;
    let scraped = get("/metrics").send(&fleet).await;
    for line in [
        r#"openclaw_llm_budget_limit_usd{scope="agent",agent="monitor",window="day"} 0.05"#,
        r#"openclaw_llm_budget_spent_usd{scope="agent",agent="monitor",window="day"} 0.0322"#,
        r#"openclaw_llm_budget_uncertain_usd{scope="global",agent="",window="month"} 0.009"#,
        r#"openclaw_llm_budget_held_usd{scope="agent",agent="nightly",window="day"} 0.5"#,
    ] {
        assert!(
            scraped.body.lines().any(|found| found == line),
            "{line}: {}",
            scraped.body
        );
    }
    let limits = scraped
        .body
        .matches("openclaw_llm_budget_limit_usd{")
        .count();
    assert_eq!(limits, 3, "windows without a limit have no series of one");
}

//! Money, as far as it is assumed.

use std::sync::Arc;

use claw_core::spec::AgentSpec;
use claw_gateway::llm::budget::Limits;
use claw_gateway::llm::money::Money;
use claw_simulation::report::{Spend, Spent, WarningCode};
use claw_simulation::{Assumption, Calls, Report, Setting, simulate};

use crate::fleets::{assume, at, codes, daemon, every, mins, name, of, week};

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

/// An agent with a budget for each day, two calls in a run of a cent each.
fn setting(spec: AgentSpec, daily: &str) -> Setting {
    let mut setting = week([("poet", spec)]);
    let account: Arc<str> = Arc::from("poet");
    let limits = Limits {
        daily: Some(usd(daily)),
        monthly: None,
    };
    setting.budgets.agents = [(Arc::clone(&account), limits)].into();
    setting.accounts = [(name("poet"), account)].into();
    assume(
        setting,
        "poet",
        Assumption {
            every: Some(mins(60)),
            calls: Some(Calls {
                number: 2,
                cost: usd("0.01"),
                provider: "openai".to_owned(),
            }),
            ..Assumption::default()
        },
    )
}

fn spent(report: &Report) -> &Spent {
    match &of(report, "poet").spend {
        Spend::Estimated(spent) => spent,
        other @ (Spend::NoModels | Spend::NotAssumed) => panic!("{other:?}"),
    }
}

#[test]
fn what_fits_into_the_budget_is_spent() {
    let report = simulate(&setting(every(mins(60)), "0.48"));
    assert_eq!(
        (spent(&report).calls, spent(&report).refused_calls),
        (336, 0)
    );
    assert_eq!(spent(&report).usd, usd("3.36"));
    assert_eq!(of(&report, "poet").runs.succeeded, 168);
    assert_eq!(report.budgets[0].most_usd, "0.48");
    assert_eq!(codes(&report), []);
}

#[test]
fn a_budget_stops_an_agent_at_the_very_call_that_does_not_fit() {
    // Ten runs and a half a day: the second call of the eleventh run does not fit.
    let report = simulate(&setting(every(mins(60)), "0.21"));
    let refusal = spent(&report).first_refusal.clone().unwrap();
    assert_eq!(spent(&report).calls, 21 * 7);
    assert_eq!(spent(&report).usd, usd("1.47"));
    let (begins, ends) = (at("2026-03-27T10:00:00Z"), at("2026-03-27T10:01:00Z"));
    assert!(begins < refusal.at && refusal.at < ends, "{refusal:?}");
    let runs = of(&report, "poet").runs;
    assert_eq!((runs.succeeded, runs.failed), (70, 168 - 70));
    assert_eq!(report.budgets[0].times_reached, 7);
    assert_eq!(codes(&report), [WarningCode::OverBudget]);
}

#[test]
fn a_daemon_calls_as_often_as_it_is_assumed_to() {
    let report = simulate(&setting(daemon(), "1.00"));
    // An hour after it is up for the first time, and not a second after that for the last.
    assert_eq!(of(&report, "poet").starts, 1);
    assert!(
        (2 * 160..=2 * 168).contains(&spent(&report).calls),
        "{:?}",
        spent(&report)
    );
}

#[test]
fn nothing_is_made_up_about_what_nobody_said() {
    let mut setting = setting(every(mins(60)), "0.48");
    setting.assumptions.clear();
    let report = simulate(&setting);
    assert_eq!(of(&report, "poet").spend, Spend::NotAssumed);
    assert_eq!(report.budgets[0].most_usd, "0.00");
    setting.accounts.clear();
    assert_eq!(of(&simulate(&setting), "poet").spend, Spend::NoModels);
}

//! From what the store kept to the ledger of the next supervisor. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use claw_gateway::llm::budget::{
    CallId, InFlight, Settled, Standing, UncertainCall, WindowStanding,
};
use claw_gateway::llm::money::Money;
use claw_store::llm::{Admitted, EndedCall, Restored, Uncertain, WindowRow};
use jiff::Timestamp;

use super::rows;

/// The word for calls whose supervisor died.
const LOST: &str = "lost";

/// What the ledger goes on from.
pub(super) fn standing(kept: Restored) -> Standing {
    let mut names = Names::default();
    let windows = kept.windows.into_iter();
    let windows = windows.map(|row| window(row, &mut names)).collect();
    let in_flight = kept.in_flight.into_iter();
    let in_flight = in_flight.map(|call| lost(&call, &mut names)).collect();
    let uncertain = kept.uncertain.into_iter();
    let uncertain = uncertain.filter(|call| !call.windows.is_empty());
    Standing {
        windows,
        in_flight,
        uncertain: uncertain.map(|call| unknown(call, &mut names)).collect(),
        last_id: CallId(kept.last_id),
        kept_since: kept.kept_since,
    }
}

/// What is written of a call that was in flight when its supervisor died.
pub(super) fn ended_as_lost(now: Timestamp, settled: &Settled) -> EndedCall {
    EndedCall {
        outcome: LOST.to_owned(),
        spent: settled.spent.pico(),
        uncertain: settled.uncertain.pico(),
        ended_at: Some(rows::unix_ms(now)),
        ..EndedCall::default()
    }
}

fn window(row: WindowRow, names: &mut Names) -> WindowStanding {
    WindowStanding {
        window: rows::window(row.key, |agent| names.get(&agent)),
        settled: Money::from_pico(row.settled),
        uncertain: Money::from_pico(row.uncertain),
        told: rows::told(row.told),
    }
}

fn lost(call: &Admitted, names: &mut Names) -> InFlight {
    InFlight {
        id: CallId(call.id),
        agent: names.get(&call.agent),
        day: call.day,
        held: Money::from_pico(call.held),
        estimate: Money::from_pico(call.estimate),
    }
}

fn unknown(call: Uncertain, names: &mut Names) -> UncertainCall {
    let windows = call.windows.into_iter();
    UncertainCall {
        id: CallId(call.id),
        windows: windows
            .map(|key| rows::window(key, |agent| names.get(&agent)))
            .collect(),
        estimate: Money::from_pico(call.spent),
        uncertain: Money::from_pico(call.uncertain),
    }
}

/// Names of agents, each of which is in memory once: there are hundreds of windows of each.
#[derive(Default)]
struct Names(BTreeSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use claw_gateway::llm::budget::{self, Budgets, Ledger, Limits, Period, Scope, Window};
    use claw_store::llm::{self, Told, WindowKey};
    use claw_store::store::UnixMs;
    use jiff::civil::{Date, date};

    use super::*;

    const DAY: Date = date(2026, 3, 5);

    fn now() -> Timestamp {
        "2026-03-05T12:00:00Z".parse().unwrap()
    }

    fn in_flight(id: u64, held: i64, estimate: i64) -> Admitted {
        Admitted {
            id,
            admitted_at: UnixMs(0),
            day: DAY,
            agent: "coder".to_owned(),
            run: None,
            provider: "hub".to_owned(),
            model: "big".to_owned(),
            model_id: "big-1".to_owned(),
            held,
            estimate,
            rates: "null".to_owned(),
            clamped: None,
            request_hash: Vec::new(),
        }
    }

    fn row(agent: Option<&str>, settled: i64, uncertain: i64) -> WindowRow {
        WindowRow {
            key: WindowKey {
                agent: agent.map(str::to_owned),
                period: llm::Period::Day,
                start: DAY,
            },
            settled,
            uncertain,
            told: Told::Nearing,
        }
    }

    fn days() -> [Window; 2] {
        [Scope::Agent("coder".into()), Scope::Fleet].map(|scope| Window {
            scope,
            period: Period::Day,
            start: DAY,
        })
    }

    #[test]
    fn a_call_that_was_in_flight_is_settled_at_its_estimate_and_the_rest_is_uncertain() {
        let kept = Restored {
            windows: vec![row(Some("coder"), 100, 20), row(None, 300, 20)],
            in_flight: vec![in_flight(8, 50, 10)],
            uncertain: Vec::new(),
            last_id: 9,
            kept_since: None,
        };
        let (mut ledger, lost) = Ledger::restore(now(), Budgets::default(), standing(kept));
        let [(id, settled)] = &lost[..] else {
            panic!("{lost:?}")
        };
        let ended = ended_as_lost(now(), settled);
        assert_eq!((id.0, ended.spent, ended.uncertain), (8, 10, 40));
        assert_eq!(ended.outcome, LOST);
        assert_eq!(settled.alerts, []);
        let [coder, fleet] = days().map(|window| ledger.account(&window));
        assert_eq!(
            (coder.settled().pico(), coder.uncertain().pico()),
            (110, 60)
        );
        assert_eq!(
            (fleet.settled().pico(), fleet.uncertain().pico()),
            (310, 60)
        );
        let none = Limits::default();
        let next = ledger.reserve(now(), &"coder".into(), Money::ZERO, &none);
        assert_eq!(next.unwrap().id, CallId(10));
    }

    #[test]
    fn an_alert_that_was_given_is_not_given_again_and_one_that_a_lost_call_makes_due_is() {
        let limits = |pico| Limits {
            daily: Some(Money::from_pico(pico)),
            monthly: None,
        };
        let budgets = Budgets {
            fleet: limits(310),
            agents: [("coder".into(), limits(125))].into(),
            ..Budgets::default()
        };
        let kept = Restored {
            windows: vec![row(Some("coder"), 100, 0), row(None, 300, 0)],
            in_flight: vec![in_flight(1, 50, 10)],
            last_id: 1,
            ..Restored::default()
        };
        let (_ledger, lost) = Ledger::restore(now(), budgets, standing(kept));
        let alerts = lost[0].1.alerts.iter();
        let told: Vec<_> = alerts.map(|alert| (&alert.window, alert.told)).collect();
        assert_eq!(told, [(&days()[1], budget::Told::Reached)]);
    }

    #[test]
    fn a_call_of_unknown_cost_can_be_reconciled_after_a_restart() {
        let keys = days().map(|window| rows::window_key(&window));
        let kept = Restored {
            windows: vec![row(Some("coder"), 30, 70), row(None, 30, 70)],
            uncertain: vec![
                Uncertain {
                    id: 3,
                    windows: keys.to_vec(),
                    spent: 30,
                    uncertain: 70,
                },
                Uncertain {
                    id: 2,
                    windows: Vec::new(),
                    spent: 1,
                    uncertain: 1,
                },
            ],
            last_id: 3,
            ..Restored::default()
        };
        let (mut ledger, _) = Ledger::restore(now(), Budgets::default(), standing(kept));
        let billed = Money::from_pico(55);
        ledger.reconcile_call(now(), CallId(3), billed).unwrap();
        assert!(ledger.reconcile_call(now(), CallId(2), billed).is_err());
        for account in days().map(|window| ledger.account(&window)) {
            assert_eq!(
                (account.settled(), account.uncertain()),
                (billed, Money::ZERO)
            );
        }
    }
}

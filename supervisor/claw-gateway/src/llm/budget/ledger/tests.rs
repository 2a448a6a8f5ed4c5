use super::*;
use crate::llm::budget::{Period, Told};

const NOON: &str = "2026-11-22T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn agent() -> Arc<str> {
    "researcher".into()
}

fn daily(limit: &str) -> Budgets {
    let limits = Limits {
        daily: Some(usd(limit)),
        monthly: None,
    };
    Budgets {
        agents: BTreeMap::from([(agent(), limits)]),
        ..Budgets::default()
    }
}

/// A ledger at noon.
struct Noon(Ledger);

impl Noon {
    fn new(budgets: Budgets) -> Self {
        Self(Ledger::new(budgets))
    }

    fn hold(&mut self, need: &str) -> Result<CallId, Box<Refused>> {
        self.hold_at(NOON, need)
    }

    fn hold_at(&mut self, now: &str, need: &str) -> Result<CallId, Box<Refused>> {
        let reserved = self
            .0
            .reserve(at(now), &agent(), usd(need), &Limits::default());
        reserved.map(|reservation| reservation.id)
    }

    fn settle(&mut self, id: CallId, outcome: Outcome) -> Settled {
        self.0.settle(at(NOON), id, outcome).expect("it is held")
    }

    fn spend(&mut self, amount: &str) -> Settled {
        let id = self.hold(amount).expect("it fits");
        self.settle(id, Outcome::Reported(usd(amount)))
    }

    /// Settled, held and uncertain of the agent's day.
    fn day(&self, now: &str) -> [String; 3] {
        let [day, ..] = self.0.balances(at(now), &agent());
        let account = day.account;
        [account.settled(), account.held(), account.uncertain()].map(|money| money.to_string())
    }

    fn free(&self) -> Option<Money> {
        self.0.free(at(NOON), &agent(), &Limits::default())
    }
}

#[test]
fn money_is_settled_as_the_call_ended() {
    let estimate = usd("0.30");
    for (outcome, spent, uncertain, overrun) in [
        (Outcome::Reported(usd("0.25")), "0.25", "0.00", "0.00"),
        (Outcome::Reported(Money::ZERO), "0.00", "0.00", "0.00"),
        (Outcome::Reported(usd("1.10")), "1.10", "0.00", "0.10"),
        (Outcome::Unbilled, "0.00", "0.00", "0.00"),
        (Outcome::Estimated { estimate }, "0.30", "0.70", "0.00"),
        (Outcome::Lost { estimate }, "0.30", "0.70", "0.00"),
    ] {
        let mut ledger = Noon::new(daily("5"));
        let id = ledger.hold("1").unwrap();
        let settled = ledger.settle(id, outcome);
        let amounts = [settled.spent, settled.uncertain, settled.overrun];
        let amounts = amounts.map(|money| money.to_string());
        assert_eq!(amounts, [spent, uncertain, overrun], "{outcome:?}");
        assert_eq!(ledger.day(NOON), [spent, "0.00", uncertain], "{outcome:?}");
        assert_eq!(ledger.0.in_flight(), 0);
    }
}

#[test]
fn a_call_that_does_not_fit_is_refused_with_the_numbers() {
    let mut ledger = Noon::new(daily("1"));
    ledger.spend("0.50");
    let lost = ledger.hold("0.20").unwrap();
    let estimate = usd("0.05");
    ledger.settle(lost, Outcome::Lost { estimate });
    ledger.hold("0.10").unwrap();
    let refused = ledger.hold("0.21").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "this call may cost 0.21 USD, and 0.20 USD are left of the daily budget of 1.00 USD of \
         agent researcher: 0.55 spent, 0.10 held for calls in flight, 0.15 uncertain; wait until \
         2026-11-23T00:00:00Z, ask for a shorter answer, or raise the budget"
    );
    ledger.hold("0.20").unwrap();
    assert_eq!(ledger.free(), Some(Money::ZERO));
}

#[test]
fn a_call_that_never_fits_is_not_told_to_wait() {
    let refused = Noon::new(daily("1")).hold("1.01").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "this call may cost 1.01 USD, and 1.00 USD are left of the daily budget of 1.00 USD of \
         agent researcher: 0.00 spent, 0.00 held for calls in flight, 0.00 uncertain; raise the \
         budget, or ask for a shorter answer"
    );
}

#[test]
fn a_window_that_never_has_room_is_told_before_one_that_resets_later() {
    let monthly = |monthly| Limits {
        daily: None,
        monthly: Some(usd(monthly)),
    };
    let mut ledger = Noon::new(Budgets {
        fleet: monthly("3"),
        ..daily("1")
    });
    for _ in 0..2 {
        let budgets = ledger.0.budgets().clone();
        let none = Budgets {
            agents: BTreeMap::new(),
            ..budgets.clone()
        };
        ledger.0.set_budgets(at(NOON), none);
        ledger.spend("1");
        ledger.0.set_budgets(at(NOON), budgets);
    }
    // A day of 1 USD has never room for it, and the month, of which 1 USD is left, has not now.
    let refused = ledger.hold("2").unwrap_err();
    assert_eq!(refused.window.period, Period::Day);
    assert_eq!(refused.fits_at(), None);
    assert!(
        refused.to_string().ends_with("ask for a shorter answer"),
        "{refused}"
    );
    // The day has room again tomorrow, and the month not before the next one.
    ledger.0.set_budgets(
        at(NOON),
        Budgets {
            fleet: monthly("2"),
            ..daily("1")
        },
    );
    let refused = ledger.hold("1").unwrap_err();
    assert_eq!(refused.fits_at(), Some(at("2026-12-01T00:00:00Z")));
}

#[test]
fn of_several_windows_the_one_that_resets_last_refuses() {
    let limits = Limits {
        daily: Some(usd("1")),
        monthly: Some(usd("1")),
    };
    let mut ledger = Noon::new(Budgets {
        fleet: limits,
        ..daily("1")
    });
    let refused = ledger.hold("2").unwrap_err();
    let fleets_month = Window {
        scope: Scope::Fleet,
        period: Period::Month,
        start: "2026-11-01".parse().unwrap(),
    };
    assert_eq!(refused.window, fleets_month);
    assert_eq!(refused.resets_at, at("2026-12-01T00:00:00Z"));
    assert_eq!(
        ledger.day(NOON),
        ["0.00", "0.00", "0.00"],
        "nothing is held"
    );
}

#[test]
fn without_a_limit_everything_is_counted_and_nothing_refused() {
    let mut ledger = Noon::new(Budgets::default());
    let first = ledger.hold("9000000").unwrap();
    let second = ledger.hold("9000000").unwrap();
    assert_eq!(ledger.free(), None);
    ledger.settle(first, Outcome::Reported(Money::MAX));
    ledger.settle(second, Outcome::Reported(Money::MAX));
    assert_eq!(
        ledger.day(NOON),
        [&Money::MAX.to_string(), "0.00", "0.00"],
        "holds beyond the largest amount are released whole"
    );
    ledger.hold("1").unwrap();
}

#[test]
fn a_request_may_tighten_its_limits_and_not_widen_them() {
    let mut ledger = Noon::new(daily("1"));
    ledger.spend("0.40");
    let own = |daily: &str| Limits {
        daily: Some(usd(daily)),
        monthly: None,
    };
    let free = ledger.0.free(at(NOON), &agent(), &own("0.45"));
    assert_eq!(free, Some(usd("0.05")));
    let mut reserve = |limit: &str| {
        let limits = own(limit);
        ledger
            .0
            .reserve(at(NOON), &agent(), usd("0.30"), &limits)
            .map(drop)
    };
    let refused = reserve("0.50").unwrap_err();
    assert_eq!(refused.limit_of, LimitOf::Request);
    assert_eq!(refused.limit, usd("0.50"));
    reserve("0.70").unwrap();
    reserve("9").unwrap();
    let refused = reserve("9").unwrap_err();
    assert_eq!(refused.limit_of, LimitOf::Fleet);
}

#[test]
fn a_second_settlement_changes_nothing_and_says_so() {
    let mut ledger = Noon::new(daily("1"));
    let id = ledger.hold("0.50").unwrap();
    let other = ledger.hold("0.50").unwrap();
    ledger.settle(id, Outcome::Reported(usd("0.10")));
    let before = ledger.day(NOON);
    let again = ledger.0.settle(at(NOON), id, Outcome::Unbilled);
    assert_eq!(again, Err(NotHeld::Settled(id)));
    assert_eq!(ledger.0.shrink(id, usd("0.01")), Err(NotHeld::Settled(id)));
    let never = CallId(other.0 + 1);
    let unknown = ledger.0.settle(at(NOON), never, Outcome::Unbilled);
    assert_eq!(unknown, Err(NotHeld::Unknown(never)));
    assert_eq!(ledger.day(NOON), before);
}

#[test]
fn a_hold_shrinks_and_never_grows() {
    let mut ledger = Noon::new(daily("1"));
    let id = ledger.hold("0.80").unwrap();
    assert_eq!(ledger.0.shrink(id, usd("0.30")), Ok(usd("0.30")));
    assert_eq!(ledger.free(), Some(usd("0.70")));
    assert_eq!(ledger.0.shrink(id, usd("0.90")), Ok(usd("0.30")));
    let settled = ledger.settle(id, Outcome::Reported(usd("0.35")));
    assert_eq!(settled.overrun, usd("0.05"));
    assert_eq!(ledger.day(NOON), ["0.35", "0.00", "0.00"]);
}

#[test]
fn a_call_belongs_to_the_day_on_which_it_was_admitted() {
    let mut ledger = Noon::new(daily("1"));
    let (late, next) = ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z");
    let id = ledger.hold_at(late, "0.80").unwrap();
    ledger.hold_at(next, "0.90").unwrap();
    let settled = ledger
        .0
        .settle(at(next), id, Outcome::Reported(usd("0.70")));
    assert_eq!(settled.unwrap().windows[3].start.to_string(), "2026-11-01");
    assert_eq!(ledger.day(late), ["0.70", "0.00", "0.00"]);
    assert_eq!(ledger.day(next), ["0.00", "0.90", "0.00"]);
}

#[test]
fn a_clock_that_goes_back_finds_what_was_spent() {
    let mut ledger = Noon::new(daily("1"));
    ledger.spend("0.90");
    ledger.hold_at("2026-11-23T00:00:00Z", "0.90").unwrap();
    ledger.hold("0.20").unwrap_err();
    ledger.0.forget_before("2026-11-23".parse().unwrap());
    let refused = ledger.hold("0.20").unwrap_err();
    assert_eq!(
        refused.held,
        usd("0.90"),
        "a day that is forgotten is not opened again"
    );
    assert_eq!(refused.window.start.to_string(), "2026-11-23");
}

#[test]
fn forgetting_keeps_what_is_in_flight() {
    let mut ledger = Noon::new(daily("1"));
    let id = ledger.hold("0.90").unwrap();
    ledger.0.forget_before("2027-02-01".parse().unwrap());
    assert_eq!(ledger.0.accounts().count(), 4);
    ledger.settle(id, Outcome::Unbilled);
    ledger.0.forget_before("2027-02-01".parse().unwrap());
    assert_eq!(ledger.0.accounts().count(), 0);
}

#[test]
fn a_limit_lowered_below_what_is_spent_refuses_from_then_on() {
    let mut ledger = Noon::new(daily("10"));
    ledger.spend("4");
    let running = ledger.hold("2").unwrap();
    let alerts = ledger.0.set_budgets(at(NOON), daily("3"));
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].told, Told::Reached);
    ledger.hold("0.01").unwrap_err();
    assert_eq!(ledger.free(), Some(Money::ZERO));
    ledger.settle(running, Outcome::Reported(usd("2")));
    assert_eq!(ledger.0.set_budgets(at(NOON), daily("7")), Vec::new());
    ledger.hold("1").unwrap();
    ledger.hold("0.01").unwrap_err();
}

#[test]
fn an_alert_is_given_once_for_each_threshold() {
    let mut ledger = Noon::new(daily("1"));
    assert_eq!(ledger.spend("0.79").alerts, Vec::new());
    let alerts = ledger.spend("0.01").alerts;
    let [alert] = alerts.as_slice() else {
        panic!("one alert: {alerts:?}");
    };
    assert_eq!(alert.told, Told::Nearing);
    assert_eq!((alert.limit, alert.spent), (usd("1"), usd("0.80")));
    assert_eq!(
        alert.reached_at,
        Some(at("2026-11-22T15:00:00Z")),
        "0.80 in twelve hours are 1.00 in fifteen"
    );
    assert_eq!(ledger.spend("0.10").alerts, Vec::new());
    let alerts = ledger.spend("0.10").alerts;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].told, Told::Reached);
    assert_eq!(alerts[0].reached_at, None);
}

#[test]
fn an_alert_that_is_not_reached_within_the_window_forecasts_nothing() {
    let mut ledger = Noon::new(daily("1"));
    let evening = "2026-11-22T23:00:00Z";
    let id = ledger.hold_at(evening, "0.85").unwrap();
    let settled = ledger
        .0
        .settle(at(evening), id, Outcome::Reported(usd("0.85")));
    assert_eq!(settled.unwrap().alerts[0].reached_at, None);
}

#[test]
fn alerts_are_not_given_again_after_a_restart() {
    let mut ledger = Noon::new(daily("1"));
    assert_eq!(ledger.spend("0.85").alerts.len(), 1);
    let standing = ledger.0.standing();
    let (restored, _) = Ledger::restore(at(NOON), daily("1"), standing.clone());
    assert_eq!(Noon(restored).spend("0.05").alerts, Vec::new());
    let (restored, _) = Ledger::restore(at(NOON), daily("2"), standing);
    let alerts = Noon(restored).spend("0.80").alerts;
    assert_eq!(alerts.len(), 1, "the limit is another one");
    assert_eq!(alerts[0].limit, usd("2"));
}

#[test]
fn calls_in_flight_at_a_crash_are_lost() {
    let mut ledger = Noon::new(daily("1"));
    ledger.spend("0.10");
    let id = ledger.hold("0.60").unwrap();
    let standing = Standing {
        in_flight: vec![InFlight {
            id,
            agent: agent(),
            day: "2026-11-22".parse().unwrap(),
            held: usd("0.60"),
            estimate: usd("0.20"),
        }],
        ..ledger.0.standing()
    };
    let (restored, lost) = Ledger::restore(at(NOON), daily("1"), standing);
    let mut restored = Noon(restored);
    assert_eq!(restored.day(NOON), ["0.30", "0.00", "0.40"]);
    let [(lost_id, settled)] = lost.as_slice() else {
        panic!("one call: {lost:?}");
    };
    assert_eq!(*lost_id, id);
    assert_eq!(
        (settled.spent, settled.uncertain),
        (usd("0.20"), usd("0.40"))
    );
    let again = restored.0.settle(at(NOON), id, Outcome::Unbilled);
    assert_eq!(again, Err(NotHeld::Settled(id)));
    assert!(restored.hold("0.10").unwrap() > id);
}

#[test]
fn an_operator_says_once_what_an_uncertain_call_cost() {
    let mut ledger = Noon::new(daily("1"));
    let id = ledger.hold("0.80").unwrap();
    let estimate = usd("0.10");
    ledger.settle(id, Outcome::Lost { estimate });
    let reconcile = |ledger: &mut Noon| ledger.0.reconcile_call(at(NOON), id, usd("0.15"));
    assert_eq!(reconcile(&mut ledger), Ok(Vec::new()));
    for balance in ledger.0.balances(at(NOON), &agent()) {
        assert_eq!(balance.account.settled(), usd("0.15"));
        assert_eq!(balance.account.uncertain(), Money::ZERO);
    }
    assert_eq!(reconcile(&mut ledger), Err(NotUncertain::Call(id)));
}

#[test]
fn an_operator_corrects_a_window_and_its_calls_with_it() {
    let mut ledger = Noon::new(daily("1"));
    let id = ledger.hold("0.80").unwrap();
    let estimate = usd("0.10");
    ledger.settle(id, Outcome::Lost { estimate });
    let [day, month, ..] = ledger.0.balances(at(NOON), &agent());
    let billed = ledger.0.correction(&day.window, usd("0.85")).unwrap();
    let alert = ledger.0.reconcile_window(at(NOON), &billed);
    assert_eq!(alert.unwrap().told, Told::Nearing);
    assert_eq!(ledger.day(NOON), ["0.85", "0.00", "0.00"]);
    ledger.0.reconcile_call(at(NOON), id, usd("0.70")).unwrap();
    assert_eq!(
        ledger.day(NOON),
        ["0.85", "0.00", "0.00"],
        "what was corrected as a whole has no part of it any more"
    );
    let [_, now, ..] = ledger.0.balances(at(NOON), &agent());
    assert_eq!(now.window, month.window);
    assert_eq!(now.account.settled(), usd("0.70"));
    assert_eq!(now.account.uncertain(), Money::ZERO);
}

#[test]
fn what_ends_while_a_window_is_corrected_counts_besides() {
    let mut ledger = Noon::new(daily("1"));
    let first = ledger.hold("0.30").unwrap();
    let second = ledger.hold("0.20").unwrap();
    let lost = |estimate| Outcome::Lost {
        estimate: usd(estimate),
    };
    ledger.settle(first, lost("0.10"));
    let [day, ..] = ledger.0.balances(at(NOON), &agent());
    let billed = ledger.0.correction(&day.window, usd("0.15")).unwrap();
    ledger.settle(second, lost("0.05"));
    assert_eq!(ledger.0.reconcile_window(at(NOON), &billed), None);
    assert_eq!(ledger.day(NOON), ["0.20", "0.00", "0.15"]);
    ledger
        .0
        .reconcile_call(at(NOON), second, usd("0.20"))
        .unwrap();
    assert_eq!(ledger.day(NOON), ["0.35", "0.00", "0.00"]);
}

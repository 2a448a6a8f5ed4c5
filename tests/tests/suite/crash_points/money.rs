//! The supervisor dies around the money of a call to a language model.

use super::arms::Arms;
use super::remains::assert_no_panic;
use super::{Battery, points};
use crate::fleet::until;
use crate::models::{Hub, answered, ask, fleet, money};

/// What was held for a call counts until it is known what it cost: no less is ever on record than
/// what the provider has on its bill.
#[test]
fn a_supervisor_that_dies_at_a_call_has_no_less_on_record_than_the_call_cost() {
    let test = "a_supervisor_that_dies_at_a_call_has_no_less_on_record_than_the_call_cost";
    let hub = Hub::start();
    let mut fleet = fleet(&hub, "none", "5");
    let Some(arms) = Arms::of(&mut fleet, test) else {
        return;
    };
    fleet.up();
    let main = fleet.await_main("calling");
    let mut answers = 0;
    for point in points(Battery::Money) {
        eprintln!("{point}");
        arms.arm(point, 1);
        ask(&fleet, 1);
        arms.await_death(point);
        fleet.await_killed();
        fleet.up();
        arms.forget(point);
        answers += 1;
        answered(&fleet, answers);
        let on_record = || {
            let (spent, uncertain) = money(&fleet);
            spent + uncertain
        };
        until("what was spent is on record", || {
            (on_record() >= hub.bill()).then_some(())
        });
        // A call that nobody died of is booked to the last digit beside it.
        let (before, billed) = (on_record(), hub.bill());
        ask(&fleet, 1);
        answers += 1;
        assert_eq!(answered(&fleet, answers).last().unwrap(), "200");
        let cost = hub.bill() - billed;
        until("the next call is booked", || {
            (on_record() == before + cost).then_some(())
        });
        assert_eq!(fleet.await_main("calling").pid, main.pid, "{point}");
    }
    assert_no_panic(&fleet);
    fleet.down();
}

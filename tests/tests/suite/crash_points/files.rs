//! The supervisor dies while a new fleet file is put in force.

use std::fs;

use claw_failpoint::Point;

use super::arms::Arms;
use super::remains::{assert_no_leftovers, assert_no_panic, assert_one_copy, marks};
use super::{Battery, points};
use crate::fleet::{Fleet, agent, until};

/// One agent that stays, and one more, if there is one.
fn write(fleet: &Fleet, more: Option<&str>) -> String {
    let lines = |name: &str| agent(name, &["mark", &fleet.place(&marks(name)), "forever"], "");
    let agents = lines("steady") + &more.map(lines).unwrap_or_default();
    fleet.write("", &agents);
    fs::read_to_string(fleet.file()).unwrap()
}

fn die_at(fleet: &mut Fleet, arms: &Arms, (point, name): (Point, &str)) {
    let old = write(fleet, Some(name));
    until("the new agent is there", || fleet.find(name));
    fleet.await_main(name);
    let last_good = fleet.data().join("last-good.yaml");
    until("the old file is the last good one", || {
        (fs::read_to_string(&last_good).unwrap() == old).then_some(())
    });
    arms.arm(point, 1);
    let new = write(fleet, None);
    arms.await_death(point);
    fleet.await_killed();
    let kept = fs::read_to_string(&last_good).unwrap();
    assert!(kept == old || kept == new, "{point}: {kept}");
    fleet.up();
    arms.forget(point);
    assert!(fleet.find(name).is_none(), "{point}: the file is in force");
    until("the new file is the last good one", || {
        (fs::read_to_string(&last_good).unwrap() == new).then_some(())
    });
}

#[test]
fn a_supervisor_that_dies_at_a_reload_has_the_whole_new_file_in_force_after_it() {
    let test = "a_supervisor_that_dies_at_a_reload_has_the_whole_new_file_in_force_after_it";
    let mut fleet = Fleet::new("");
    let Some(arms) = Arms::of(&mut fleet, test) else {
        return;
    };
    write(&fleet, None);
    fleet.up();
    let steady = fleet.await_main("steady");
    for (number, point) in points(Battery::Files).enumerate() {
        eprintln!("{point}");
        die_at(&mut fleet, &arms, (point, &format!("more-{number}")));
        assert_one_copy(&fleet, "steady");
        assert_eq!(fleet.await_main("steady"), steady, "{point}");
        assert_no_leftovers(&fleet, &["steady"]);
    }
    assert_no_panic(&fleet);
    fleet.down();
}

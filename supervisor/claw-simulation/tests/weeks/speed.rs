//! How many steps a busy fleet takes.

use claw_simulation::simulate;

use crate::fleets::{DAY, every, mins, week};

#[test]
fn a_day_of_twenty_busy_agents_is_no_more_steps_than_it_should_be() {
    let names = (0..20).map(|number| format!("agent-{number:02}"));
    let mut setting = week([]);
    setting.span = DAY;
    let fleet = std::sync::Arc::make_mut(&mut setting.fleet);
    for name in names {
        let spec = std::sync::Arc::new(every(mins(1)));
        fleet.agents.insert(name.parse().unwrap(), spec);
    }
    let report = simulate(&setting);
    let runs: u64 = report.agents.iter().map(|agent| agent.runs.succeeded).sum();
    assert_eq!(runs, 20 * 24 * 60);
    // The journal, the machine and the clock: a dozen steps for each run.
    assert!(report.steps < 15 * runs, "{} steps", report.steps);
}

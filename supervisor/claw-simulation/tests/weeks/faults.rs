//! What goes wrong by itself, and that a seed decides all of it.

use claw_core::spec::{Check, Mode, Probe};
use claw_gateway::llm::money::Money;
use claw_simulation::{Assumption, Calls, Faults, Setting, simulate};
use jiff::tz::TimeZone;

use crate::fleets::{DAY, assume, cron, daemon, every, mins, of, secs, week};

/// A daemon, a worker and a oneshot, for a month.
fn month(seed: u64) -> Setting {
    let mut web = daemon();
    web.restart.max_retries = None;
    web.probes.liveness = Some(Probe {
        check: Check::Heartbeat,
        interval: secs(30),
        timeout: secs(10),
        threshold: 3,
    });
    let mut worker = every(mins(5));
    worker.mode = Mode::Worker;
    worker.probes.liveness = web.probes.liveness.clone();
    worker.restart = web.restart.clone();
    let mut tick = every(mins(5));
    if let Some(schedule) = &mut tick.schedule {
        schedule.timeout = Some(mins(10));
    }
    let mut setting = week([
        ("tick", tick),
        ("web", web),
        ("worker", worker),
        ("nightly", cron("30 2 * * *", TimeZone::UTC)),
    ]);
    setting.seed = seed;
    setting.span = DAY * 30;
    setting.faults = Faults::Drawn;
    let calls = Calls {
        number: 1,
        cost: Money::from_pico(1),
        provider: "openai".to_owned(),
    };
    let assumption = Assumption {
        calls: Some(calls),
        ..Assumption::default()
    };
    assume(setting, "worker", assumption)
}

fn text(setting: &Setting) -> String {
    serde_json::to_string(&simulate(setting)).unwrap()
}

#[test]
fn the_same_seed_makes_the_same_report_and_another_seed_another() {
    let one = text(&month(1));
    assert_eq!(one, text(&month(1)));
    assert_ne!(one, text(&month(2)));
}

#[test]
fn without_faults_nothing_goes_wrong_and_the_seed_does_not_matter() {
    let calm = |seed| {
        let mut setting = month(seed);
        setting.faults = Faults::None;
        let mut report = simulate(&setting);
        report.seed = 0;
        report
    };
    let report = calm(1);
    assert_eq!(report, calm(2));
    assert_eq!(report.faults, None);
    for agent in &report.agents {
        assert_eq!(
            (agent.runs.failed, agent.runs.interrupted),
            (0, 0),
            "{}",
            agent.name
        );
        assert_eq!(agent.restarts.len(), 0, "{}", agent.name);
    }
}

#[test]
fn a_month_of_faults_ends_nobody_for_good() {
    for seed in 1..=2 {
        let report = simulate(&month(seed));
        let faults = report.faults.unwrap();
        assert!(faults.supervisor_deaths > 3, "seed {seed}: {faults:?}");
        assert!(faults.provider_outages > 3, "seed {seed}: {faults:?}");
        let web = of(&report, "web");
        assert!(web.restarts.contains_key("exit"), "seed {seed}: {web:?}");
        assert!(web.not_ready_seconds.0 < mins(120), "seed {seed}: {web:?}");
        for agent in &report.agents {
            assert_eq!(agent.given_up, None, "seed {seed}: {agent:?}");
            let slots = &agent.slots;
            let fates = slots.ran
                + slots.caught_up
                + slots.skipped_overlap
                + slots.missed_supervisor_away
                + slots.missed_machine_away
                + slots.missed_late
                + slots.held
                + slots.interrupted;
            assert_eq!(slots.due, fates, "seed {seed}: {agent:?}");
            let runs = &agent.runs;
            assert!(
                runs.succeeded + runs.failed <= runs.started,
                "seed {seed}: {agent:?}"
            );
        }
        let nightly = of(&report, "nightly");
        assert_eq!(nightly.slots.due, 30, "seed {seed}: {nightly:?}");
    }
}

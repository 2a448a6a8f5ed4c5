//! What the guide's programs use, through a real fleet whose supervisor is killed again and again.
//! The rows are those of the table in `docs/conformance.md`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use claw_daemon::api::State;
use serde_json::Value;

use crate::dice::Dice;
use crate::fleet::{Fleet, free_port, holds_for, until, within};

/// How often the supervisor is killed; `CLAW_GUIDE_KILLS` may say otherwise.
fn kills() -> u64 {
    let given = std::env::var("CLAW_GUIDE_KILLS").ok();
    given.map_or(10, |text| text.parse().expect("a number"))
}

/// A kill comes within this time after the supervisor was ready: a run, and the pause after it.
const SPAN: Duration = Duration::from_millis(1_500);

fn fleet() -> Fleet {
    let mut fleet = Fleet::new("");
    let port = free_port();
    for (name, text) in [
        ("site.py", include_str!("guide/site.py")),
        ("guide.py", include_str!("guide/guide.py")),
        ("beside.py", include_str!("guide/beside.py")),
    ] {
        fs::write(fleet.path(name), text).unwrap();
    }
    let beside = |name: &str, class: &str, keys: &str| {
        format!("  {name}: {{source: \"beside.py:{class}\"{keys}}}\n")
    };
    let site = format!("http://127.0.0.1:{port}");
    let agents = [
        format!(
            "  site: {{command: [python3, site.py, \"{port}\"], \
             health_check: {{startup: {{tcp: {{port: {port}}}, interval: 100ms}}}}}}\n"
        ),
        format!(
            "  guide: {{source: guide.py, schedule: {{every: 1s, overlap: skip}}, \
             depends_on: {{site: {{condition: ready}}}}, read_from: [listener, nobody-of-that-name], \
             shared_state: {{read: [\"*\"], write: [level]}}, \
             health_check: {{liveness: {{interval: 200ms, unhealthy_threshold: 100}}, readiness: {{interval: 200ms}}}}, \
             config: {{site: \"{site}\", slack_webhook: \"{site}/slack\", \
             targets: [{{name: web}}]}}}}\n"
        ),
        beside("listener", "Listener", ""),
        beside("failing", "Failing", ", schedule: every 1s"),
        beside("hourly", "Hourly", ""),
        beside("daily", "Daily", ""),
        beside(
            "unready",
            "Unready",
            ", health_check: {readiness: {interval: 200ms, unhealthy_threshold: 1}}",
        ),
        beside("stranger", "Stranger", ", schedule: every 1s"),
        beside("misnamed", "Misnamed", ""),
    ];
    fleet.write("", &agents.concat());
    fleet.up();
    fleet
}

/// How often each row behaved.
fn rows(fleet: &Fleet) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for line in fleet.lines("rows") {
        let (row, outcome) = line.split_once(' ').expect("a row and its outcome");
        assert_eq!(outcome, "ok", "{row} under kills");
        *rows.entry(row.to_owned()).or_default() += 1;
    }
    rows
}

#[test]
fn what_the_guides_programs_use_behaves_while_the_supervisor_is_killed() {
    let mut dice = Dice::new();
    let mut fleet = fleet();
    let guide = fleet.await_main("guide");
    for _ in 0..kills() {
        let moment = dice.time(SPAN);
        holds_for(moment, "every row behaves", || {
            rows(&fleet);
            true
        });
        fleet.crash_and_up();
    }
    let all = include_str!("guide/guide.py").matches("def row_").count();
    within(Duration::from_secs(120), "all rows ran often", || {
        let rows = rows(&fleet);
        (rows.len() == all && rows.values().all(|times| *times > 5)).then_some(())
    });
    assert!(guide.lives(), "the agent lived through all of it");
    metrics_of_a_run_are_seen(&fleet);
    log_lines_are_json(&fleet);
    rights_and_missing_parts_are_said(&fleet);
    schedules_began_as_they_say(&fleet);
    probes_decide(&fleet);
    fleet.run(&["stop", "guide"]).ok();
    every_event_was_heard_once(&fleet);
    // Its second failure comes after a delay.
    fleet.await_lines("hooks", 3);
    fleet.run(&["stop", "failing"]).ok();
    hooks_came_in_order(&fleet);
    fleet.down();
}

fn metrics_of_a_run_are_seen(fleet: &Fleet) {
    // They are reported with the run that comes after the last kill.
    until("the metrics of a run", || {
        let page = fleet.api().ask("/metrics")?.1;
        let names = [
            "guide_round{",
            "guide_rounds_total{",
            "guide_seconds_count{",
        ];
        let seen = |name: &&str| {
            let mut lines = page.lines();
            lines.any(|line| line.starts_with(name) && line.contains("agent=\"guide\""))
        };
        names.iter().all(seen).then_some(())
    });
}

fn log_lines_are_json(fleet: &Fleet) {
    let said = fleet.run(&["logs", "guide", "-n", "400"]).ok();
    let line = said.lines().find_map(|line| {
        let json = line.get(line.find('{')?..)?;
        let value: Value = serde_json::from_str(json).ok()?;
        (value["message"] == "still here").then_some(value)
    });
    let line = line.expect("a line of the agent's logger");
    assert_eq!(line["agent"], "guide");
    assert!(
        line["run"].is_string() && line["trace"].is_string(),
        "{line}"
    );
}

fn rights_and_missing_parts_are_said(fleet: &Fleet) {
    let lines = fleet.await_lines("stranger", 9);
    for round in lines.chunks_exact(3) {
        assert_eq!(round, ["forbidden", "no slack", "no llm"]);
    }
    let misnamed = fleet.await_state("misnamed", State::Stopped);
    assert!(!misnamed.ready);
}

/// `every` fires at start, `daily` does not, and a new supervisor is no start of the agent.
fn schedules_began_as_they_say(fleet: &Fleet) {
    assert_eq!(fleet.lines("starts"), ["hourly"]);
}

fn probes_decide(fleet: &Fleet) {
    // Whoever is not ready gets no events, under no supervisor, and lives on.
    // A supervisor that has just taken it over believes the one before until it is told.
    let unready = fleet.await_agent("unready", "runs and is not ready", |agent| {
        agent.state == State::Running && !agent.ready
    });
    assert_eq!(unready.restarts, 0);
    assert_eq!(unready.reason.code, "not_ready");
    let why = "OSError: no database";
    fleet.await_agent("unready", "says why", |agent| {
        agent.reason.text.contains(why)
    });
    let told = fleet.stored("guide", "told");
    until("two more events were told", || {
        let now = fleet.stored("guide", "told")?.as_u64()?;
        (now >= told.as_ref()?.as_u64()? + 2).then_some(())
    });
    assert_eq!(fleet.lines("unready"), Vec::<String>::new());
    fleet.await_agent("guide", "is ready", |agent| agent.ready);
    assert_eq!(fleet.agent("guide").restarts, 0);
}

fn every_event_was_heard_once(fleet: &Fleet) {
    let told = fleet.stored("guide", "told");
    until("every event was heard", || {
        (fleet.stored("listener", "heard") == told).then_some(())
    });
    assert_eq!(fleet.lines("beside"), Vec::<String>::new());
}

fn hooks_came_in_order(fleet: &Fleet) {
    let hooks = fleet.lines("hooks");
    assert_eq!(
        (hooks.first(), hooks.last()),
        (Some(&"setup".to_owned()), Some(&"teardown".to_owned()))
    );
    let between = &hooks[1..hooks.len() - 1];
    assert!(between.len() > 1, "{hooks:?}");
    assert!(
        between.iter().all(|line| line == "on_error ValueError"),
        "{hooks:?}"
    );
}

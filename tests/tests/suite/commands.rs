//! The command line as a user meets it: main flows and exit codes.

use std::time::{Duration, Instant};

use std::fs;

use claw_daemon::api::{Agent, Run, RunState, State};
use serde_json::Value;

use crate::fleet::{Fleet, Process, agent, clawctl, until};

#[test]
fn the_way_from_up_to_down_in_the_background() {
    let mut fleet = Fleet::new(
        &[
            agent("web", &["say", "hello", "forever"], ""),
            agent("monitor", &["say-payload"], "mode: oneshot"),
        ]
        .concat(),
    );
    let said = fleet.up_detached();
    assert!(said.contains("runs in the background as process"), "{said}");
    fleet.await_state("web", State::Running);
    let table = fleet.run(&["status"]).ok();
    assert!(
        table.contains("web") && table.contains("running"),
        "{table}"
    );
    let one = fleet.run(&["status", "web"]).ok();
    assert!(one.contains("hello"), "the last log lines: {one}");
    let ran = fleet
        .run(&[
            "trigger",
            "monitor",
            "--data",
            "{\"only\": \"web\"}",
            "--wait",
        ])
        .ok();
    assert!(ran.contains("succeeded"), "{ran}");
    assert!(
        fleet
            .run(&["logs", "monitor"])
            .ok()
            .contains("payload {\"only\": \"web\"}")
    );
    assert!(fleet.run(&["runs", "monitor"]).ok().contains("succeeded"));
    assert!(fleet.run(&["events"]).ok().contains("web is running"));
    assert!(fleet.run(&["down"]).ok().contains("every agent is stopped"));
    fleet.assert_empty();
    fleet.run(&["status"]).exits(5);
}

#[test]
fn metrics_count_what_happened_and_show_who_is_down() {
    let policy = "restart_policy: {initial_delay: 20ms, max_retries: 1}";
    let mut fleet = Fleet::new(
        &[
            agent("up", &["forever"], ""),
            agent("flaky", &["exit", "3"], policy),
        ]
        .concat(),
    );
    fleet.up();
    fleet.await_state("up", State::Running);
    fleet.await_state("flaky", State::Stopped);
    let (_, metrics) = fleet.api().ask("/metrics").unwrap();
    let value = |name: &str, agent: &str| -> f64 {
        let label = format!("agent=\"{agent}\"");
        let mut lines = metrics
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(&label));
        lines
            .next()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(value("openclaw_agent_uptime_seconds", "flaky"), 0.0);
    assert!(value("openclaw_agent_uptime_seconds", "up") > 0.0);
    assert_eq!(value("openclaw_restarts_total", "flaky"), 1.0);
    fleet.down();
}

/// A script that keeps a pipe open for its own ends gets its end of file, however long the fleet
/// that it started goes on.
#[test]
fn a_fleet_in_the_background_holds_no_descriptor_of_whoever_started_it() {
    let fleet = Fleet::new(&agent("web", &["forever"], ""));
    let program = fleet.command().get_program().to_owned();
    let mut shell = fleet.command_of("sh");
    shell
        .args(["-c", "exec 9>&1; \"$0\" up --detach"])
        .arg(program);
    // Reads standard output to its end, which comes when nobody holds it any more.
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fleet.await_state("web", State::Running);
    fleet.run(&["down"]).ok();
    fleet.assert_empty();
}

#[test]
fn why_tells_the_last_ends_with_their_evidence() {
    let policy = "restart_policy: {initial_delay: 20ms, max_retries: 1}";
    let mut fleet = Fleet::new(&agent("flaky", &["exit", "3"], policy));
    fleet.up();
    fleet.await_state("flaky", State::Stopped);
    let why = fleet.run(&["why", "flaky"]).ok();
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines.len(), 3, "{why}");
    assert!(
        lines[0].contains("flaky#1 exited with code 3") || lines[0].contains("exited with code 3"),
        "{why}"
    );
    assert!(lines[0].contains("cpu "), "{why}");
    assert!(
        lines[2].contains("stopped") && lines[2].contains("given up"),
        "{why}"
    );
    fleet.down();
}

#[test]
fn pause_holds_back_work_and_resume_lets_it_flow_again() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("marks");
    fleet.write(
        "",
        &[
            agent(
                "worker",
                &["mark", &marks],
                "mode: oneshot, schedule: {every: 1h, run_on_start: false}",
            ),
            agent("counter", &["count", "20"], ""),
        ]
        .concat(),
    );
    fleet.up();
    fleet.await_state("worker", State::Running);
    fleet.run(&["pause", "worker"]).ok();
    fleet.run(&["trigger", "worker"]).exits(8);
    assert_eq!(fleet.agent("worker").state, State::Paused);
    fleet.run(&["resume", "worker"]).ok();
    fleet.run(&["trigger", "worker", "--wait"]).ok();
    assert_eq!(fleet.lines("marks").len(), 1);
    fleet.down();
}

#[test]
fn a_frozen_agent_stands_still_and_goes_on_where_it_was() {
    let mut fleet = Fleet::new(&agent("counter", &["count", "10"], ""));
    fleet.up();
    let main = fleet.await_main("counter");
    fleet.await_output("counter", "line 5");
    let frozen = fleet.run(&["pause", "counter", "--freeze"]);
    assert_eq!(frozen.code, Some(0), "{frozen:#?}");
    fleet.await_agent("counter", "is frozen", |agent| {
        agent.reason.code == "frozen"
    });
    let (mut last, mut since) = (String::new(), Instant::now());
    until("what it said before is in its log", || {
        let now = fleet.output("counter");
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(200)).then_some(())
    });
    crate::fleet::holds_for(Duration::from_millis(500), "no more output", || {
        fleet.output("counter") == last
    });
    fleet.run(&["resume", "counter"]).ok();
    until("it goes on", || {
        (fleet.output("counter").len() > last.len()).then_some(())
    });
    assert_eq!(fleet.await_main("counter"), main);
    fleet.down();
}

#[test]
fn formats_for_programs_hold_what_the_table_shows() {
    let mut fleet = Fleet::new(&agent("web", &["forever"], ""));
    fleet.up();
    fleet.await_state("web", State::Running);
    let list: Vec<Agent> = fleet.run(&["status", "-o", "json"]).json();
    assert_eq!(list[0].name, "web");
    let yaml = fleet.run(&["status", "web", "-o", "yaml"]).ok();
    assert!(
        yaml.contains("name: web") && yaml.contains("state: running"),
        "{yaml}"
    );
    let table = fleet.run(&["status"]).ok();
    assert!(!table.contains('\u{1b}'), "no colours in pipes: {table:?}");
    fleet.down();
}

#[test]
fn what_needs_no_supervisor_works_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| clawctl(folder.path(), arguments);
    let schema: Value = run(&["schema"]).json();
    assert!(schema["properties"]["agents"].is_object(), "{schema:#}");
    assert!(run(&["version"]).ok().starts_with("clawctl "));
    assert_eq!(
        run(&["completion", "bash"]).ok(),
        "source <(COMPLETE=bash clawctl)\n"
    );
    assert!(run(&["completion", "fish"]).ok().contains("COMPLETE=fish"));
    let doctor = run(&["doctor"]);
    assert!(
        matches!(doctor.code, Some(0 | 1)) && doctor.out.contains("memory"),
        "{doctor:#?}"
    );
    assert_eq!(run(&["validate"]).code, Some(78), "there is no fleet file");
    let text = "project: x\nversion: \"1.0\"\nagents: {a: {command: [\"true\"]}}\n";
    fs::write(folder.path().join("openclaw.yaml"), text).unwrap();
    let below = folder.path().join("some/where");
    fs::create_dir_all(&below).unwrap();
    assert!(clawctl(&below, &["validate"]).ok().contains("1 agents"));
}

#[test]
fn the_shell_completes_names_of_agents() {
    let mut fleet = Fleet::new(
        &[
            agent("web-one", &["forever"], ""),
            agent("web-two", &["forever"], ""),
        ]
        .concat(),
    );
    fleet.up();
    let output = fleet
        .command()
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "2")
        .env("_CLAP_IFS", "\n")
        .args(["--", "clawctl", "status", "web-"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["web-one", "web-two"]);
    fleet.down();
}

#[test]
fn a_trigger_with_an_idempotency_key_starts_one_run() {
    let mut fleet = Fleet::new(&agent(
        "job",
        &["say", "did it"],
        "mode: oneshot, schedule: {every: 1h, run_on_start: false}",
    ));
    fleet.up();
    let trigger = || {
        let command = format!(
            "curl -s --unix-socket {} -X POST -H 'content-type: application/json' -H 'idempotency-key: one' \
             -d '{{}}' http://localhost/api/agents/job/trigger?wait=20s",
            fleet.data().join("control.sock").display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .output()
            .unwrap();
        serde_json::from_slice::<Run>(&output.stdout).unwrap()
    };
    let (first, second) = (trigger(), trigger());
    assert_eq!((first.state, &first.id), (RunState::Succeeded, &second.id));
    assert_eq!(fleet.runs("job").len(), 1);
    fleet.down();
}

#[test]
fn hooks_run_around_a_life_and_a_failing_one_is_the_reason_shown() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("marks");
    let hook = |steps: &[&str]| crate::fleet::steps(steps);
    let around = format!(
        "hooks: {{pre_start: {}, post_stop: {}}}",
        hook(&["write", &marks, "before"]),
        hook(&["write", &marks, "after"])
    );
    let failing = format!(
        "hooks: {{pre_start: {}}}, restart_policy: {{policy: never}}",
        hook(&["exit", "5"])
    );
    fleet.write(
        "",
        &[
            agent("hooked", &["write", &marks, "life", "forever"], &around),
            agent("blocked", &["write", &marks, "never"], &failing),
        ]
        .concat(),
    );
    fleet.up();
    fleet.await_lines("marks", 2);
    fleet.await_main("hooked");
    fleet.run(&["stop", "hooked"]).ok();
    until("the last hook ran", || {
        (fleet.lines("marks").len() == 3).then_some(())
    });
    assert_eq!(fleet.lines("marks"), ["before", "life", "after"]);
    let blocked = fleet.await_state("blocked", State::Stopped);
    assert_eq!(blocked.reason.cause.unwrap().code, "hook");
    fleet.down();
}

#[test]
fn every_process_of_a_fleet_is_gone_after_down() {
    let mut fleet = Fleet::new("");
    let names: Vec<String> = (0..10).map(|number| format!("agent-{number}")).collect();
    let script = [
        "child",
        "[",
        "forever",
        "]",
        "daemonise",
        "[",
        "forever",
        "]",
        "forever",
    ];
    let agents: String = names
        .iter()
        .map(|name| agent(name, &script, "graceful_shutdown: {timeout: 1s}"))
        .collect();
    fleet.write("", &agents);
    fleet.up();
    let mains: Vec<Process> = names.iter().map(|name| fleet.await_main(name)).collect();
    until("all children run", || {
        (fleet.processes().len() > 10 * 3).then_some(())
    });
    fleet.down();
    assert!(mains.iter().all(|main| !main.lives()));
}

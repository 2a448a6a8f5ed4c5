//! Each example is run for real: up, what it claims, down, nothing left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use claw_daemon::api::{RunState, State};

use crate::fleet::{Fleet, free_port, holds_for, root, until, within};

/// An example in a folder of its own, with free ports, and a mark on its processes.
pub(crate) fn example(name: &str) -> Fleet {
    let fleet = Fleet::new("");
    let source = root().join("examples").join(name);
    copy(&source, &fleet.path(""));
    include(&fleet, &source.join("openclaw.yaml"));
    fleet
}

/// Makes the fleet one that includes an example, and says which ports stand for those in it.
fn include(fleet: &Fleet, file: &Path) -> BTreeMap<&'static str, u16> {
    let mut text = fs::read_to_string(file).unwrap();
    let ports = BTreeMap::from(["18480", "18481", "18490", "8400"].map(|port| (port, free_port())));
    for (port, free) in &ports {
        text = text.replace(port, &free.to_string());
    }
    fs::write(fleet.path("example.yaml"), text).unwrap();
    fleet.write_raw(&format!(
        "$include: example.yaml\ndefaults: {{env: {{{}}}}}\n",
        fleet.mark()
    ));
    ports
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "openclaw.yaml" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn crashing_service_gives_up_with_its_reason() {
    let mut fleet = example("crashing-service");
    fleet.up();
    assert_eq!(
        fleet
            .await_state("misconfigured", State::Stopped)
            .reason
            .code,
        "gave_up"
    );
    assert_eq!(fleet.ends("misconfigured").len(), 1);
    if fleet.enforces("memory", "crashing_service_gives_up_with_its_reason") {
        assert_eq!(fleet.await_ends("memory-hog", 1)[0], (1, "oom".to_owned()));
    }
    let broken = fleet.await_state("broken", State::Stopped);
    assert_eq!(
        (broken.reason.code.as_str(), broken.reason.failures),
        ("gave_up", Some(5))
    );
    assert!(
        fleet
            .run(&["logs", "broken"])
            .ok()
            .contains("cannot reach the moon")
    );
    fleet.run(&["status", "broken"]).exits(3);
    fleet.run(&["start", "broken"]).ok();
    fleet.await_ends("broken", 6);
    fleet.down();
}

#[test]
fn cron_replacement_runs_what_is_due_and_knows_when_the_rest_is() {
    let mut fleet = example("cron-replacement");
    fleet.up();
    fleet.await_output("heartbeat", "beat at");
    fleet.await_output("import", "got:");
    let said = fleet
        .run(&["trigger", "import", "--data", "{\"file\": 1}", "--wait"])
        .ok();
    assert!(said.contains("succeeded"), "{said}");
    fleet.await_output("import", "got: {\"file\": 1}");
    for name in ["report", "cleanup"] {
        assert!(fleet.agent(name).runs.next_at.is_some(), "{name}");
    }
    let now = jiff::Timestamp::now();
    let next = fleet.agent("heartbeat").runs.next_at.unwrap();
    assert!(next > now && next < now + Duration::from_secs(11), "{next}");
    fleet.down();
}

#[test]
fn daemonising_leader_is_followed_and_leaves_nothing() {
    let mut fleet = example("daemonising-leader");
    fleet.up();
    let agent = fleet.await_agent("oldschool", "the daemon speaks", |agent| {
        agent.state == State::Running && agent.status_text.is_some()
    });
    assert_eq!(agent.status_text.unwrap(), "working in the background");
    let daemon = fleet.await_main("oldschool");
    fleet.await_output("oldschool", "the daemon works");
    // The leader stays for a second after the daemon has spoken for itself.
    holds_for(Duration::from_secs(2), "the daemon lives", || {
        daemon.lives()
    });
    assert_eq!(fleet.await_main("oldschool"), daemon);
    assert_eq!(fleet.agent("oldschool").restarts, 0);
    fleet.run(&["stop", "oldschool"]).ok();
    let left = fleet
        .processes()
        .into_iter()
        .filter(|process| process.command.contains("oldschool"));
    assert_eq!(left.count(), 0);
    fleet.down();
}

#[test]
fn notify_service_tells_its_state() {
    let mut fleet = example("notify-service");
    fleet.up();
    let talker = fleet.await_agent("talker", "tells its steps", |agent| {
        agent.state == State::Running
            && agent
                .status_text
                .as_deref()
                .is_some_and(|text| text.starts_with("did"))
    });
    assert!(talker.ready);
    assert!(fleet.run(&["status", "talker"]).ok().contains("did "));
    fleet.down();
}

#[test]
fn wrap_any_program_serves_and_is_probed() {
    let mut fleet = example("wrap-any-program");
    fleet.up();
    let files = fleet.await_state("files", State::Running);
    assert!(files.ready && files.restarts == 0);
    fleet.down();
    let said = fleet.said();
    assert!(!said.contains("probe=liveness"), "{said}");
}

/// Asks for a run, which may be under way already by the schedule; then that one will do.
fn trigger(fleet: &Fleet, name: &str) {
    fleet.await_agent(name, "is ready", |agent| agent.ready);
    let ran = fleet.run(&["trigger", name, "--wait"]);
    assert!(matches!(ran.code, Some(0 | 8)), "{ran:#?}");
}

#[test]
fn pipeline_passes_what_is_new_through_all_four_agents() {
    let mut fleet = example("pipeline");
    fleet.up();
    trigger(&fleet, "collect");
    // Every third of the ten entries in the feed is an outage.
    until("people are told", || {
        let sent = fleet.stored("alert", "sent")?;
        (sent.as_u64()? >= 3).then_some(())
    });
    let analysed = fleet.stored("analyse", "analysed").unwrap();
    assert!(analysed.as_u64().unwrap() >= 10, "{analysed}");
    trigger(&fleet, "report");
    fleet.await_output("site", "report of");
    let left = fleet.stored("report", "today").unwrap();
    assert!(left.as_array().unwrap().len() < 10, "{left}");
    fleet.down();
}

#[test]
fn stateful_monitor_keeps_its_incident_over_a_crash() {
    let mut fleet = example("stateful-monitor");
    fleet.up();
    let incident = until("a target that nobody serves has an incident", || {
        trigger(&fleet, "monitor");
        fleet.stored("monitor", "incident:nobody")
    });
    assert_eq!(incident["target"], "nobody", "{incident}");
    assert!(fleet.stored("monitor", "incident:page").is_none());
    fleet.crash_and_up();
    trigger(&fleet, "monitor");
    assert_eq!(fleet.stored("monitor", "incident:nobody"), Some(incident));
    fleet.down();
}

#[test]
fn fleet_supervisor_pauses_the_source_of_one_that_is_behind() {
    let mut fleet = example("fleet-supervisor");
    fleet.up();
    within(Duration::from_secs(120), "the producer is paused", || {
        (fleet.agent("producer").state == State::Paused).then_some(())
    });
    let main = fleet.await_main("worker");
    main.signal(rustix::process::Signal::KILL);
    until("its failure is looked into", || {
        fleet.stored("caretaker", "failures:worker")
    });
    fleet.down();
}

/// Runs the agent of the front page as it is printed there.
#[test]
fn the_agent_in_twelve_lines_runs_as_printed() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = readme.split_once("## An agent in 12 lines").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let block = |language: &str| {
        let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
        block.split_once("```").unwrap().0
    };
    let program = block("python");
    assert!(program.lines().count() <= 12, "{program}");
    let mut fleet = Fleet::new("");
    fs::create_dir(fleet.path("agents")).unwrap();
    fs::write(fleet.path("agents/hello.py"), program).unwrap();
    fs::write(fleet.path("example.yaml"), block("yaml")).unwrap();
    fleet.write_raw(&format!(
        "$include: example.yaml\ndefaults: {{env: {{{}}}}}\n",
        fleet.mark()
    ));
    fleet.up();
    for line in block("console")
        .lines()
        .filter(|line| line.starts_with("$ "))
    {
        let words: Vec<_> = line.split(' ').skip(2).collect();
        assert!(line.starts_with("$ clawctl "), "{line}");
        if words[0] != "up" {
            fleet.run(&words).ok();
        }
    }
    fleet.await_output("hello", "hello for the 1. time");
    fleet.crash_and_up();
    fleet.run(&["trigger", "hello", "--wait"]).ok();
    fleet.await_output("hello", "hello for the 2. time");
    assert_eq!(
        fleet.run(&["state", "get", "hello", "count"]).ok().trim(),
        "2"
    );
    fleet.down();
}

/// The fleet of the front page: dependencies, probes, a schedule, and an agent that crashes.
#[test]
fn the_reference_fleet_comes_up_in_order_and_works() {
    let mut fleet = Fleet::new("");
    copy(&root().join("examples"), &fleet.path("examples"));
    let ports = include(&fleet, &root().join("openclaw.yaml"));
    fleet.up();
    let web = fleet.await_agent("web", "is ready", |agent| {
        agent.state == State::Running && agent.ready
    });
    assert!(web.since >= fleet.agent("store").since);
    assert_eq!(fleet.runs("prepare")[0].state, RunState::Succeeded);
    let ran = fleet.run(&[
        "trigger",
        "monitor",
        "--data",
        "{\"only\": \"web\"}",
        "--wait",
    ]);
    // The schedule's own first run may be under way; then the overlap rule refuses this one.
    assert!(matches!(ran.code, Some(0 | 8)), "{ran:#?}");
    fleet.await_output("monitor", "web: ok");
    let history = until("the monitor remembers", || {
        fleet.stored("monitor", "history:web")
    });
    assert_eq!(history[0]["problem"], "", "{history}");
    let crashed = fleet.await_ends("flaky", 1);
    assert_eq!(crashed[0].1, "exit");
    assert!(fleet.agent("nightly").runs.next_at.is_some());
    assert!(
        fleet
            .run(&["why", "flaky"])
            .ok()
            .contains("exited with code 1")
    );
    let mains = ["store", "web"].map(|name| fleet.await_main(name));
    let lock = fs::read_to_string(fleet.data().join("lock")).unwrap();
    assert_eq!(
        lock.trim(),
        fleet.pid().to_string(),
        "kill -9 $(cat .openclaw/lock)"
    );
    fleet.crash_and_up();
    assert_eq!(["store", "web"].map(|name| fleet.await_main(name)), mains);
    let host = format!("http://127.0.0.1:{}", ports["8400"]);
    fleet.run(&["--host", &host, "status", "web"]).ok();
    fleet.down();
}
